"""How much a run costs beyond its network: wall time of `segment` over the network alone, in one process.

python benchmarks/throughput.py [--size 4096] [--model forest-s2-rgb] [--rounds 3]

The floor is the same tiles, already in memory, through the same predictor. Products classes, confidence, areas.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from geoseg.core.patch import Patch
    from geoseg.workflows.plan import ScenePlan


def make_plan(folder: Path, size: int, model: str) -> tuple["ScenePlan", "Patch"]:
    """The plan of a procedural scene written to `folder`, and one of its tiles in memory."""
    from affine import Affine
    from odc.geo.geobox import GeoBox

    from geoseg.core.patch import Patch
    from geoseg.core.procedural import make_procedural_scene
    from geoseg.core.window import Window
    from geoseg.presets import load_pipeline
    from geoseg.raster.write import write_raster
    from geoseg.workflows.plan import Request, plan_scene

    scene = make_procedural_scene(2, height=size, width=size)
    grid = GeoBox((size, size), Affine(*scene.transform), f"EPSG:{scene.epsg}")
    names, tags = ("red", "green", "blue"), {"GEOSEG_LEVEL": "toa"}
    write_raster(folder / "scene.tif", scene.reflectance, grid=grid, nodata=0, names=names, tags=tags)
    pipeline = load_pipeline("forest", overrides=[f"model={model}", "products=[classes,confidence,areas]"])
    plan = plan_scene(Request(source=str(folder / "scene.tif"), pipeline=pipeline))
    height, width = plan.tiles.tile_shape
    row = min(size // 4, size - height)
    patch = Patch(
        window=Window(row=0, col=0, height=height, width=width),
        pixels=np.ascontiguousarray(scene.reflectance[:, row : row + height, :width]),
        valid=np.ones((height, width), np.bool_),
    )
    return plan, patch


def measure(size: int, model: str, rounds: int) -> dict[str, float]:
    """Medians of `rounds` interleaved rounds."""
    from geoseg.workflows.segment import load_predictor, segment

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan, patch = make_plan(folder, size, model)
        predictor = load_predictor(plan)
        tiles = plan.tiles.count(plan.panels)
        floors, runs = [], []
        for k in range(rounds):
            begin = time.perf_counter()
            for _ in range(tiles):
                predictor.predict([patch])
            floors.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            segment(plan, folder / f"out{k}")
            runs.append(time.perf_counter() - begin)
    floor, wall = statistics.median(floors), statistics.median(runs)
    return {
        "tiles": tiles,
        "floor_s": round(floor, 2),
        "run_s": round(wall, 2),
        "ratio": round(wall / floor, 3),
        "scene_mpx_per_s": round(size * size / 1e6 / wall, 2),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--model", default="forest-s2-rgb")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print(measure(given.size, given.model, given.rounds))


if __name__ == "__main__":
    main()
