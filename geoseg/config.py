"""How to run here: devices, threads, memory. May change no pixel; no heavy import."""

import os

from pydantic import Field

from geoseg.section import Section


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

    @property
    def thread_count(self) -> int:
        """Threads of the network and of GDAL, here."""
        return self.threads or os.cpu_count() or 1
