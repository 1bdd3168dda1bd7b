"""A ledger made again from what is on the disk: the products are the truth, the old ledgers only know of failures."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geoseg.batch.event import Record, Ticket
from geoseg.batch.job import BatchJob, read_job
from geoseg.batch.ledger import SUFFIXES, Ledger
from geoseg.batch.manifest import Part, read_manifest, scene_fingerprint
from geoseg.batch.place import Place, Shard, locked
from geoseg.batch.product_row import describe, find_product
from geoseg.batch.status import FAILED
from geoseg.errors import GeosegError
from geoseg.outcome import RunRecord
from geoseg.workflows.plan import name_job


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What was found."""

    scenes: int
    done: int
    failed: int
    """Known from the old ledgers as failed or quarantined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Old:
    """What the old ledgers know, as far as they can be read, by scene id."""

    failed: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Rows."""
    made: dict[str, str] = field(default_factory=dict)
    """The job of the product that the scene had when it was done."""


def repair(out: Path) -> Repaired:
    """Makes the ledger of a batch again, in one piece: done is what has a complete product of this job and input.

    A product of which that cannot be told without opening the scene leaves it pending; the next run finds it.

    Raises:
        ProductError: the folder holds no batch, its manifest is not that of the job, or a driver works in it.
    """
    job, place = read_job(out), Place(out=out)
    with ExitStack() as stack:
        for lock in _locks(place):
            stack.enter_context(locked(lock))
        ledgers, old = place.ledgers(), _read_old(place, job)
        beside = place.out / f"repaired-{time.time_ns()}.sqlite"
        try:
            scenes = read_manifest(place, sha256=job.manifest_sha256)
            with Ledger.create(beside, scenes, job=job.digest, shared=True) as ledger:
                _enter(ledger, lambda ticket: _known(ticket, old, place, job))
                counts = ledger.counts()
            for path in ledgers:
                for suffix in ("", *SUFFIXES):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
            place.shards.unlink(missing_ok=True)
            beside.replace(place.ledger(Shard()))
        finally:
            beside.unlink(missing_ok=True)
    return Repaired(scenes=sum(counts.values()), done=counts["done"], failed=counts["failed"] + counts["quarantined"])


def _locks(place: Place) -> list[Path]:
    """Of the whole, and of every shard that was begun."""
    return [place.lock(Shard()), *(path.with_suffix(".lock") for path in place.ledgers() if "-of-" in path.stem)]


def _read_old(place: Place, job: BatchJob) -> _Old:
    """Of every ledger the rows before the first damaged page; of this job's what was made, too."""
    old = _Old()
    for path in place.ledgers():
        with suppress(GeosegError), Ledger(path, read_only=True) as ledger:
            is_ours = ledger.job == job.digest
            for row in ledger.rows():  # by state they would come from an index: none at all if that is damaged
                if row["state"] in FAILED:
                    old.failed[row["scene"]] = row
                elif is_ours and row["state"] in ("done", "skipped"):
                    old.made[row["scene"]] = row["job"]
    return old


def _enter(ledger: Ledger, known: Callable[[Ticket], Record | None]) -> None:
    after = 0
    while tickets := ledger.pending(after=after, count=1000):
        after = tickets[-1].row
        ledger.write([record for ticket in tickets if (record := known(ticket)) is not None])


def _known(ticket: Ticket, old: _Old, place: Place, job: BatchJob) -> Record | None:
    record = find_product(place.scene(ticket.scene))
    if record is not None and (record.job == old.made.get(ticket.scene) or _is_of(record, ticket, job)):
        return _done(ticket, record, place)
    return _failed(ticket, old.failed[ticket.scene]) if ticket.scene in old.failed else None


def _is_of(record: RunRecord, ticket: Ticket, job: BatchJob) -> bool:
    """Whether a product was made with the settings of this batch, of the scene as it was when it was planned."""
    if record.bundle_sha256 != job.bundle_sha256:
        return False
    if _undecided(record.pipeline) != _undecided(job.pipeline.model_dump(mode="json")):
        return False
    scene = scene_fingerprint(Part.parse(ticket.uri).uri, ticket.fingerprint)
    zones = None if job.zones is None else job.zones.sha256
    return scene is not None and record.job == name_job(
        record.pipeline_digest, record.bundle_sha256, scene, zones=zones
    )


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
