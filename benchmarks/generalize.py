"""Seconds and memory of bringing a five-class map to a definition: python benchmarks/generalize.py [--size 4096].

The map is that of polygons.py; the definition has all three rules: 20 m wide, patches and gaps of 0.5 ha. Memory is the
peak resident size of this process above that after imports and a first small map.
"""

import argparse
import json
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

try:
    from benchmarks.polygons import make_map, resident_mb
except ModuleNotFoundError:  # run as a script
    from polygons import make_map, resident_mb  # type: ignore[import-not-found, no-redef]


def bring(path: Path) -> dict[str, Any]:
    """What the rules did to the map, and in how many seconds."""
    from geoseg.core.area import PixelArea
    from geoseg.definition import Definition
    from geoseg.raster.classmap import read_classmap
    from geoseg.workflows.generalize import apply_definition

    definition = Definition(
        name="all rules", term="class 0", source="benchmark", classes=(0,),
        min_width_m=20, min_area_m2=5000, min_gap_area_m2=5000,
    )  # fmt: skip
    classmap = read_classmap(path)
    wall, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        made = apply_definition(classmap, definition, pixel_area=PixelArea(classmap.grid), scratch=Path(scratch))
    return {
        "seconds": round(time.perf_counter() - wall, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "changed": [one.changed for one in made.effects],
    }


def measure(size: int) -> dict[str, Any]:
    """Figures of a map of size x size pixels."""
    with tempfile.TemporaryDirectory() as folder:
        first, path = Path(folder) / "first.tif", Path(folder) / "map.tif"
        make_map(first, 64)
        bring(first)
        before = resident_mb("VmRSS")
        apart = get_context("spawn").Process(target=make_map, args=(path, size))  # its memory is not that of the rules
        apart.start()
        apart.join()
        found = bring(path)
    return {"size": size, **found, "growth_mb": round(resident_mb("VmHWM") - before, 1)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=4096)
    print(json.dumps(measure(parser.parse_args().size)))
