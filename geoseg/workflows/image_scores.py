"""One labelled scene scored as `run` would map it: its tiles, its blending, its labels; pixels leave as counts."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from geoseg.core.area import PixelArea
from geoseg.core.blend import blend
from geoseg.core.label import label
from geoseg.core.legend import Legend
from geoseg.core.patch import NODATA, Rows
from geoseg.core.patch_source import IGNORE
from geoseg.core.tally import AreaTally, tally_labels
from geoseg.core.window import Window
from geoseg.errors import ResourceError
from geoseg.raster.scene import SceneReader
from geoseg.training.metrics import BoundaryCounts, Confusion, boundary_counts, confusion
from geoseg.training.reliability import PixelDraw, Reliability, reliability
from geoseg.workflows.plan import ScenePlan
from geoseg.workflows.progress import Progress
from geoseg.workflows.segment import Scorer, score_panel

_BLOCK: Final = 1024
_HALO: Final = 4
"""Pixels around a block within which boundaries matter to it: the tolerance of 2, one for a pixel's neighbours."""

Labels = npt.NDArray[np.uint8]


class LabelReader(Protocol):
    """Labels on a scene's grid."""

    def labels(self, window: Window) -> Labels:
        """(height, width) class ids or 255; the window may reach beyond the scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageScores:
    """What is known of an image after its map was compared with its labels."""

    name: str
    confusion: Confusion
    """By channel of the scores: the order of the legend."""
    boundary: BoundaryCounts
    reliability: Reliability
    true: AreaTally
    """By class id, of the labelled pixels that were observed."""
    mapped: AreaTally
    """Of the same pixels."""


def score_image(
    plan: ScenePlan,
    scorer: Scorer,
    labels: LabelReader,
    *,
    name: str,
    draw: PixelDraw | None = None,
    progress: Progress,
) -> ImageScores:
    """The map of a scene compared with its labels; memory holds a row of tiles, the maps lie on disk.

    Args:
        plan: of the scene.
        scorer: gives its tiles their probabilities.
        labels: of the scene, ids of the bundle's legend.
        name: of the image.
        draw: takes a sample of the probabilities along.
        progress: told of the tiles; their phase was begun.

    Raises:
        SceneError: a block of a file cannot be read.
        InputError: a label that is no class.
    """
    legend = plan.bundle.legend
    count, pixel_area = len(legend), PixelArea(plan.scene.grid)
    total = Confusion(counts=np.zeros((count, count), np.int64))
    believed, true, mapped = Reliability.zero(), AreaTally.zero(), AreaTally.zero()
    with SceneReader(plan.scene) as reader, _maps(plan.tiles.shape) as (truths, maps):
        for rows in _blended(plan, reader, scorer, progress):
            window, inside = rows.window, rows.window.slices_in(_whole(plan.tiles.shape))
            truth = labels.labels(window)
            truth[~rows.valid] = IGNORE
            found = label(rows, legend).labels
            found[truth == IGNORE] = NODATA
            true += _without_nodata(tally_labels(truth, window, pixel_area))
            mapped += _without_nodata(tally_labels(found, window, pixel_area))
            truths[inside], maps[inside] = _channels(truth, legend), _channels(found, legend)
            total += confusion(truths[inside], maps[inside], classes=count)
            believed += reliability(rows.values, truths[inside])
            if draw is not None:
                draw.add(rows.values, truths[inside])
        boundary = _boundary(truths, maps, classes=count)
    return ImageScores(name=name, confusion=total, boundary=boundary, reliability=believed, true=true, mapped=mapped)


def _blended(plan: ScenePlan, reader: SceneReader, scorer: Scorer, progress: Progress) -> Iterator[Rows]:
    """Finished probabilities of the whole scene, panel by panel."""
    for panel in plan.panels:
        scores = score_panel(plan, reader, scorer, panel, progress)
        yield from blend(plan.tiles, panel, scores, classes=len(plan.bundle.legend))


@contextmanager
def _maps(shape: tuple[int, int]) -> Iterator[tuple[Labels, Labels]]:
    """Two maps in a file without a name, which is gone afterwards; its room is taken first, or a write would crash."""
    with tempfile.TemporaryFile() as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, 2 * shape[0] * shape[1])
        except OSError as error:
            raise ResourceError(
                f"{tempfile.gettempdir()} has no room for two maps of {shape[0]} x {shape[1]} bytes "
                f"({error.strerror}): free space there, or set TMPDIR to another folder"
            ) from error
        both = np.memmap(file, dtype=np.uint8, mode="w+", shape=(2, *shape))
        yield both[0], both[1]


def _whole(shape: tuple[int, int]) -> Window:
    return Window(row=0, col=0, height=shape[0], width=shape[1])


def _channels(labels: Labels, legend: Legend) -> Labels:
    """Class ids as channels of the scores; 255 stays."""
    table = np.full(256, IGNORE, np.uint8)
    table[list(legend.ids)] = np.arange(len(legend))
    return np.asarray(table[labels], np.uint8)


def _without_nodata(tally: AreaTally) -> AreaTally:
    pixels = {key: value for key, value in tally.pixels.items() if key != NODATA}
    units = {key: value for key, value in tally.units.items() if key != NODATA}
    return AreaTally(pixels=pixels, units=units, unit_m2=tally.unit_m2)


def _boundary(truths: Labels, maps: Labels, *, classes: int) -> BoundaryCounts:
    """Block by block, each with what lies around it."""
    nothing = np.zeros(classes, np.int64)
    total = BoundaryCounts(true=nothing, true_met=nothing, mapped=nothing, mapped_met=nothing)
    height, width = truths.shape
    for row in range(0, height, _BLOCK):
        for col in range(0, width, _BLOCK):
            block = Window(row=row, col=col, height=_BLOCK, width=_BLOCK).clip(height, width)
            around = Window(
                row=row - _HALO, col=col - _HALO, height=block.height + 2 * _HALO, width=block.width + 2 * _HALO
            ).clip(height, width)
            seen = around.slices_in(_whole(truths.shape))
            total += boundary_counts(
                np.asarray(truths[seen]), np.asarray(maps[seen]), classes=classes, within=block.slices_in(around)
            )
    return total
