"""A ledger made again from what is on the disk: the products are the truth, the old ledgers only know of failures."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.batch.event import Record, Ticket
from geoseg.batch.job import BatchJob, read_job
from geoseg.batch.ledger import Ledger
from geoseg.batch.manifest import read_manifest
from geoseg.batch.place import Place, Shard, locked
from geoseg.batch.product_row import describe, find_product
from geoseg.batch.status import FAILED
from geoseg.errors import GeosegError
from geoseg.outcome import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What was found."""

    scenes: int
    done: int
    failed: int
    """Known from the old ledgers as failed or quarantined."""


def repair(out: Path) -> Repaired:
    """Makes the ledger of a batch again, in one piece: done is what has a complete product of this job.

    Raises:
        ProductError: the folder holds no batch, or a driver works in it.
    """
    job, place = read_job(out), Place(out=out)
    with ExitStack() as stack:
        for lock in _locks(place):
            stack.enter_context(locked(lock))
        old, failed = place.ledgers(), _known_failures(place)
        beside = place.out / f"repaired-{time.time_ns()}.sqlite"
        try:
            with Ledger.create(beside, read_manifest(place), job=job.digest, shared=True) as ledger:
                _enter(ledger, lambda ticket: _known(ticket, failed, place, job))
                counts = ledger.counts()
            for path in old:
                for suffix in ("", "-wal", "-shm", "-journal"):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
            beside.replace(place.ledger(Shard()))
        finally:
            beside.unlink(missing_ok=True)
    return Repaired(scenes=sum(counts.values()), done=counts["done"], failed=counts["failed"] + counts["quarantined"])


def _locks(place: Place) -> list[Path]:
    """Of the whole, and of every shard that was begun."""
    return [place.lock(Shard()), *(path.with_suffix(".lock") for path in place.ledgers() if "-of-" in path.stem)]


def _known_failures(place: Place) -> dict[str, dict[str, Any]]:
    """Scene id -> row; of ledgers that can be read."""
    found: dict[str, dict[str, Any]] = {}
    for path in place.ledgers():
        with suppress(GeosegError), Ledger(path, read_only=True) as ledger:
            found |= {row["scene"]: row for row in ledger.rows(*FAILED)}
    return found


def _enter(ledger: Ledger, known: Callable[[Ticket], Record | None]) -> None:
    after = 0
    while tickets := ledger.pending(after=after, count=1000):
        after = tickets[-1].row
        ledger.write([record for ticket in tickets if (record := known(ticket)) is not None])


def _known(ticket: Ticket, failed: dict[str, dict[str, Any]], place: Place, job: BatchJob) -> Record | None:
    record = _product(ticket, place, job)
    if record is not None:
        return _done(ticket, record, place)
    return _failed(ticket, failed[ticket.scene]) if ticket.scene in failed else None


def _product(ticket: Ticket, place: Place, job: BatchJob) -> RunRecord | None:
    """The product of a scene, if it is complete and was made with the settings of this batch."""
    record = find_product(place.scene(ticket.scene))
    if record is None or record.bundle_sha256 != job.bundle_sha256:
        return None
    return record if _undecided(record.pipeline) == _undecided(job.pipeline.model_dump(mode="json")) else None


def _undecided(pipeline: Mapping[str, Any]) -> dict[str, Any]:
    """A pipeline without what the plan of a scene decides, or where a bundle is."""
    scene, tiling = {**pipeline["scene"], "level": None}, {**pipeline["tiling"], "margin": None}
    return {**pipeline, "scene": scene, "tiling": tiling, "model": None}


def _done(ticket: Ticket, record: RunRecord, place: Place) -> Record:
    output = str(place.scene(ticket.scene).relative_to(place.out))
    seconds = (record.finished - record.started).total_seconds()
    result = {**describe(record), "output": output}
    at = record.finished.timestamp()
    return Record(at=at, ticket=ticket, state="done", outcome="done", seconds=seconds, result=result)


def _failed(ticket: Ticket, row: dict[str, Any]) -> Record:
    return Record(
        at=row["finished"] or 0.0,
        ticket=ticket,
        state=row["state"],
        outcome="broke",
        code=row["error_code"],
        error=row["error"],
        seconds=row["seconds"],
    )
