"""A new batch: its scenes listed and its settings frozen, so that every shard and resumption does the same work."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from geoseg import __version__
from geoseg.batch.job import BatchJob, ZoneSource, check_same, read_job, write_job
from geoseg.batch.listing import Listing, count_of
from geoseg.batch.manifest import Frozen, freeze, identify, read_manifest
from geoseg.batch.place import Place, locked
from geoseg.batch.signatures import write_signatures
from geoseg.batch.source import find_scenes
from geoseg.batch.source_remote import look_at
from geoseg.config import Config
from geoseg.errors import GeosegError, InputError, ProductError
from geoseg.outcome import OUTPUT_VERSION
from geoseg.pipeline import Pipeline
from geoseg.raster.remote import RemoteAccess, is_remote, redact
from geoseg.raster.remote_files import remote_access
from geoseg.workflows.freeze import freeze_pipeline
from geoseg.workflows.parts import in_parts, part_width
from geoseg.workflows.plan import Request, plan_scene
from geoseg.workflows.provenance import versions
from geoseg.workflows.zones import ZoneFile


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """What the user asked for."""

    source: str
    pipeline: Pipeline
    config: Config
    zones: ZoneFile | None = None
    """Polygons to measure areas by."""
    allow_large: bool = False
    allow_remote: tuple[str, ...] = ()
    """Hosts and buckets that may be read; `*`: any."""
    argv: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A batch that can be run."""

    job: BatchJob
    is_new: bool
    """False: the folder held this very batch already."""
    notes: tuple[str, ...] = ()


def plan_batch(request: BatchRequest, out: Path, listing: Listing | None = None) -> Planned:
    """Freezes a batch in the folder `out`, or finds that it is there; `listing` says how far it is.

    Raises:
        InputError: the source or settings are refused, `out` is in use for something else, or holds another batch.
        ResourceError: the engine asked for is not on this machine.
    """
    place, listing = Place(out=out), listing or Listing()
    _check_free(place)
    frozen = freeze_pipeline(request.pipeline, request.config)
    settings = {
        "source": _source_name(request.source),
        "pipeline": frozen.pipeline,
        "bundle_sha256": frozen.bundle_sha256,
        "output_version": OUTPUT_VERSION,
        "allow_large": request.allow_large,
        "allow_remote": request.allow_remote,
        "block": part_width(request.config.cluster.block) if request.config.cluster.block else 0,
        "zones": None if request.zones is None else _freeze_zones(request.zones),
    }
    allowed = RemoteAccess.of(request.allow_remote, request.config.remote)
    with _planning(place), remote_access(allowed) as remote:
        if place.job.exists():
            job = read_job(out)
            check_same(job, job.model_copy(update=settings).settings, out)
            notes = tuple(_look_again(request.source, job, place, listing))
            if place.signatures.exists():
                write_signatures(place, remote.queries)
            return Planned(job=job, is_new=False, notes=notes)
        count = partial(_count_parts, request, frozen.pipeline)
        found = look_at(find_scenes(request.source, listing))
        manifest = freeze(found, place, split=count if request.config.cluster.block else _one)
        write_signatures(place, remote.queries)
        facts = {"geoseg": __version__, "bundle": frozen.bundle, "versions": versions(), "argv": request.argv}
        listed = {"scenes": manifest.scenes, "manifest_sha256": manifest.sha256, "created": datetime.now(UTC)}
        job = BatchJob.model_validate({**settings, **facts, **listed})
        (out / "logs").mkdir(exist_ok=True)  # a SLURM job cannot write its log to a folder that is not there
        write_job(job, place)
    return Planned(job=job, is_new=True, notes=(*_notes(manifest), *listing.notes()))


def _notes(manifest: Frozen) -> Iterator[str]:
    if manifest.repeated:
        yield f"named more than once, but done once: {count_of(manifest.repeated, 'scene')}"
    if manifest.missing:
        yield f"not there now: {manifest.missing:,} of {count_of(manifest.scenes, 'scene')}"


def _look_again(source: str, job: BatchJob, place: Place, listing: Listing) -> Iterator[str]:
    """Notes on scenes that a source has got since it was frozen; signed addresses in it are taken as they are now.

    What is on a server or standard input is not listed again, unless for its signatures. A source that is gone does
    not keep a batch from its end: its scenes are known.
    """
    renews = place.signatures.exists()
    if not renews and (source == "-" or is_remote(source)):
        return
    known = {entry.scene.partition("-")[0] for entry in read_manifest(place)}
    try:
        added = {scene for one in find_scenes(source, listing) if (scene := identify(one.identity)) not in known}
    except InputError as error:
        if renews:
            raise
        yield f"scenes added since could not be looked for: {error}"
        return
    if added:
        when, those = f"{job.created:%Y-%m-%d}", count_of(len(added), "scene")
        yield f"not in this batch, which was frozen on {when}: {those} of {redact(source)}; plan a new one for them"


def _one(uri: str) -> int:
    return 1


def _count_parts(request: BatchRequest, pipeline: Pipeline, uri: str) -> int:
    """In how many parts a scene is done; one that is refused fails when it is run, as it would whole."""
    try:
        plan = plan_scene(
            Request(source=uri, pipeline=pipeline, config=request.config, allow_large=request.allow_large)
        )
    except GeosegError:
        return 1
    return len(in_parts(plan, request.config.cluster.block).panels)


def _freeze_zones(zones: ZoneFile) -> ZoneSource:
    return ZoneSource(path=str(zones.path.absolute()), field=zones.field, layer=zones.layer, sha256=zones.digest())


@contextmanager
def _planning(place: Place) -> Iterator[None]:
    """Alone in the folder; where nothing could be planned, nothing is left of it, nor of folders made for it."""
    lock, logs = place.out / "plan.lock", place.out / "logs"
    there = {path for path in (place.manifest, place.signatures, place.lists, logs) if path.exists()}
    made = [folder for folder in (place.out, *place.out.parents) if not folder.exists()]
    with locked(lock):
        try:
            yield
        finally:
            if not place.job.exists():
                for path in {place.manifest, place.signatures} - there:
                    path.unlink(missing_ok=True)
                for folder in {place.lists, logs} - there:
                    shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)
            with suppress(OSError):
                for folder in made:
                    folder.rmdir()  # refused unless it is empty


def _source_name(source: str) -> str:
    """The same source is called the same wherever the command is given."""
    return redact(source) if source == "-" or is_remote(source) else str(Path(source).absolute())


def _check_free(place: Place) -> None:
    out = place.out
    if out.exists() and not out.is_dir():
        raise ProductError(f"{out} is a file; a batch needs a folder: choose another name")
    if (out / "run.json").exists():
        raise ProductError(f"{out} holds the product of a single run: choose another folder for the batch")
