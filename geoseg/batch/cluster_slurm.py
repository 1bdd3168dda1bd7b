"""Dask workers as jobs of SLURM, submitted from here with dask-jobqueue; not what they do."""

import json
import logging
import os
import re
import shlex
import shutil
import warnings
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import dask
from distributed import Client
from distributed.security import Security

from geoseg.batch.cluster import SETTINGS
from geoseg.config import ClusterSection, Config
from geoseg.errors import ResourceError, SettingsError

_GRACE_SECONDS: Final = 10
_MEMORY_MB: Final = 8192
_STAGGER_SECONDS: Final = 60
"""Workers that began together leave at different times."""
_PLAIN: Final = re.compile(r"[\w./~+=@:,-]+")
"""dask-jobqueue writes the paths of keys into a shell line as they are."""


class SlurmJobs:
    """One worker of one slot in each job. Jobs that ended are submitted again; those that wait in a queue are left."""

    def __init__(self, config: Config, keys: Path) -> None:
        """Checks what can be checked before a job is submitted.

        Args:
            config: whose section `cluster.slurm` says what a job asks for.
            keys: a folder that jobs see at the same path, made and removed; for the keys of this one run.

        Raises:
            ResourceError: dask-jobqueue or sbatch is not here.
            SettingsError: the folder cannot be named in a job.
        """
        if not _PLAIN.fullmatch(str(keys.absolute())):
            raise SettingsError(f"{keys} has characters that mean something else in a job file: rename the folder")
        if shutil.which("sbatch") is None:
            raise ResourceError("cluster.kind=slurm: there is no sbatch here: run this where jobs are submitted")
        self._config, self._keys = config, keys.absolute()
        self._cluster: Any = None
        self._seen: set[str] = set()
        self._stack = ExitStack()

    @property
    def workers(self) -> int:
        """Registered now."""
        there = self._there()
        self._seen |= there
        return len(there)

    def open(self) -> Client:
        """Submits the jobs; does not wait for one to begin.

        Raises:
            ResourceError: SLURM refuses them.
        """
        self._stack.enter_context(dask.config.set(SETTINGS))
        self._keys.mkdir(mode=0o700, parents=True)
        self._stack.callback(shutil.rmtree, self._keys, ignore_errors=True)
        security = _write_keys(self._keys)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a machine without a route to the outside
            self._cluster = slurm_cluster(self._config, self._keys, security)
        self._stack.callback(self._cluster.close, timeout=_GRACE_SECONDS)
        self._cluster.scale(jobs=self._count)
        self._cluster.sync(self._submitted)
        for error in self._refused().values():
            raise ResourceError(f"sbatch refused a job ({_said(error)}): look at cluster.slurm.directives") from error
        client = Client(self._cluster, security=security, set_as_default=False)
        self._stack.callback(client.close, timeout=_GRACE_SECONDS)
        return client

    def restore(self) -> None:
        """Submits a job for each whose worker was here and is gone, or that was not taken."""
        if self._cluster is None:
            return
        gone = (self._seen - self._there()) | self._refused().keys()
        self._seen -= gone
        if gone:
            self._cluster.sync(self._cluster.scale_down, list(gone))
            self._cluster.scale(jobs=self._count)

    def close(self) -> None:
        """Cancels the jobs."""
        self._stack.close()

    @property
    def _count(self) -> int:
        return self._config.cluster.workers or 1

    async def _submitted(self) -> None:
        await self._cluster

    def _refused(self) -> dict[str, Exception]:
        """Names of the jobs that sbatch did not take, and why."""
        return {name: job.refused for name, job in self._cluster.workers.items() if job.refused is not None}

    def _there(self) -> set[str]:
        return {one.name for one in self._cluster.scheduler.workers.values()} if self._cluster is not None else set()


def slurm_cluster(config: Config, keys: Path, security: Security | None) -> Any:
    """dask-jobqueue's cluster without a job yet. Where a config is silent, what its own files say of a site holds.

    Raises:
        ResourceError: dask-jobqueue is not installed.
    """
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise ResourceError("cluster.kind=slurm needs dask-jobqueue: pip install 'geoseg[slurm]'") from error
    cluster, threads = config.cluster, config.threads or 1
    return SLURMCluster(
        job_cls=_job_class(),
        cores=1,  # the worker's one slot; what its network may use is job_cpu
        processes=1,
        memory=f"{cluster.memory_mb or _MEMORY_MB}MiB",
        job_cpu=threads,
        walltime=cluster.slurm.walltime,
        job_extra_directives=list(cluster.slurm.directives),
        job_script_prologue=[*cluster.slurm.prologue, *_environment(cluster, threads)],
        worker_extra_args=["--preload", "geoseg.batch.preload", "--no-dashboard"],
        job_name="geoseg",
        log_directory=str(keys.parent.parent / "logs"),
        interface=cluster.slurm.interface,
        security=security,
        scheduler_options={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        silence_logs=logging.CRITICAL,
    )


def _job_class() -> type:
    """dask-jobqueue's job, but what sbatch says to it is kept: raised, it would be logged by Dask and lost."""
    from dask_jobqueue.slurm import SLURMJob
    from distributed.core import Status

    class Job(SLURMJob):  # type: ignore[misc]
        refused: Exception | None = None

        async def start(self) -> None:
            try:
                await super().start()
            except (RuntimeError, OSError, ValueError) as error:
                self.refused = error
                self.status = Status.running

        async def close(self) -> None:
            await super().close()
            self.status = Status.closed

    return Job


def _write_keys(folder: Path) -> Security:
    """Keys of this one run, in files that their owner alone reads."""
    made, paths = Security.temporary(), {}
    for name in ("tls_ca_file", "tls_client_cert", "tls_client_key"):
        path = paths[name] = folder / f"{name}.pem"
        with open(path, "x", encoding="ascii", opener=partial(os.open, mode=0o600)) as stream:
            stream.write(getattr(made, name))
    pair = {"cert": str(paths["tls_client_cert"]), "key": str(paths["tls_client_key"])}
    roles = {f"tls_{role}_{what}": path for role in ("client", "scheduler", "worker") for what, path in pair.items()}
    return Security(tls_ca_file=str(paths["tls_ca_file"]), **roles, require_encryption=True)


def _literal(value: object) -> str:
    """A setting as a word of the shell that Dask reads as a Python literal."""
    return shlex.quote(json.dumps(value) if isinstance(value, list) else str(value))


def _environment(cluster: ClusterSection, threads: int) -> list[str]:
    """Lines of the job file: our Dask settings, threads, and the time at which a worker takes no more work."""
    settings = {key: value for key, value in SETTINGS.items() if ".worker." in key or ".comm." in key}
    names = {key: "DASK_" + key.upper().replace(".", "__").replace("-", "_") for key in settings}
    left = max(0, cluster.slurm.walltime_s - int(cluster.slurm.drain_s))
    return [
        *(f"export {names[key]}={_literal(value)}" for key, value in settings.items()),
        *(f"export {name}={threads}" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")),
        f"export GEOSEG_RETIRE_AT=$(( $(date +%s) + {left} - RANDOM % {max(1, min(_STAGGER_SECONDS, left // 2))} ))",
    ]


def _said(error: BaseException) -> str:
    """The line that sbatch wrote."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("sbatch:")]
    return " ".join((said or lines or [type(error).__name__])[-1].split())[:300]
