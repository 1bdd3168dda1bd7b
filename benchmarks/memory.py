"""Peak memory of a run over scenes of growing size: it must not grow with the scene.

python benchmarks/memory.py [--shapes 4096x4096,16384x16384,4096x65536,65536x4096] [--folder DIR]

Products classes, confidence and areas, with a small U-Net of random weights. Each scene runs in a fresh process,
which reports the peak of its resident size less the resident size after imports and model load. The result is the
ratio to the first shape.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BLOCK = 512


def make_scene(path: Path, height: int, width: int) -> None:
    """A tiled uint8 RGB scene: one random block, repeated and rolled, with a nodata corner."""
    import numpy as np
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    rng = np.random.default_rng(0)
    block = rng.integers(1, 255, (3, BLOCK, BLOCK), np.uint8).repeat(4, axis=1).repeat(4, axis=2)[:, :BLOCK, :BLOCK]
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=3,
        dtype="uint8",
        nodata=0,
        crs="EPSG:32633",
        transform=from_origin(300_000, 9_000_000 if height > 20_000 else 5_400_000, 10, 10),
        tiled=True,
        blockxsize=BLOCK,
        blockysize=BLOCK,
        compress="deflate",
        photometric="RGB",
    ) as out:
        for row in range(0, height, BLOCK):
            for col in range(0, width, BLOCK):
                pixels = block if row or col else np.zeros_like(block)
                window = Window(col, row, min(BLOCK, width - col), min(BLOCK, height - row))
                out.write(pixels[:, : window.height, : window.width], window=window)


def memory_mb() -> tuple[float, float]:
    """(resident now, peak resident) of this process, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return found["VmRSS"], found["VmHWM"]


def measure(scene: Path, bundle: Path, out: Path) -> dict[str, float]:
    """Runs one scene in this process."""
    from geoseg.config import Config
    from geoseg.pipeline import Pipeline
    from geoseg.raster.safety import raster_env
    from geoseg.workflows.plan import Request, plan_scene
    from geoseg.workflows.segment import load_predictor, segment

    pipeline = Pipeline.model_validate(
        {
            "name": "memory",
            "model": str(bundle),
            "tiling": {"tile": 512, "margin": 32},
            "inference": {"engine": "torch-cpu", "precision": "fp32"},
            "products": ["classes", "confidence", "areas"],
        }
    )
    plan = plan_scene(Request(source=str(scene), pipeline=pipeline, config=Config(), allow_large=True))
    with raster_env():
        load_predictor(plan)
    before, _ = memory_mb()
    started = time.perf_counter()
    segment(plan, out)
    _, peak = memory_mb()
    return {"before_mb": before, "peak_mb": peak, "growth_mb": peak - before, "seconds": time.perf_counter() - started}


def make_bundle(folder: Path) -> None:
    """A small U-Net of random weights."""
    import torch

    from geoseg.model.bundle import pack_bundle
    from geoseg.model.registry import build_network

    torch.manual_seed(0)
    model = build_network("unet", in_channels=3, classes=2, options={"init_features": 4})
    fields = {
        "name": "memory",
        "version": "1",
        "architecture": "unet",
        "options": {"init_features": 4},
        "bands": [{"name": name, "std": 255.0} for name in ("red", "green", "blue")],
        "level": "display8",
        "dtype": "uint8",
        "gsd_m": 10.0,
        "gsd_min_m": 1.0,
        "gsd_max_m": 100.0,
        "legend": [{"id": 0, "name": "a", "color": "#000000"}, {"id": 1, "name": "b", "color": "#ffffff"}],
        "divisor": 16,
        "min_size": 16,
        "margin_tolerance": 32,
        "margin_exact": 96,
        "licence": "CC0-1.0",
    }
    pack_bundle(folder, fields, model.state_dict())


def compare(shapes: list[tuple[int, int]], folder: Path) -> list[dict[str, float | str]]:
    """One fresh process per shape; `ratio` is to the first."""
    bundle = folder / "bundle"
    make_bundle(bundle)
    rows: list[dict[str, float | str]] = []
    for height, width in shapes:
        scene = folder / f"{height}x{width}.tif"
        make_scene(scene, height, width)
        command = [sys.executable, __file__, "--one", str(scene), str(bundle), str(folder / f"out_{height}x{width}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        first = rows[0]["growth_mb"] if rows else found["growth_mb"]
        rows.append({"shape": f"{height} x {width}", **found, "ratio": found["growth_mb"] / float(first)})
        print({key: round(value, 3) if isinstance(value, float) else value for key, value in rows[-1].items()})
        scene.unlink()
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="4096x4096,16384x16384,4096x65536,65536x4096")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--one", nargs=3, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(*given.one)))
        return
    shapes = [(int(h), int(w)) for h, w in (one.split("x") for one in given.shapes.split(","))]
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        compare(shapes, Path(folder))


if __name__ == "__main__":
    main()
