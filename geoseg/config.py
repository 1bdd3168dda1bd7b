"""How to run here: devices, threads, memory. May change no pixel; no heavy import."""

import os
from typing import Final, Literal

from pydantic import Field, model_validator

from geoseg.section import Section


class SlurmSection(Section):
    """What a job of SLURM asks for, where a batch submits its own workers."""

    walltime: str = Field(
        default="04:00:00",
        pattern=r"^(\d{1,2}-)?\d{1,3}:[0-5]\d:[0-5]\d$",
        description="of a job, [days-]hours:minutes:seconds; jobs that ended are submitted again",
    )
    drain_s: float = Field(
        default=900.0, ge=0, description="so long before its time is up a worker begins no more scenes"
    )
    interface: str | None = Field(
        default=None, description="network interface of this machine that jobs reach, e.g. ib0"
    )
    directives: tuple[str, ...] = Field(default=(), description="further #SBATCH options, such as --partition=long")
    prologue: tuple[str, ...] = Field(default=(), description="shell lines before the worker, such as module load")

    @property
    def walltime_s(self) -> int:
        """Seconds."""
        days, _, clock = self.walltime.rpartition("-")
        hours, minutes, seconds = map(int, clock.split(":"))
        return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds

    @model_validator(mode="after")
    def _is_sound(self) -> "SlurmSection":
        if self.drain_s >= self.walltime_s:
            raise ValueError(f"cluster.slurm.drain_s {self.drain_s:g} leaves nothing of the walltime {self.walltime}")
        if any("\n" in line for line in self.directives):
            raise ValueError("cluster.slurm.directives: one line each")
        return self


class ClusterSection(Section):
    """Who works at the scenes of a batch, and how much patience there is with them. Times are seconds."""

    kind: Literal["here", "local", "address", "slurm"] = Field(
        default="here",
        description="here: one process after another, no Dask. local: Dask workers on this machine. address: the "
        "workers of a Dask scheduler that runs already. slurm: Dask workers as jobs of SLURM, submitted from here",
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="processes of a local cluster, 0 = as cores or GPUs allow; jobs of SLURM, 0 = one",
    )
    gpus: int | Literal["all"] = Field(
        default=0, description="local: one process for each of so many CUDA devices, or for all"
    )
    memory_mb: int = Field(
        default=0, ge=0, description="a worker above it is ended; 0 = its share of the memory, 8192 in a job"
    )
    address: str | None = Field(default=None, description="of the scheduler: tls://host:8786, or tcp:// on loopback")
    tls_ca: str | None = Field(default=None, description="PEM file of the authority that signed the scheduler's key")
    tls_cert: str | None = Field(default=None, description="PEM file of this client's certificate")
    tls_key: str | None = Field(default=None, description="PEM file of this client's key")
    slurm: SlurmSection = Field(default=SlurmSection(), description="the jobs of cluster.kind=slurm")
    attempts: int = Field(
        default=3, ge=1, description="tries of a scene whose errors may pass (input, output, network)"
    )
    backoff_s: float = Field(default=2.0, ge=0, description="wait before the second try, doubled for each further one")
    breaker: int = Field(default=20, ge=0, description="more failures in a row of one class stop the batch; 0 = never")
    hang_min_s: float = Field(default=600.0, gt=0, description="a scene never hangs earlier than this")
    hang_factor: float = Field(default=20.0, gt=1, description="a scene hangs at so many times the median scene")
    block: int = Field(
        default=0,
        ge=0,
        description="scenes wider than this are done in column strips of this width (rounded up to 512) by several "
        "workers; 0 = whole scenes",
    )
    pack_s: float = Field(
        default=2.0, ge=0, description="short scenes are handed out in packs of this length; 0 = never"
    )
    deserted_s: float = Field(default=300.0, gt=0, description="without any worker for so long the batch stops")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> "ClusterSection":
        if self.address is not None and self.kind != "address":
            raise ValueError("cluster.address needs cluster.kind=address")
        if (self.gpus and self.kind != "local") or (self.workers and self.kind not in {"local", "slurm"}):
            raise ValueError("cluster.gpus and cluster.workers need cluster.kind=local, or workers slurm")
        files = (self.tls_ca, self.tls_cert, self.tls_key)
        if any(files) and not all(files):
            raise ValueError("cluster.tls_ca, tls_cert and tls_key belong together")
        return self


SECRET_KEYS: Final = ("remote.sign_url",)
"""Keys whose values no message repeats."""


class RemoteSection(Section):
    """With how much patience files elsewhere are read. Which may be read is said by --allow-remote."""

    timeout_s: float = Field(default=30.0, gt=0, description="of connecting, and of every wait for more bytes")
    tries: int = Field(default=4, ge=1, le=20, description="tries of one request whose error may pass")
    connections: int = Field(default=8, ge=1, le=64, description="requests at the same time")
    sign_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s]*\{href\}[^\s]*$",
        description="asked for signed addresses, as https://host/sign?href={href}; the answer is JSON with href",
    )


class Config(Section):
    """How to run on this machine."""

    name: str = Field(default="laptop", description="the name users choose it by")
    description: str = Field(default="", description="one line for humans")
    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:<number>"
    )
    threads: int = Field(default=0, ge=0, le=1024, description="threads of the network and of GDAL; 0 = every core")
    gdal_cache_mb: int = Field(default=64, ge=16, le=65536, description="GDAL's block cache in MiB")
    panel_width: int = Field(
        default=4096, ge=512, multiple_of=512, description="width of the column strips a scene is walked in"
    )
    remote: RemoteSection = Field(default=RemoteSection(), description="how files elsewhere are read")
    cluster: ClusterSection = Field(default=ClusterSection(), description="who works at the scenes of a batch")

    @property
    def thread_count(self) -> int:
        """Threads of the network and of GDAL, here."""
        # The cores this process may use: a SLURM job or container has fewer than the machine.
        here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return self.threads or here or 1
