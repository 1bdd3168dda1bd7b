"""A planned batch, or a shard of it, brought to its end: locked, resumed, worked at, summed up."""

import os
import secrets
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from geoseg.batch.event import State, Stop
from geoseg.batch.executor import Executor
from geoseg.batch.executor_here import Here
from geoseg.batch.job import BatchJob, read_job
from geoseg.batch.ledger import Ledger
from geoseg.batch.loop import Listener, Summary, drive
from geoseg.batch.manifest import read_manifest
from geoseg.batch.part_files import count_lost, parts_to_redo
from geoseg.batch.place import Place, Shard, check_shard, is_shared, locked
from geoseg.batch.policy import Policy
from geoseg.batch.status import read_rows
from geoseg.batch.worker import Assignment
from geoseg.config import Config
from geoseg.errors import ProductError
from geoseg.outcome import OUTPUT_VERSION

SCENE_WORK = "geoseg.batch.scene_work:run_scene"
Retry = Literal["failed", "quarantined", "all"]
_RETRIED: dict[Retry, tuple[State, ...]] = {
    "failed": ("failed",),
    "quarantined": ("quarantined", "suspect"),
    "all": ("failed", "quarantined", "suspect"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a batch is to be worked at this time; none of it may change a product."""

    config: Config
    shard: Shard = field(default_factory=Shard)
    retry: Retry | None = None
    """Scenes that ended badly are tried again, as if for the first time."""
    insecure: bool = False
    """A Dask scheduler on another machine may be reached without encryption."""
    work: str = SCENE_WORK


def run_batch(out: Path, options: RunOptions, listener: Listener) -> Summary:
    """Works at the scenes of a planned batch that have not ended; what has ended stays as it is.

    Raises:
        ProductError: `out` holds no batch, another process works at it, or it was begun in other shards.
        ResourceError: no worker can be started, or the ledger cannot be written.
    """
    job, place, shard = read_job(out), Place(out=out), options.shard
    if job.output_version != OUTPUT_VERSION:
        raise ProductError(
            f"{out} was begun by geoseg {job.geoseg}, whose products have version {job.output_version}, not "
            f"{OUTPUT_VERSION}: go on with that geoseg, or plan the batch again in a new folder"
        )
    with locked(place.lock(shard)):
        check_shard(place, shard)
        with open_ledger(place, job, shard) as ledger:
            if options.retry:
                ledger.retry(_RETRIED[options.retry])
            _reopen(ledger, place, job)
            if not _has_work(ledger):
                return _judged(Summary.of_finished(ledger.counts()), out, job)
            _clear(place.claims, shard)
            with _executor(out, options) as executor:
                summary = drive(ledger, executor, policy_of(options.config), listener)
                if not summary.stop.code and _reopen(ledger, place, job):
                    summary = drive(ledger, executor, policy_of(options.config), listener)
            return _judged(summary, out, job)


def open_ledger(place: Place, job: BatchJob, shard: Shard) -> Ledger:
    """The ledger of a shard, made from the manifest where it is not there yet.

    Raises:
        ProductError: it belongs to another job.
    """
    path, shared = place.ledger(shard), is_shared(place.out)
    if not path.exists():
        scenes = read_manifest(place, shard, sha256=job.manifest_sha256)
        return Ledger.create(path, scenes, job=job.digest, shared=shared)
    ledger = Ledger(path, shared=shared)
    if ledger.job != job.digest:
        raise ProductError(f"{path} belongs to another job than batch.json: run geoseg batch repair {place.out}")
    return ledger


def policy_of(config: Config) -> Policy:
    """The limits that a config sets."""
    cluster = config.cluster
    return Policy(
        attempts=cluster.attempts,
        backoff_s=cluster.backoff_s,
        breaker=cluster.breaker,
        hang_min_s=cluster.hang_min_s,
        hang_factor=cluster.hang_factor,
        pack_s=cluster.pack_s,
        deserted_s=cluster.deserted_s,
    )


def _executor(out: Path, options: RunOptions) -> AbstractContextManager[Executor]:
    """The workers that a config names."""
    config, cluster = options.config, options.config.cluster
    if cluster.kind == "here":
        return Here(_assignment(out, options, config.thread_count))
    from geoseg.batch.cluster import LocalWorkers, RunningScheduler, environments
    from geoseg.batch.executor_dask import OverDask

    session = f"{options.shard.name or 'all'}-{os.getpid()}-{secrets.token_hex(4)}"
    if cluster.kind == "address":
        workers = RunningScheduler(cluster, insecure=options.insecure)
        return OverDask(_assignment(out, options, config.threads), workers, session=session)
    if cluster.kind == "slurm":
        from geoseg.batch.cluster_slurm import SlurmJobs

        keys = Place(out=out).claims / f"{options.shard.name or 'all'}-keys"
        return OverDask(_assignment(out, options, config.threads or 1), SlurmJobs(config, keys), session=session)
    threads = int(environments(config)[0]["OMP_NUM_THREADS"])
    return OverDask(_assignment(out, options, threads), LocalWorkers(config), session=session)


def _assignment(out: Path, options: RunOptions, threads: int) -> Assignment:
    config = options.config.model_copy(update={"threads": threads})
    return Assignment(out=str(out.absolute()), work=options.work, config=config)


def _reopen(ledger: Ledger, place: Place, job: BatchJob) -> int:
    """Makes parts pending without which their scenes get no product; gives how many."""
    if not job.block:
        return 0
    again = list(parts_to_redo(ledger.rows("done", "skipped"), place))
    ledger.reopen(again)
    return len(again)


def _judged(summary: Summary, out: Path, job: BatchJob) -> Summary:
    """Not all is well where a scene has no product although its parts have ended, maybe in other shards."""
    if summary.stop.code or not job.block:
        return summary
    lost = count_lost(read_rows(out, "done", "skipped"), Place(out=out))
    if not lost:
        return summary
    reason = f"{lost} scenes have no product although their parts have ended (a file was lost): run every shard again"
    return Summary(stop=Stop(code=4, reason=reason), counts=summary.counts)


def _has_work(ledger: Ledger) -> bool:
    counts = ledger.counts()
    return any(counts[state] for state in ("pending", "running", "suspect"))


def _clear(folder: Path, shard: Shard) -> None:
    """What workers of a driver that is dead had claimed; its lock says that it is."""
    if folder.is_dir():
        for one in folder.glob(f"{shard.name or 'all'}-*"):
            if one.is_dir():  # the keys of its scheduler
                shutil.rmtree(one, ignore_errors=True)
            else:
                one.unlink(missing_ok=True)
