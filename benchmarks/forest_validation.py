"""The forest bundle on labelled tiles it was not trained on: IoU over all pixels, mapped against true hectares.

python benchmarks/forest_validation.py DATA [--bundle NAME|DIR] [--split validation] [--set KEY=VALUE] [--out JSON]
[--record]

DATA holds tiles.csv, images/ and masks/. Every tile goes through the workflow of `geoseg run` with the shipped
pipeline; hectares are ellipsoidal. Recipes are chosen by folds of the training tiles, never by this. `--record` writes
the scores into the metrics of bundle.yaml.
"""

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from geoseg.config import Config
from geoseg.core.area import PixelArea
from geoseg.core.tally import tally_labels
from geoseg.core.window import Window
from geoseg.model.bundle import SPEC_FILE, ModelBundle, load_bundle
from geoseg.model.spec import dump_spec
from geoseg.presets import load_pipeline
from geoseg.raster.pairs import Pair, list_pairs, read_pair
from geoseg.training.metrics import Confusion, confusion
from geoseg.workflows.plan import Request, plan_scene
from geoseg.workflows.segment import segment

FOREST = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TileResult:
    """One tile, mapped and true."""

    name: str
    agreement: Confusion
    mapped_ha: float
    """Forest."""
    true_ha: float
    """Forest, of the same pixels."""


def run_tile(pair: Pair, *, overrides: list[str], folder: Path) -> TileResult:
    """Runs the pipeline on a tile in `folder` and compares the class map with the mask."""
    pipeline = load_pipeline("forest", overrides=[*overrides, "products=[classes, areas]"])
    plan = plan_scene(Request(source=str(pair.image), pipeline=pipeline, config=Config()))
    segment(plan, folder)
    with rasterio.open(folder / "classes.tif") as classes:
        mapped = classes.read(1)
    truth = read_pair(pair).labels
    window = Window(row=0, col=0, height=truth.shape[0], width=truth.shape[1])
    pixel_area = PixelArea(plan.scene.grid)
    seen = np.where(truth == 255, 255, mapped).astype(np.uint8)
    mapped_ha, true_ha = (tally_labels(one, window, pixel_area).area_m2(FOREST) / 1e4 for one in (seen, truth))
    return TileResult(
        name=pair.name,
        agreement=confusion(truth, mapped, classes=2),
        mapped_ha=mapped_ha,
        true_ha=true_ha,
    )


def to_json(results: list[TileResult]) -> dict[str, Any]:
    """Scores over all pixels together, and hectares by tile."""
    total = Confusion(counts=np.sum([one.agreement.counts for one in results], axis=0))
    other, forest = total.iou
    return {
        "tiles": len(results),
        "accuracy": round(total.accuracy, 4),
        "forest_iou": round(forest, 4),
        "other_iou": round(other, 4),
        "mapped_ha": round(sum(one.mapped_ha for one in results), 1),
        "true_ha": round(sum(one.true_ha for one in results), 1),
        "by_tile": [
            {
                "tile": one.name,
                "forest_iou": round(one.agreement.iou[FOREST], 4),
                "other_iou": round(one.agreement.iou[0], 4),
                "mapped_ha": round(one.mapped_ha, 1),
                "true_ha": round(one.true_ha, 1),
            }
            for one in results
        ],
    }


def table(report: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"{'tile':22}{'IoU forest':>11}{'IoU other':>11}{'mapped ha':>11}{'true ha':>11}{'difference':>12}"]
    total = {"tile": "all", **{key: report[key] for key in ("forest_iou", "other_iou", "mapped_ha", "true_ha")}}
    for row in (*report["by_tile"], total):
        difference = 100 * (row["mapped_ha"] / row["true_ha"] - 1)
        lines.append(
            f"{row['tile']:22}{row['forest_iou']:11.4f}{row['other_iou']:11.4f}"
            f"{row['mapped_ha']:11,.1f}{row['true_ha']:11,.1f}{difference:+11.1f}%"
        )
    return "\n".join(lines)


def record(report: dict[str, Any], *, bundle: ModelBundle, split: str) -> None:
    """Writes the scores over all tiles into bundle.yaml, under metrics.<split>."""
    scores = {key: value for key, value in report.items() if key != "by_tile"}
    spec = bundle.spec.model_copy(update={"metrics": {**bundle.spec.metrics, split: scores}})
    (Path(bundle.path) / SPEC_FILE).write_text(dump_spec(spec), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--bundle", default="forest-s2-rgb")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    overrides = [f"model={arguments.bundle}", *arguments.overrides]
    with tempfile.TemporaryDirectory() as scratch:
        results = [
            run_tile(pair, overrides=overrides, folder=Path(scratch) / pair.name)
            for pair in list_pairs(arguments.data, split=arguments.split)
        ]
    report = to_json(results)
    print(table(report))
    print(f"accuracy {report['accuracy']:.4f}")
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    if arguments.record:
        record(report, bundle=load_bundle(arguments.bundle), split=arguments.split)


if __name__ == "__main__":
    main()
