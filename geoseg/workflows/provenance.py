"""Where a product comes from: versions, tags, memory."""

import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from geoseg import __version__

if TYPE_CHECKING:
    from geoseg.workflows.plan import ScenePlan

_PACKAGES = ("numpy", "rasterio", "torch", "segmentation-models-pytorch", "shapely", "pyogrio", "pyproj", "odc-geo")


def versions() -> dict[str, str]:
    """Versions of geoseg, Python, GDAL and the libraries that touch pixels."""
    from geoseg.raster.safety import gdal_version

    found = {"geoseg": __version__, "python": platform.python_version(), "gdal": gdal_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def product_tags(plan: "ScenePlan") -> dict[str, str]:
    """Provenance that travels inside rasters and vector files."""
    return {
        "GEOSEG_VERSION": __version__,
        "GEOSEG_SCENE": plan.scene.name,
        "GEOSEG_FINGERPRINT": plan.scene.fingerprint,
        "GEOSEG_PIPELINE": plan.pipeline.digest(),
        "GEOSEG_BUNDLE": plan.bundle.spec.name,
        "GEOSEG_BUNDLE_SHA256": plan.bundle.sha256,
        "GEOSEG_JOB": plan.job,
    }


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
