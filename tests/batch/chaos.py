"""An archive whose scenes crash, hang, break and mend by lot, done by real processes; `python -m` runs its driver."""

import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geoseg.batch.event import Record, State, Ticket
from geoseg.batch.job import BatchJob, write_job
from geoseg.batch.manifest import freeze
from geoseg.batch.place import Place, Shard
from geoseg.batch.run import RunOptions, run_batch
from geoseg.batch.source import Found
from geoseg.config import Config
from geoseg.errors import SceneError
from geoseg.pipeline import Pipeline

WORK = "tests.batch.chaos:work"
CLUSTER = {"hang_min_s": 2.0, "backoff_s": 0.1, "pack_s": 0.1}


def natures(count: int) -> dict[int, str]:
    """What is wrong with which scene: of 300, 2 poison, 2 hang, 4 kill once, 10 break once, 5 are corrupt."""
    lots = list(range(count))
    random.Random(3).shuffle(lots)
    wanted = {"poison": 2, "hang": 2, "killer": 4, "flaky": 10, "corrupt": 5}
    found = {}
    for nature, many in wanted.items():
        for _ in range(max(1, many * count // 300)):
            found[lots.pop()] = nature
    return found


def area_of(number: int) -> float:
    """The area that a scene's product has."""
    return number * 0.1 + 1


def make_batch(out: Path, count: int) -> None:
    """A planned batch of scenes that are names only."""
    place = Place(out=out)
    frozen = freeze((Found(files=(f"/archive/{k}.tif",)) for k in range(count)), place)
    job = BatchJob(
        geoseg="0", source="test", scenes=frozen.scenes, manifest_sha256=frozen.sha256, bundle="none",
        pipeline=Pipeline(name="none", model="none"), bundle_sha256="0" * 64, output_version=1,
        created=datetime.now(UTC),
    )  # fmt: skip
    write_job(job, place)


def work(out: Path, ticket: Ticket, config: Config) -> Mapping[str, Any]:
    """One scene: a line in executions.log, then what its nature makes of it; good ones leave a file."""
    number = int(Path(ticket.uri).stem)
    total = int((out / "count").read_text())
    product = out / "products" / str(number)
    result = {"areas": {"forest": area_of(number)}, "output": str(number), "job": "j"}
    if product.exists():
        return {**result, "skipped": True}
    with (out / "executions.log").open("a") as log:
        log.write(f"{number}\n")
    time.sleep(0.02)
    _misbehave(natures(total).get(number, "good"), ticket)
    beside = product.with_name(f".{number}")
    beside.write_text(str(area_of(number)))
    beside.replace(product)
    return result


def _misbehave(nature: str, ticket: Ticket) -> None:
    match nature:
        case "poison":
            os.abort()
        case "killer" if not ticket.deaths:
            os._exit(137)
        case "hang":
            time.sleep(10_000)
        case "flaky" if ticket.attempts == 1:
            raise TimeoutError("HTTP 503: slow down")
        case "corrupt":
            raise SceneError(f"{ticket.uri} is neither GeoTIFF nor JPEG 2000: convert it")


class Told:
    """A listener that says when the first scene has ended, and counts."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()

    def begin(self, counts: dict[State, int], workers: int) -> None:
        """Not needed."""

    def ended(self, record: Record) -> None:
        """Counted; the first one is told to the test that waits for it."""
        if not self.outcomes:
            print("READY", flush=True)
        self.outcomes[record.outcome] += 1

    def say(self, text: str) -> None:
        """For who looks into a failure."""
        print(text, file=sys.stderr, flush=True)


def main(out: Path, kind: str, shard: str = "0/1") -> int:
    """Runs or resumes; the exit code is the batch's."""
    cluster = {**CLUSTER, "kind": kind, **({"workers": 2} if kind == "local" else {})}
    config = Config.model_validate({"threads": 1, "cluster": cluster})
    listener = Told()
    summary = run_batch(out, RunOptions(config=config, shard=Shard.parse(shard), work=WORK), listener)
    said = {"counts": summary.counts, "reason": summary.stop.reason, "outcomes": dict(listener.outcomes)}
    print(json.dumps(said), flush=True)
    return summary.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
