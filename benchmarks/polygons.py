"""Polygons of a five-class map: exact, quick, and in memory that hardly grows with the map.

python benchmarks/polygons.py exact    [--size 8192]            area, validity, count, and blocks of 256, 512, 1000 rows
python benchmarks/polygons.py speed    [--size 8192]            wall time over rasterio.features.shapes + shapely
python benchmarks/polygons.py memory   [--size 16384]           peak over that at a quarter of the size
python benchmarks/polygons.py simplify [--size 2048]            coverage validity, vertices left and drift of areas

The map is the argmax of five noise fields (sigma 8 px, with 12 % of noise of sigma 1.5 px) on a torus of 4096 px,
which repeats beyond that. Memory is the peak resident size of a process above that after imports.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.uint8]

TILE = 4096
PIXEL_M = 10.0
SCRIPT = Path(__file__).resolve()


def make_tile(size: int) -> Labels:
    """(size, size) classes 0 … 4 on a torus."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    labels, best = np.zeros((size, size), np.uint8), np.full((size, size), -np.inf, np.float32)
    for label in range(5):
        field = np.zeros((size, size), np.float32)
        for sigma, share in ((8.0, 1.0), (1.5, 0.12)):
            noise = gaussian_filter(rng.standard_normal((size, size), dtype=np.float32), sigma, mode="wrap")
            field += noise * (share / noise.std())
        labels[field > best] = label
        best = np.maximum(best, field)
    return labels


def make_map(path: Path, size: int) -> None:
    """A class map as GeoTIFF."""
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    from geoseg.raster.classmap import LEGEND_TAG, dump_legend

    tile = make_tile(min(size, TILE))
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "nodata": 255, "crs": "EPSG:32633", "tiled": True}
    profile |= {"blockxsize": 512, "blockysize": 512, "compress": "deflate", "height": size, "width": size}
    with rasterio.open(path, "w", transform=from_origin(400_000, 5_400_000, PIXEL_M, PIXEL_M), **profile) as file:
        file.update_tags(**{LEGEND_TAG: dump_legend(legend())})
        for row in range(0, size, 512):
            rows = np.arange(row, min(row + 512, size)) % len(tile)
            block = np.tile(tile[rows], (1, -(-size // len(tile))))[:, :size]
            file.write(block, 1, window=Window(0, row, size, len(rows)))


def legend() -> Any:
    from geoseg.core.legend import LandClass, Legend

    return Legend(classes=tuple(LandClass(id=k, name=f"class {k}", color=f"#{40 * k:02x}8080") for k in range(5)))


def trace(path: Path, rows: int, *, simplify_m: float = 0.0) -> Iterator[Any]:
    """Batches of polygons, the map read in blocks of this many rows."""
    from geoseg.core.area import PixelArea
    from geoseg.raster.classmap import read_classmap, read_rows
    from geoseg.vector.trace import trace_polygons

    classmap = read_classmap(path)
    return trace_polygons(
        lambda: read_rows(classmap, rows=rows),
        grid=classmap.grid,
        legend=classmap.legend,
        pixel_area=PixelArea(classmap.grid),
        simplify_m=simplify_m,
    )


def exact(path: Path) -> dict[str, Any]:
    """Polygons against the histogram of the map, validity by GEOS, and a digest for each height of blocks."""
    import hashlib

    import rasterio
    import shapely

    from geoseg.core.components import count_patches

    with rasterio.open(path) as file:
        labels = file.read(1)
    digests: set[str] = set()
    found: dict[str, Any] = {}
    for rows in (256, 512, 1000):
        digest, count, invalid, vertices = hashlib.sha256(), 0, 0, 0
        area = np.zeros(5)
        for batch in trace(path, rows):
            for part in shapely.to_wkb(batch.geometries):
                digest.update(part)
            digest.update(batch.component_id.tobytes() + repr(batch.area_units).encode())
            count += len(batch.geometries)
            vertices += int(shapely.get_num_coordinates(batch.geometries).sum())
            area += np.bincount(batch.class_id, weights=shapely.area(batch.geometries), minlength=5)
            if rows == 512:
                invalid += int((~shapely.is_valid(batch.geometries)).sum())
        digests.add(digest.hexdigest())
        components = sum(count_patches([labels[row : row + rows] for row in range(0, len(labels), rows)], 4).values())
        found = {
            "polygons": count,
            "vertices": vertices,
            "components": components,
            "invalid": invalid or found.get("invalid", 0),
            "area_is_histogram": (area == np.bincount(labels.ravel(), minlength=5) * PIXEL_M**2).tolist() == [True] * 5,
        }
    return {**found, "results_over_block_heights": len(digests)}


def simplify(path: Path, metres: float) -> dict[str, Any]:
    """The coverage before and after, its validity, and how far areas drift by class."""
    import shapely

    found: dict[str, Any] = {"metres": metres}
    for name, tolerance in (("exact", 0.0), ("simple", metres)):
        started = time.perf_counter()
        batches = list(trace(path, 512, simplify_m=tolerance))
        found[f"{name}_s"] = time.perf_counter() - started
        polygons = np.concatenate([batch.geometries for batch in batches])
        found[f"{name}_vertices"] = int(shapely.get_num_coordinates(polygons).sum())
    classes = np.concatenate([batch.class_id for batch in batches])
    drawn, pixels = (
        np.bincount(classes, weights=np.concatenate([getattr(batch, name) for batch in batches]))
        for name in ("outline_pixels", "pixels")
    )
    return {
        **found,
        "polygons": len(polygons),
        "invalid": int((~shapely.is_valid(polygons)).sum()),
        "coverage_is_valid": bool(shapely.coverage_is_valid(polygons)),
        "largest_drift": float(np.abs(drawn / pixels - 1).max()),
        "ground_is_kept": float(abs(drawn.sum() / pixels.sum() - 1)),
    }


def ours(path: Path, out: Path) -> None:
    """The whole verb: geoseg polygons."""
    from geoseg.workflows.vectorize import vectorize

    vectorize(str(path), out)


def peer(path: Path, out: Path) -> None:
    """rasterio.features.shapes on the whole array, shapely polygons, the same writer."""
    import pyarrow as pa
    import pyogrio
    import rasterio
    import shapely
    from rasterio.features import shapes
    from shapely.geometry import shape

    with rasterio.open(path) as file:
        labels, transform, crs = file.read(1), file.transform, file.crs
    polygons, classes = [], []
    for geometry, value in shapes(labels, mask=labels < 200, connectivity=4, transform=transform):
        polygons.append(shape(geometry))
        classes.append(int(value))
    kind = {b"ARROW:extension:name": b"geoarrow.wkb"}
    schema = pa.schema([pa.field("class_id", pa.int16()), pa.field("geom", pa.binary(), metadata=kind)])
    table = pa.table([pa.array(classes, pa.int16()), pa.array(shapely.to_wkb(polygons), pa.binary())], schema=schema)
    pyogrio.write_arrow(
        table, out, layer="polygons", driver="GPKG", geometry_name="geom", geometry_type="Polygon", crs=crs.to_wkt()
    )


def speed(path: Path, rounds: int = 1) -> dict[str, Any]:
    """Seconds of both, each in its own process, in turns; medians; what they wrote is checked afterwards."""
    import pyogrio
    import shapely

    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    result: dict[str, Any] = {}
    for _ in range(rounds):
        for name in ("ours", "peer"):
            out = path.with_name(f"{name}.gpkg")
            seconds[name].append(fresh(name, path, out)["seconds"])
            _, _, geometry, fields = pyogrio.raw.read(out, layer="polygons", columns=["class_id"])
            polygons = shapely.from_wkb(geometry)
            area = np.bincount(fields[0], weights=shapely.area(polygons), minlength=5)
            result[f"{name}_polygons"], result[f"{name}_area"] = len(polygons), area.tolist()
            result[f"{name}_invalid"] = int((~shapely.is_valid(polygons)).sum())
            out.unlink()
    result["same"] = result.pop("ours_area") == result.pop("peer_area")
    middle = {name: float(np.median(found)) for name, found in seconds.items()}
    return {**result, **{f"{k}_s": v for k, v in middle.items()}, "ratio": middle["ours"] / middle["peer"]}


def memory(paths: list[Path]) -> list[dict[str, Any]]:
    """Peak above imports of the whole verb, each map in its own process."""
    found: list[dict[str, Any]] = []
    for path in paths:
        out = path.with_suffix(".gpkg")
        found.append({"map": path.stem, **fresh("ours", path, out)})
        out.unlink()
        found[-1]["ratio"] = found[-1]["growth_mb"] / found[0]["growth_mb"]
    return found


def fresh(what: str, path: Path, out: Path) -> dict[str, float]:
    """Seconds and memory of `ours` or `peer` in a fresh process."""
    command = [sys.executable, str(SCRIPT), "--one", what, str(path), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=SCRIPT.parent.parent)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_one(work: Callable[[Path, Path], None], path: Path, out: Path) -> dict[str, float]:
    """In this process; a tiny map first, so that imports and first calls are not counted."""
    with tempfile.TemporaryDirectory() as folder:
        tiny = Path(folder) / "tiny.tif"
        make_map(tiny, 64)
        work(tiny, Path(folder) / "tiny.gpkg")
    before = resident_mb("VmRSS")
    started = time.perf_counter()
    work(path, out)
    seconds = time.perf_counter() - started
    peak = resident_mb("VmHWM")
    return {"before_mb": before, "peak_mb": peak, "growth_mb": peak - before, "seconds": seconds}


def resident_mb(field: str) -> float:
    """VmRSS (now) or VmHWM (peak) of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["exact", "speed", "memory", "simplify"], default="speed")
    parser.add_argument("--size", type=int)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        work, path, out = given.one
        print(json.dumps(run_one({"ours": ours, "peer": peer}[work], Path(path), Path(out))))
        return
    size = given.size or {"exact": 8192, "speed": 8192, "memory": 16384, "simplify": 2048}[given.what]
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / f"{size}.tif"
        make_map(path, size)
        if given.what == "exact":
            print(exact(path))
        elif given.what == "speed":
            print(speed(path, given.rounds))
        elif given.what == "simplify":
            for metres in (10.0, 20.0, 40.0):
                print(simplify(path, metres))
        else:
            small = Path(folder) / f"{size // 4}.tif"
            make_map(small, size // 4)
            for row in memory([small, path]):
                print(row)


if __name__ == "__main__":
    main()
