"""Where a product comes from: versions, memory."""

import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version

from geoseg import __version__
from geoseg.raster.safety import gdal_version

_PACKAGES = ("numpy", "rasterio", "torch", "segmentation-models-pytorch", "shapely", "pyogrio", "pyproj", "odc-geo")


def versions() -> dict[str, str]:
    """Versions of geoseg, Python, GDAL and the libraries that touch pixels."""
    found = {"geoseg": __version__, "python": platform.python_version(), "gdal": gdal_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
