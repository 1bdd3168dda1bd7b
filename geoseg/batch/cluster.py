"""Where Dask workers are: processes of this machine, or a scheduler that runs already; not what they do."""

import logging
import os
import time
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import dask
from dask.system import CPU_COUNT
from distributed import Client, Nanny, Scheduler, SpecCluster
from distributed.security import Security
from distributed.system import MEMORY_LIMIT

from geoseg.config import ClusterSection, Config
from geoseg.errors import ResourceError, SettingsError

SETTINGS: Final[dict[str, Any]] = {
    "distributed.scheduler.allowed-failures": 0,  # a second chance is the driver's to give, to the right scene
    "distributed.scheduler.worker-ttl": None,  # work that holds the GIL is no dead worker; the hang guard judges
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.no-workers-timeout": None,
    "distributed.admin.low-level-log-length": 20,  # 1,000 messages by default, with the scenes they were about
    "distributed.deploy.lost-worker-timeout": "30d",  # 15 s by default, after which a slow restart is lost for good
    "distributed.worker.memory.target": False,  # model and GDAL cache are unmanaged memory: pausing would hang
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.comm.timeouts.tcp": "300s",
    "distributed.admin.tick.limit": "1h",
    "distributed.scheduler.http.routes": ["distributed.http.health"],  # the others tell anybody here of the scenes
    "distributed.worker.http.routes": ["distributed.http.health"],
}
_LOOPBACK: Final = {"127.0.0.1", "localhost", "::1"}
_LOCAL: Final = {"host": "127.0.0.1", "protocol": "tls", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
"""What scheduler and workers of this machine have in common; Dask's health pages listen there too."""
_CONNECT_SECONDS: Final = 30
_START_SECONDS: Final = 120
_ASK_SECONDS: Final = 5.0
_GRACE_SECONDS: Final = 10
_WORKER_BYTES: Final = 3 * 2**29
"""What a worker needs at least: torch, a network, the buffers of a panel."""


class Cluster(Protocol):
    """Workers that a client reaches."""

    @property
    def workers(self) -> int:
        """How many are there now."""

    def open(self) -> Client:
        """Starts them, or connects."""

    def restore(self) -> None:
        """Asks for what is missing."""

    def close(self) -> None:
        """Ends what `open` started."""


class LocalWorkers:
    """Processes of this machine, each with one slot, behind TLS with keys of their own: other users cannot use them."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._cluster: SpecCluster | None = None
        self._specs: dict[int, dict[str, Any]] = {}
        self._stack = ExitStack()

    @property
    def workers(self) -> int:
        """Registered now."""
        return len(self._cluster.scheduler.workers) if self._cluster is not None else 0

    def open(self) -> Client:
        """Starts them and waits for the first.

        Raises:
            ResourceError: none comes.
        """
        scratch = self._stack.enter_context(TemporaryDirectory(prefix="geoseg-dask-", ignore_cleanup_errors=True))
        self._stack.enter_context(dask.config.set({**SETTINGS, "temporary-directory": scratch}))
        security = Security.temporary()
        scheduler = {**_LOCAL, "port": 0, "security": security}
        found = environments(self._config)
        specs = {k: self._spec(one, security, share=len(found)) for k, one in enumerate(found)}
        self._cluster = SpecCluster(
            workers=dict(specs),
            scheduler={"cls": Scheduler, "options": scheduler},
            worker=specs[0],
            security=security,
            silence_logs=logging.CRITICAL,
        )
        self._specs = specs
        self._stack.callback(self._cluster.close, timeout=_GRACE_SECONDS)
        client = Client(self._cluster, security=security, set_as_default=False)
        self._stack.callback(client.close, timeout=_GRACE_SECONDS)
        try:
            client.wait_for_workers(1, timeout=_START_SECONDS)
        except TimeoutError as error:
            raise ResourceError(
                f"no worker process was there after {_START_SECONDS} s: ask for fewer with cluster.workers, or see "
                "geoseg doctor"
            ) from error
        return client

    def restore(self) -> None:
        """Processes that are missing are given up and started anew, each with its own environment."""
        if self._cluster is None:
            return
        there = {one.name for one in self._cluster.scheduler.workers.values()}
        missing = {name: spec for name, spec in self._specs.items() if name not in there}
        self._cluster.sync(self._cluster.scale_down, list(missing))
        self._cluster.worker_spec.update(missing)
        self._cluster.scale(len(self._specs))

    def close(self) -> None:
        """Ends the processes."""
        self._stack.close()

    def _spec(self, environment: dict[str, str], security: Security, *, share: int) -> dict[str, Any]:
        megabytes = self._config.cluster.memory_mb
        options = {
            **_LOCAL,
            "security": security,
            "nthreads": 1,
            "memory_limit": megabytes * 2**20 if megabytes else MEMORY_LIMIT * 9 // 10 // share,
            "env": environment,
            "preload": ["geoseg.batch.preload"],
            "silence_logs": logging.CRITICAL,
        }
        return {"cls": Nanny, "options": options}


class RunningScheduler:
    """The workers of a scheduler that somebody else runs; connected to, never started or ended."""

    def __init__(self, cluster: ClusterSection, *, insecure: bool) -> None:
        """Takes an address that may be used.

        Raises:
            SettingsError: there is no address, anybody on the way could send work to its workers, or there are no keys.
        """
        self._address = check_address(cluster.address, insecure=insecure)
        self._security = Security(
            tls_ca_file=cluster.tls_ca,
            tls_client_cert=cluster.tls_cert,
            tls_client_key=cluster.tls_key,
            require_encryption=self._address.startswith("tls"),
        )
        if self._address.startswith("tls"):
            _check_keys(self._security, self._address)
        self._client: Client | None = None
        self._known, self._asked = 0, 0.0

    @property
    def workers(self) -> int:
        """As of a few seconds ago."""
        if self._client is not None and time.monotonic() - self._asked > _ASK_SECONDS:
            self._asked = time.monotonic()
            try:
                self._known = len(self._client.nthreads())
            except (OSError, TimeoutError):
                self._known = 0
        return self._known

    def open(self) -> Client:
        """Connects.

        Raises:
            ResourceError: nobody answers there.
        """
        try:
            self._client = Client(
                self._address, security=self._security, timeout=_CONNECT_SECONDS, set_as_default=False
            )
        except (OSError, TimeoutError, ValueError, TypeError) as error:
            raise ResourceError(
                f"no scheduler answers at {self._address} ({' '.join(str(error).split())[:200]}): start it, or look at "
                "the address and the TLS files"
            ) from error
        return self._client

    def restore(self) -> None:
        """Whoever runs the scheduler does that."""

    def close(self) -> None:
        """Disconnects."""
        if self._client is not None:
            self._client.close(timeout=_GRACE_SECONDS)


def _check_keys(security: Security, address: str) -> None:
    """A client without keys would wait for a minute before it says so."""
    files = "cluster.tls_ca, tls_cert and tls_key"
    try:
        context = security.get_connection_args("client").get("ssl_context")
    except OSError as error:  # ssl.SSLError is one
        raise SettingsError(
            f"{files} cannot be used ({' '.join(str(error).split())}): give PEM files that belong together"
        ) from error
    if context is None:
        raise SettingsError(f"--scheduler {address} needs keys: {files}, PEM files")


def check_address(address: str | None, *, insecure: bool) -> str:
    """An address of a scheduler that may be connected to.

    Raises:
        SettingsError: it is none, or is on another machine and not encrypted, so that anybody could run code there.
    """
    if not address:
        raise SettingsError("cluster.kind=address needs --scheduler ADDRESS, such as tls://host:8786")
    parts = urlsplit(address)
    if parts.scheme not in {"tcp", "tls"} or not parts.hostname:
        raise SettingsError(f"--scheduler {address}: write tls://HOST:PORT, or tcp://HOST:PORT on this machine")
    if parts.scheme == "tcp" and parts.hostname not in _LOOPBACK and not insecure:
        raise SettingsError(
            f"--scheduler {address} is not encrypted, and whoever reaches it can run code on its workers: use tls:// "
            "with cluster.tls_ca, tls_cert and tls_key, or accept that with --insecure"
        )
    return address


def environments(config: Config) -> list[dict[str, str]]:
    """The environment of each worker process of this machine: its threads, its GPU."""
    cluster, devices = config.cluster, _devices(config.cluster.gpus)
    asked = len(devices) or cluster.workers
    threads = config.threads or max(1, CPU_COUNT // (asked or CPU_COUNT))
    count = asked or max(1, min(CPU_COUNT // threads, MEMORY_LIMIT // _WORKER_BYTES))
    pinned = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    return [{**pinned, **({"CUDA_VISIBLE_DEVICES": devices[k]} if devices else {})} for k in range(count)]


def _devices(wanted: int | str) -> list[str]:
    """The CUDA devices to give a process each, as CUDA_VISIBLE_DEVICES names them."""
    if not wanted:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = [one for one in visible.split(",") if one] if visible is not None else _count_gpus()
    if not found:
        raise ResourceError(f"cluster.gpus={wanted}, but no CUDA device is here: give --config workstation or laptop")
    count = len(found) if wanted == "all" else int(wanted)
    if count > len(found):
        raise ResourceError(f"cluster.gpus={wanted}, but only {len(found)} CUDA devices are here: ask for fewer")
    return found[:count]


def _count_gpus() -> list[str]:
    """Numbers of the devices that the NVIDIA driver shows; CUDA itself is left to the workers."""
    folder = "/proc/driver/nvidia/gpus"
    return [str(k) for k in range(len(os.listdir(folder)))] if os.path.isdir(folder) else []
