"""Real scenes by one process and by two Dask workers: the same products, and what the second worker gains.

python -m benchmarks.batch_real DATA ... [--scenes 40] [--rounds 3] [--products classes,confidence,areas,polygons]

DATA are folders of scenes that the shipped bundle takes. One thread per process. Wall time from the first scene that is
begun to the last one that has ended, so without the start of the processes; the ratio is within one round.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import rasterio

from geoseg.batch.event import Record, State
from geoseg.batch.ledger import Ledger
from geoseg.batch.manifest import read_manifest
from geoseg.batch.place import Place, Shard
from geoseg.batch.plan import BatchRequest, plan_batch
from geoseg.batch.run import RunOptions, run_batch
from geoseg.config import Config
from geoseg.presets import load_pipeline

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Times:
    """When the scenes ended."""

    def __init__(self) -> None:
        self.begun, self.ends = 0.0, list[float]()

    def begin(self, counts: dict[State, int], workers: int) -> None:
        pass

    def ended(self, record: Record) -> None:
        if record.error:
            raise SystemExit(f"{record.ticket.uri}: {record.error}")
        if not self.ends:
            self.begun = record.at - (record.seconds or 0.0)
        self.ends.append(record.at)

    def say(self, text: str) -> None:
        pass

    @property
    def wall_s(self) -> float:
        return max(self.ends) - self.begun


def run(source: Path, out: Path, products: str, **cluster: object) -> tuple[float, float]:
    """(wall seconds, median seconds of a scene)."""
    config = Config.model_validate({"threads": 1, "cluster": cluster})
    pipeline = load_pipeline("forest", overrides=[f"products=[{products}]"])
    plan_batch(BatchRequest(source=str(source), pipeline=pipeline, config=config), out)
    times = Times()
    summary = run_batch(out, RunOptions(config=config), times)
    if summary.exit_code:
        raise SystemExit(summary.stop.reason)
    with Ledger(Place(out=out).ledger(Shard())) as ledger:
        seconds = [row["seconds"] for row in ledger.rows("done")]
    return times.wall_s, median(seconds)


def differences(one: Path, two: Path) -> int:
    """Scenes whose pixels or areas are not the same."""
    places, count = (Place(out=one), Place(out=two)), 0
    for entry in read_manifest(places[0]):
        folders = [place.scene(entry.scene) for place in places]
        same = len({(folder / "areas.csv").read_bytes() for folder in folders}) == 1
        for name in ("classes.tif", "confidence.tif"):
            with rasterio.open(folders[0] / name) as first, rasterio.open(folders[1] / name) as second:
                same = same and np.array_equal(first.read(), second.read())
        count += not same
    return count


def measure(scenes: list[Path], rounds: int, products: str) -> dict[str, object]:
    """Both ways, round after round."""
    rows: list[dict[str, float]] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            source = folder / "scenes.txt"
            source.write_text("\n".join(map(str, scenes)))
            here_s, here_scene_s = run(source, folder / "here", products, kind="here")
            two_s, _ = run(source, folder / "two", products, kind="local", workers=2)
            different = differences(folder / "here", folder / "two")
        rows.append({"here_s": here_s, "two_s": two_s, "here_scene_s": here_scene_s, "different": different})
    return {
        "scenes": len(scenes),
        "load": round(os.getloadavg()[0], 2),
        "here_s": round(median(row["here_s"] for row in rows), 2),
        "two_workers_s": round(median(row["two_s"] for row in rows), 2),
        "ratio": round(median(row["two_s"] / row["here_s"] for row in rows), 3),
        "here_scene_s": round(median(row["here_scene_s"] for row in rows), 3),
        "scenes_that_differ": sum(row["different"] for row in rows),
    }


def main() -> None:
    """Measures and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--products", default="classes,confidence,areas,polygons")
    asked = parser.parse_args()
    os.environ.update(dict.fromkeys(THREADS, "1"))
    scenes = sorted(path for folder in asked.data for path in folder.rglob("*.tif*"))
    print(json.dumps(measure(scenes[: asked.scenes], asked.rounds, asked.products), indent=1))


if __name__ == "__main__":
    main()
