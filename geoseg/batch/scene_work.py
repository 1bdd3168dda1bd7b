"""One scene of a batch inside a worker: planned with the frozen settings, skipped if done, else segmented."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, lru_cache
from glob import escape
from pathlib import Path
from typing import Any

from geoseg.batch.event import Ticket
from geoseg.batch.job import BatchJob, read_job
from geoseg.batch.manifest import Part, fingerprint
from geoseg.batch.place import Place
from geoseg.batch.product_row import describe, find_product
from geoseg.batch.signatures import remote_scenes
from geoseg.batch.worker import JobError
from geoseg.config import Config
from geoseg.errors import BusyError, InputError, OffMapError, ProductError, SceneError
from geoseg.model.network import NetworkCache
from geoseg.outcome import OUTPUT_VERSION
from geoseg.workflows.parts import in_parts, is_part, notes_of, read_parts, write_part
from geoseg.workflows.plan import Request, ScenePlan, plan_scene
from geoseg.workflows.segment import segment
from geoseg.workflows.zones import ZoneFile, ZoneSet


def run_scene(out: Path, ticket: Ticket, config: Config) -> Mapping[str, Any]:
    """Makes the product of a scene in its folder, or finds it there: finished, by the same job, of the same input.

    Raises:
        SceneError: the scene is not there, has changed since the manifest was frozen, or is refused.
        NetworkError: its server does not answer, again and again.
        JobError: this machine has another bundle or other zones than the batch was frozen with.
    """
    job, place = _job(out, Place(out=out).job.stat().st_mtime_ns), Place(out=out)
    with remote_scenes(place, job, config):
        return _make(job, place, ticket, config)


def _make(job: BatchJob, place: Place, ticket: Ticket, config: Config) -> Mapping[str, Any]:
    part = Part.parse(ticket.uri)
    _check_unchanged(ticket, part.uri)
    plan = _plan(job, part, config)
    folder = place.scene(ticket.scene)
    record = find_product(folder)
    if record is not None and record.job == plan.job:
        shutil.rmtree(place.part(ticket.scene, 0).parent, ignore_errors=True)
        return {**describe(record), "output": str(folder.relative_to(place.out)), "skipped": True}
    folder.parent.mkdir(parents=True, exist_ok=True)
    if part.count == 1:
        done = segment(plan, folder, overwrite=True, networks=_networks())
        return {**describe(done.record), "output": str(folder.relative_to(place.out))}
    _run_part(plan, part, ticket, place)
    return {"job": plan.job, "areas": {}, "output": str(folder.relative_to(place.out))}


def _run_part(plan: ScenePlan, part: Part, ticket: Ticket, place: Place) -> None:
    """Makes a part, unless it is there; who finds that all parts are there makes the product of them."""
    files = [place.part(ticket.scene, k) for k in range(part.count)]
    if not is_part(plan, part.index, files[part.index]):
        write_part(plan, part.index, files[part.index], networks=_networks())
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
    if job.output_version != OUTPUT_VERSION:
        raise JobError(
            f"this worker makes products of version {OUTPUT_VERSION}, the batch was begun with {job.output_version}: "
            "give every worker the same geoseg"
        )
    zones = _zones(job)
    request = Request(source=part.uri, pipeline=job.pipeline, config=config, allow_large=job.allow_large, zones=zones)
    try:
        plan = plan_scene(request)
    except OffMapError:  # an archive reaches beyond its zones: a scene that none of them touches is done without
        plan = plan_scene(replace(request, zones=None))
    if plan.bundle.sha256 != job.bundle_sha256:
        raise JobError(
            f"bundle {plan.bundle.spec.name!r} has sha256 {plan.bundle.sha256[:12]} here, the batch was frozen with "
            f"{job.bundle_sha256[:12]}: put that bundle back, or plan a new batch"
        )
    return plan if part.count == 1 else in_parts(plan, job.block)


def _zones(job: BatchJob) -> ZoneSet | None:
    """The zones that the batch was frozen with."""
    if job.zones is None:
        return None
    path = Path(job.zones.path)
    # A shapefile is several files of one name.
    states = [
        (one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in path.parent.glob(f"{escape(path.stem)}.*")
    ]
    try:
        found = _read_zones(ZoneFile(path=path, field=job.zones.field, layer=job.zones.layer), tuple(sorted(states)))
    except InputError as error:
        raise JobError(f"{error}; the batch was planned with zones in {path}: put them back") from error
    if found.sha256 != job.zones.sha256:
        raise JobError(f"{path} has changed since the batch was planned: put it back, or plan a new batch")
    return found


@lru_cache(maxsize=1)
def _read_zones(file: ZoneFile, states: tuple[tuple[str, int, int], ...]) -> ZoneSet:
    """Read once per process; `states` tell files that were replaced."""
    return file.read()


@cache
def _networks() -> NetworkCache:
    """Of this process, which does one scene at a time."""
    return NetworkCache()


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
