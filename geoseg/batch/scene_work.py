"""One scene of a batch inside a worker: planned with the frozen settings, skipped if done, else segmented."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from geoseg.batch.event import Ticket
from geoseg.batch.job import BatchJob, read_job
from geoseg.batch.manifest import Part, fingerprint
from geoseg.batch.place import Place
from geoseg.batch.product_row import describe, find_product
from geoseg.batch.worker import JobError
from geoseg.config import Config
from geoseg.errors import BusyError, InputError, ProductError, SceneError
from geoseg.workflows.parts import in_parts, is_part, notes_of, read_parts, write_part
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
    part = Part.parse(ticket.uri)
    _check_unchanged(ticket, part.uri)
    plan = _plan(job, part, config)
    folder = place.scene(ticket.scene)
    record = find_product(folder)
    if record is not None and record.job == plan.job:
        shutil.rmtree(place.part(ticket.scene, 0).parent, ignore_errors=True)
        return {**describe(record), "output": str(folder.relative_to(out)), "skipped": True}
    folder.parent.mkdir(parents=True, exist_ok=True)
    if part.count == 1:
        done = segment(plan, folder, overwrite=True)
        return {**describe(done.record), "output": str(folder.relative_to(out))}
    _run_part(plan, part, ticket, place)
    return {"job": plan.job, "areas": {}, "output": str(folder.relative_to(out))}


def _run_part(plan: ScenePlan, part: Part, ticket: Ticket, place: Place) -> None:
    """Makes a part, unless it is there; who finds that all parts are there makes the product of them."""
    files = [place.part(ticket.scene, k) for k in range(part.count)]
    if not is_part(plan, part.index, files[part.index]):
        write_part(plan, part.index, files[part.index])
    if not all(is_part(plan, k, file) for k, file in enumerate(files)):
        return
    folder = place.scene(ticket.scene)
    try:
        notes = dict.fromkeys(note for file in files for note in notes_of(file))
        whole = replace(plan, notes=(*plan.notes, *notes))
        segment(whole, folder, overwrite=True, rows=read_parts(files))
    except BusyError:  # another worker, whose part was ready at the same moment, is at it
        return
    except (ProductError, FileNotFoundError):  # … or has just put them together, and removed them
        made = find_product(folder)
        if made is None or made.job != plan.job:
            raise
    shutil.rmtree(files[0].parent, ignore_errors=True)


def _plan(job: BatchJob, part: Part, config: Config) -> ScenePlan:
    frozen = job.zones
    zones = None if frozen is None else ZoneFile(path=Path(frozen.path), field=frozen.field, layer=frozen.layer)
    if frozen is not None and zones is not None and zones.digest() != frozen.sha256:
        raise JobError(f"{frozen.path} has changed since the batch was planned: put it back, or plan a new batch")
    request = Request(source=part.uri, pipeline=job.pipeline, config=config, allow_large=job.allow_large, zones=zones)
    try:
        plan = plan_scene(request)
    except InputError:
        if zones is None:
            raise
        # An archive reaches beyond its zones: a scene that none of them touches is done without. If the zones are
        # not what is wrong with it, this fails as before.
        plan = plan_scene(replace(request, zones=None))
    if plan.bundle.sha256 != job.bundle_sha256:
        raise JobError(
            f"bundle {plan.bundle.spec.name!r} has sha256 {plan.bundle.sha256[:12]} here, the batch was frozen with "
            f"{job.bundle_sha256[:12]}: put that bundle back, or plan a new batch"
        )
    return plan if part.count == 1 else in_parts(plan, job.block)


def _check_unchanged(ticket: Ticket, uri: str) -> None:
    now, _ = fingerprint(uri)
    if not now:
        raise SceneError(f"{uri} is not there: put it back, then geoseg batch run OUT --retry failed")
    if ticket.fingerprint and now != ticket.fingerprint:
        raise SceneError(f"{uri} has changed since the batch was planned: put the old file back, or plan a new batch")


@lru_cache(maxsize=4)
def _job(out: Path, written: int) -> BatchJob:
    """Read once per process; `written` tells a batch.json that was replaced."""
    return read_job(out)
