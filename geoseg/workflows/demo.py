"""The embedded scene: made, run by the shipped pipeline, and compared with its known truth."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.config import Config
from geoseg.core.area import PixelArea
from geoseg.core.procedural import ProceduralScene, make_procedural_scene
from geoseg.core.tally import AreaTally, tally_labels
from geoseg.core.window import Window
from geoseg.errors import ProductError
from geoseg.presets import load_pipeline
from geoseg.raster.safety import raster_env
from geoseg.raster.write import write_raster
from geoseg.workflows.plan import Request, plan_scene
from geoseg.workflows.product import check_output
from geoseg.workflows.progress import Progress
from geoseg.workflows.segment import segment

SCENE, TRUTH = "scene.tif", "truth.tif"
_STRIP_ROWS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One class, mapped against true."""

    name: str
    mapped_ha: float
    true_ha: float

    @property
    def difference_percent(self) -> float:
        """By how much the mapped figure is larger than the true one, percent."""
        return 100 * (self.mapped_ha / self.true_ha - 1) if self.true_ha else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What the demo shows."""

    seed: int
    comparisons: tuple[Comparison, ...]
    paths: tuple[Path, ...]
    """Files that were made."""

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "schema": "geoseg/demo/1",
            "seed": self.seed,
            "classes": [
                {
                    "class": one.name,
                    "mapped_ha": one.mapped_ha,
                    "true_ha": one.true_ha,
                    "difference_percent": round(one.difference_percent, 3),
                }
                for one in self.comparisons
            ],
            "paths": [str(path) for path in self.paths],
        }

    def table(self) -> str:
        """For people: mapped against true hectares."""
        lines = [f"{'class':16}{'mapped ha':>14}{'true ha':>14}{'difference':>12}"]
        lines += [
            f"{one.name:16}{one.mapped_ha:14,.2f}{one.true_ha:14,.2f}{one.difference_percent:+11.2f}%"
            for one in self.comparisons
        ]
        return "\n".join(lines)


def run_demo(out: Path, *, seed: int, size: int, config: Config, overwrite: bool, progress: Progress) -> DemoResult:
    """Makes the scene of a seed in `out`, runs the shipped pipeline on it and compares areas.

    The seeds of the demo, 0 … 99, were never used in training.

    Raises:
        ProductError: `out` holds a product and may not be replaced.
    """
    result = out / "result"
    check_output(result, overwrite=overwrite)
    _check_inputs(out, overwrite=overwrite)
    out.mkdir(parents=True, exist_ok=True)
    progress.begin("scene", 1)
    scene = make_procedural_scene(seed, height=size, width=size)
    grid = GeoBox((size, size), Affine(*scene.transform), f"EPSG:{scene.epsg}")
    source = out / SCENE
    with raster_env():
        write_raster(
            source,
            scene.reflectance,
            grid=grid,
            nodata=0,
            names=("red", "green", "blue"),
            tags={"GEOSEG_LEVEL": "toa"},
        )
        write_raster(out / TRUTH, scene.classes[None], grid=grid, nodata=255, names=("true class",))
    progress.advance()
    plan = plan_scene(Request(source=str(source), pipeline=load_pipeline("forest"), config=config))
    done = segment(plan, result, overwrite=overwrite, progress=progress)
    truth = _true_areas(scene, grid)
    comparisons = tuple(
        Comparison(name=one.name, mapped_ha=one.area_m2 / 1e4, true_ha=truth[one.id]) for one in done.report.classes
    )
    files = tuple(result / name for name in done.files)
    return DemoResult(seed=seed, comparisons=comparisons, paths=(source, out / TRUTH, *files))


def _check_inputs(out: Path, *, overwrite: bool) -> None:
    """Refuses to replace files that may be the user's own."""
    there = [name for name in (SCENE, TRUTH) if (out / name).exists()]
    if there and not overwrite:
        raise ProductError(f"{out} already holds {there[0]}: specify --overwrite or another folder")


def _true_areas(scene: ProceduralScene, grid: GeoBox) -> dict[int, float]:
    """Ellipsoidal hectares of the true classes, from the same pixel areas as the map's."""
    pixel_area = PixelArea(grid)
    tally = AreaTally.zero()
    for window, labels in _strips(scene.classes):
        tally += tally_labels(labels, window, pixel_area)
    return {int(k): tally.area_m2(int(k)) / 1e4 for k in np.unique(scene.classes[scene.valid])}


def _strips(labels: npt.NDArray[np.uint8]) -> Iterator[tuple[Window, npt.NDArray[np.uint8]]]:
    height, width = labels.shape
    for row in range(0, height, _STRIP_ROWS):
        part = labels[row : row + _STRIP_ROWS]
        yield Window(row=row, col=0, height=len(part), width=width), part
