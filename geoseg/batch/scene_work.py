"""One scene of a batch inside a worker: planned with the frozen settings, skipped if done, else segmented."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from geoseg.batch.event import Ticket
from geoseg.batch.job import BatchJob, read_job
from geoseg.batch.manifest import fingerprint
from geoseg.batch.place import Place
from geoseg.batch.product_row import describe, find_product
from geoseg.batch.worker import JobError
from geoseg.config import Config
from geoseg.errors import SceneError
from geoseg.workflows.plan import Request, ScenePlan, plan_scene
from geoseg.workflows.segment import segment
from geoseg.workflows.zones import ZoneFile


def run_scene(out: Path, ticket: Ticket, config: Config) -> Mapping[str, Any]:
    """Makes the product of a scene in its folder, or finds it there: finished, by the same job, of the same input.

    Raises:
        SceneError: the scene is not there, has changed since the manifest was frozen, or is refused.
        JobError: this machine has another bundle than the batch was frozen with.
    """
    job, place = _job(out, Place(out=out).job.stat().st_mtime_ns), Place(out=out)
    _check_unchanged(ticket)
    plan = _plan(job, ticket, config)
    folder = place.scene(ticket.scene)
    record = find_product(folder)
    if record is not None and record.job == plan.job:
        return {**describe(record), "output": str(folder.relative_to(out)), "skipped": True}
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = segment(plan, folder, overwrite=True)
    return {**describe(done.record), "output": str(folder.relative_to(out))}


def _plan(job: BatchJob, ticket: Ticket, config: Config) -> ScenePlan:
    frozen = job.zones
    zones = None if frozen is None else ZoneFile(path=Path(frozen.path), field=frozen.field, layer=frozen.layer)
    plan = plan_scene(
        Request(source=ticket.uri, pipeline=job.pipeline, config=config, allow_large=job.allow_large, zones=zones)
    )
    if plan.bundle.sha256 != job.bundle_sha256:
        raise JobError(
            f"bundle {plan.bundle.spec.name!r} has sha256 {plan.bundle.sha256[:12]} here, the batch was frozen with "
            f"{job.bundle_sha256[:12]}: put that bundle back, or plan a new batch"
        )
    if frozen is not None and plan.zones_sha256 != frozen.sha256:
        raise JobError(
            f"{frozen.path} has changed since the batch was planned: put the old file back, or plan a new batch"
        )
    return plan


def _check_unchanged(ticket: Ticket) -> None:
    now, _ = fingerprint(ticket.uri)
    if not now:
        raise SceneError(f"{ticket.uri} is not there: put it back, then geoseg batch run OUT --retry failed")
    if ticket.fingerprint and now != ticket.fingerprint:
        raise SceneError(
            f"{ticket.uri} has changed since the batch was planned: put the old file back, or plan a new batch"
        )


@lru_cache(maxsize=4)
def _job(out: Path, written: int) -> BatchJob:
    """Read once per process; `written` tells a batch.json that was replaced."""
    return read_job(out)
