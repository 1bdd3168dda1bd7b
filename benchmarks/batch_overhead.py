"""What a batch costs beside its scenes: time per scene, first result, memory of the driver; and a large ledger.

Run as `python -m benchmarks.batch_overhead [--scenes 100000] [--rows 1000000]`.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geoseg.batch.event import Entry, Record, State, Ticket
from geoseg.batch.job import BatchJob, write_job
from geoseg.batch.ledger import Ledger
from geoseg.batch.manifest import freeze
from geoseg.batch.place import Place
from geoseg.batch.run import RunOptions, run_batch
from geoseg.batch.source import Found
from geoseg.config import Config
from geoseg.pipeline import Pipeline

WORK = "benchmarks.batch_overhead:nothing"


def nothing(out: Path, ticket: Ticket, config: Config) -> Mapping[str, Any]:
    """A scene without work."""
    return {"areas": {"classes": [{"id": 1, "name": "forest", "pixels": ticket.row, "area_m2": 100.0 * ticket.row}]}}


class FirstResult:
    """Takes the time from the workers being there to the first scene that ended."""

    def __init__(self) -> None:
        self.begun = self.first_s = 0.0

    def begin(self, counts: dict[State, int], workers: int) -> None:
        self.begun = time.perf_counter()

    def ended(self, record: Record) -> None:
        self.first_s = self.first_s or time.perf_counter() - self.begun

    def say(self, text: str) -> None:
        pass


def measure_batch(scenes: int, *, kind: str, workers: int) -> dict[str, float]:
    """Trivial scenes through a whole batch."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(out=Path(folder))
        begin = time.perf_counter()
        frozen = freeze((Found(files=(f"/archive/{k}.tif",)) for k in range(scenes)), place)
        plan_s = time.perf_counter() - begin
        job = BatchJob(
            geoseg="0", source="benchmark", scenes=scenes, manifest_sha256=frozen.sha256, bundle="none",
            pipeline=Pipeline(name="none", model="none"), bundle_sha256="0" * 64, output_version=1,
            created=datetime.now(UTC),
        )  # fmt: skip
        write_job(job, place)
        cluster = {"kind": kind, **({"workers": workers} if kind == "local" else {})}
        config = Config.model_validate({"threads": 1, "cluster": cluster})
        listener = FirstResult()
        summary = run_batch(place.out, RunOptions(config=config, work=WORK), listener)
        work_s = time.perf_counter() - listener.begun
    assert summary.counts["done"] == scenes, summary
    return {
        "scenes": scenes,
        "plan_s": round(plan_s, 2),
        "first_result_s": round(listener.first_s, 3),
        "ms_per_scene": round(1000 * work_s / scenes, 4),
        "driver_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def measure_ledger(rows: int) -> dict[str, float]:
    """A ledger of many scenes: made, asked for the next thousand in its middle, counted."""
    with tempfile.TemporaryDirectory() as folder:
        entries = (Entry(scene=f"{k:016x}", uri=f"/archive/{k}.tif", fingerprint="0" * 64, size=k) for k in range(rows))
        begin = time.perf_counter()
        with Ledger.create(Path(folder) / "journal.sqlite", entries, job="j") as ledger:
            create_s = time.perf_counter() - begin
            times = []
            for after in range(0, rows - 1000, max(1, rows // 50)):
                begin = time.perf_counter()
                ledger.pending(after=after, count=1000)
                times.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            ledger.counts()
            counts_s = time.perf_counter() - begin
    return {
        "rows": rows,
        "create_s": round(create_s, 2),
        "next_1000_ms": round(1000 * sorted(times)[len(times) // 2], 2),
        "next_1000_worst_ms": round(1000 * max(times), 2),
        "counts_ms": round(1000 * counts_s, 1),
    }


def main() -> None:
    """Measures and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kind", default="local")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    found = {"batch": measure_batch(asked.scenes, kind=asked.kind, workers=asked.workers)}
    print(json.dumps({**found, "ledger": measure_ledger(asked.rows)}, indent=1))


if __name__ == "__main__":
    main()
