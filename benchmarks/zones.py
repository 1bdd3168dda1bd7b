"""Areas by zone at full size: do they close, are they exact, what do they cost.

python -m benchmarks.zones [--size 4096] [--zones 500] [--circles 2000] [--folder DIR]

Voronoi zones over a map of five classes, in the map's CRS and drawn in EPSG:4326; circles of 1 ha, which close to
nothing. `zone_error` is the largest relative difference to the area of the outline on the ellipsoid. Each case runs
in a fresh process, which reports its CPU seconds and the peak of its resident size less that after imports.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.memory import memory_mb

PIXEL_M = 10
LEFT, TOP = 300_000, 5_400_000
CRS = 32633
CASES = ("partition", "partition in EPSG:4326", "circles")


def make_map(path: Path, size: int) -> None:
    """Five classes in patches of 16 pixels and a twentieth of nodata, block by block."""
    import numpy as np
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    rng = np.random.default_rng(0)
    transform = from_origin(LEFT, TOP, PIXEL_M, PIXEL_M)
    given = {
        "driver": "GTiff",
        "count": 1,
        "dtype": "uint8",
        "nodata": 255,
        "crs": f"EPSG:{CRS}",
        "compress": "deflate",
    }
    blocks = {"tiled": True, "blockxsize": 512, "blockysize": 512}
    with rasterio.open(path, "w", height=size, width=size, transform=transform, **given, **blocks) as out:
        for row in range(0, size, 512):
            for col in range(0, size, 512):
                height, width = min(512, size - row), min(512, size - col)
                patch = rng.choice(np.array([0, 1, 2, 3, 4, 255], np.uint8), (32, 32), p=[0.19] * 5 + [0.05])
                block = patch.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
                out.write(block, 1, window=Window(col, row, width, height))


def make_zones(path: Path, case: str, size: int, count: int) -> None:
    """Zones of one case, as GeoPackage."""
    import numpy as np
    import pyogrio
    import shapely
    from pyproj import Transformer

    rng = np.random.default_rng(1)
    side = size * PIXEL_M
    if case == "circles":
        radius = np.sqrt(1e4 / np.pi)
        centres = np.array([LEFT, TOP - side]) + radius + (side - 2 * radius) * rng.random((count, 2))
        polygons = shapely.buffer(shapely.points(centres), radius, quad_segs=64)
    else:
        # What is straight in degrees bends on the map: those zones reach beyond it.
        beyond = side / 10 if case.endswith("4326") else 0
        frame = shapely.box(LEFT - beyond, TOP - side - beyond, LEFT + side + beyond, TOP + beyond)
        points = shapely.multipoints(np.array([LEFT, TOP - side]) + side * rng.random((count, 2)))
        polygons = shapely.intersection(shapely.get_parts(shapely.voronoi_polygons(points, extend_to=frame)), frame)
    if case.endswith("4326"):
        to_degrees = Transformer.from_crs(CRS, 4326, always_xy=True)
        polygons = shapely.transform(polygons, lambda points: np.column_stack(to_degrees.transform(*points.T)))
    names = np.array([f"zone {k}" for k in range(len(polygons))], object)
    crs = "EPSG:4326" if case.endswith("4326") else f"EPSG:{CRS}"
    kind = {"geometry_type": "Polygon", "crs": crs, "driver": "GPKG"}
    pyogrio.raw.write(path, shapely.to_wkb(polygons), [names], ["name"], **kind)


def measure(classmap: Path, zones: Path) -> dict[str, float]:
    """One case, in this process."""
    import numpy as np

    from geoseg.core.area import PixelArea
    from geoseg.core.tally import AreaTally, tally_labels
    from geoseg.core.window import Window
    from geoseg.raster.classmap import read_classmap, read_rows
    from geoseg.vector.ground import ground_m2
    from geoseg.vector.read import read_zones
    from geoseg.workflows.zones import ZoneFile

    opened = read_classmap(classmap)
    before, _ = memory_mb()
    started = time.process_time()
    table = ZoneFile(path=zones).read().measure(opened)
    seconds = time.process_time() - started
    _, peak = memory_mb()
    pixel_area, tally = PixelArea(opened.grid), AreaTally.zero()
    for row, labels in read_rows(opened):
        height, width = labels.shape
        tally += tally_labels(labels, Window(row=row, col=0, height=height, width=width), pixel_area)
    sums = {label: sum(one.area_m2.get(label, 0.0) for one in table.zones) for label in tally.pixels}
    found = read_zones(zones)
    ground = ground_m2(found.geometries, found.crs)
    size = np.array([one.footprint_m2 for one in table.zones])
    inside = np.array([one.footprint_m2 == one.zone_m2 for one in table.zones])
    return {
        "zones": len(table.zones),
        "cpu_seconds": seconds,
        "growth_mb": peak - before,
        "class_closes_to": max(abs(sums[label] / tally.area_m2(label) - 1) for label in sums),
        "zone_error": float(np.abs(size / ground - 1)[inside].max()),
    }


def compare(size: int, counts: tuple[int, int], folder: Path) -> list[dict[str, float | str]]:
    """One fresh process per case."""
    classmap = folder / "map.tif"
    make_map(classmap, size)
    rows: list[dict[str, float | str]] = []
    for case in CASES:
        zones = folder / f"{len(rows)}.gpkg"
        make_zones(zones, case, size, counts[1] if case == "circles" else counts[0])
        command = [sys.executable, "-m", "benchmarks.zones", "--one", str(classmap), str(zones)]
        root = Path(__file__).resolve().parent.parent
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
        rows.append({"case": case, "size": size, **json.loads(done.stdout.splitlines()[-1])})
        print({key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in rows[-1].items()})
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--zones", type=int, default=500)
    parser.add_argument("--circles", type=int, default=2000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--one", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(*given.one)))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        compare(given.size, (given.zones, given.circles), Path(folder))


if __name__ == "__main__":
    main()
