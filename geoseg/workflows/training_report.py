"""training.html of a finished training run: what its files say, and pictures of the images it did worst on."""

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from geoseg.core.legend import LandClass, Legend
from geoseg.core.patch_source import LabelledImage
from geoseg.raster.tile_picture import draw_labels, draw_pixels
from geoseg.report.training_page import ShownImage, render_training
from geoseg.training.config import TrainConfig
from geoseg.training.evaluate import map_classes
from geoseg.training.fit import Trained
from geoseg.training.history import METRICS, SUMMARY
from geoseg.workflows.output_file import writing

PAGE: Final = "training.html"
_SHOWN: Final = 6


def write_training_report(folder: Path, worst: Sequence[ShownImage] = ()) -> Path:
    """training.html from metrics.csv and training.json in the folder of a run.

    Raises:
        ResourceError: the folder cannot be written.
    """
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    with (folder / METRICS).open(newline="", encoding="utf-8") as lines:
        rows = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(lines)]
    page = render_training(summary, rows, worst)
    with writing(folder / PAGE) as beside:
        beside.write_text(page, encoding="utf-8")
    return folder / PAGE


def draw_worst(
    trained: Trained, held: Sequence[LabelledImage], config: TrainConfig, *, device: str
) -> tuple[ShownImage, ...]:
    """The held-out images with the lowest mean IoU, worst first; they are mapped once more.

    Args:
        trained: its scores are those of `held`, in that order.
        held: what was held out.
        config: legend and bands.
        device: where the network is.
    """
    if trained.scores is None:
        return ()
    found = [(one.mean_iou, k) for k, one in enumerate(trained.scores.images.values()) if not math.isnan(one.mean_iou)]
    return tuple(_draw(trained, held[k], config, device=device) for _, k in sorted(found)[:_SHOWN])


def _draw(trained: Trained, image: LabelledImage, config: TrainConfig, *, device: str) -> ShownImage:
    legend = Legend(classes=tuple(LandClass(id=one.id, name=one.name, color=one.color) for one in config.bundle.legend))
    names = list(config.bundle.bands)
    rgb = [names.index(name) for name in ("red", "green", "blue") if name in names]
    if len(rgb) < 3:
        rgb = [0, 1, 2] if len(names) >= 3 else [0]
    mapped = map_classes(trained.network, image, config=config.network, device=device)
    agreement = trained.scores.images[image.name] if trained.scores else None
    return ShownImage(
        name=image.name,
        mean_iou=agreement.mean_iou if agreement else math.nan,
        accuracy=agreement.accuracy if agreement else math.nan,
        pixels=draw_pixels(image.pixels, rgb=rgb),
        truth=draw_labels(image.labels, legend),
        mapped=draw_labels(mapped, legend),
    )
