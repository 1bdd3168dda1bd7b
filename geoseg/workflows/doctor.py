"""Whether this machine can do the work: versions, devices, drivers, shipped files."""

import os
import shutil
import tempfile
from dataclasses import dataclass

from geoseg.errors import GeosegError
from geoseg.model.bundle import load_bundle, shipped_bundles
from geoseg.model.precision import resolve_engine
from geoseg.presets import load_pipeline, shipped
from geoseg.raster.safety import missing_drivers
from geoseg.workflows.provenance import versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    found: str
    good: bool = True
    remedy: str = ""
    """What to do when it is not good."""

    def to_json(self) -> dict[str, str | bool]:
        """For machines."""
        return {"name": self.name, "found": self.found, "good": self.good, "remedy": self.remedy}


def examine() -> list[Check]:
    """Looks at everything a run needs."""
    checks = [
        Check(name=name, found=found, good=found != "missing", remedy=f"install it: pip install {name}")
        for name, found in versions().items()
    ]
    return [*checks, *_devices(), *_drivers(), _environment(), _scratch(), *_presets()]


def _devices() -> list[Check]:
    best = resolve_engine("auto", "auto", "auto", architecture="unet")
    cores = os.cpu_count() or 1
    return [Check(name="device", found=f"{best.device}, {best.engine} {best.precision}, {cores} cores")]


def _drivers() -> list[Check]:
    absent = missing_drivers()
    return [
        Check(
            name="GDAL drivers",
            found=f"missing: {', '.join(absent)}" if absent else "GTiff, COG, JP2OpenJPEG",
            good=not absent,
            remedy="install rasterio from PyPI: its wheels have them",
        )
    ]


def _environment() -> Check:
    dangerous = os.environ.get("GDAL_VRT_ENABLE_PYTHON")
    return Check(
        name="environment",
        found="GDAL_VRT_ENABLE_PYTHON is set" if dangerous else "nothing dangerous set",
        good=not dangerous,
        remedy="unset GDAL_VRT_ENABLE_PYTHON: with it a raster can run code",
    )


def _scratch() -> Check:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    return Check(
        name="scratch space",
        found=f"{free / 1e9:.1f} GB free in {folder}",
        good=free > 1e9,
        remedy="free at least 1 GB, or set TMPDIR to a larger disk",
    )


def _presets() -> list[Check]:
    checks = [
        Check(
            name="pipelines",
            found=", ".join(shipped("pipelines")) or "none",
            good=bool(shipped("pipelines")),
            remedy="reinstall geoseg: its pipelines are missing",
        )
    ]
    for name in shipped_bundles():
        try:
            spec = load_bundle(name).spec
            checks.append(Check(name=f"bundle {name}", found=f"{spec.version}, {spec.architecture}"))
        except GeosegError as error:
            checks.append(Check(name=f"bundle {name}", found=str(error), good=False, remedy="reinstall geoseg"))
    for name in shipped("pipelines"):
        try:
            load_bundle(load_pipeline(name).model)
        except GeosegError as error:
            checks.append(Check(name=f"pipeline {name}", found=str(error), good=False, remedy="reinstall geoseg"))
    return checks
