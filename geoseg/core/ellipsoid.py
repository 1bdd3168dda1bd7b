"""The WGS84 ellipsoid and the way to it from any CRS. Areas of pixels are `area`; nothing here knows a window."""

import math
import warnings
from typing import Final

import numpy as np
import numpy.typing as npt
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from pyproj.transformer import AreaOfInterest, TransformerGroup

from geoseg.errors import SceneError

Floats = npt.NDArray[np.float64]

AXIS_M: Final = 6378137.0
"""Semi-major axis."""
FLATTENING: Final = 1 / 298.257223563
_E2: Final = FLATTENING * (2 - FLATTENING)
_E: Final = math.sqrt(_E2)
DEGREE_M: Final = math.radians(AXIS_M)
"""Length of a degree of the equator, 111319.49 m."""


def authalic_q(latitude: Floats) -> Floats:
    """Authalic function q of a geodetic latitude in radians (Snyder 1987, eq. 3-12).

    The ellipsoid between two latitudes and over dlon radians has the area AXIS_M^2 / 2 · dlon · (q2 - q1).
    """
    sine = np.sin(latitude)
    q: Floats = (1 - _E2) * (sine / (1 - _E2 * sine * sine) + np.arctanh(_E * sine) / _E)
    return q


def geocentric(longitude: Floats, latitude: Floats) -> tuple[Floats, Floats, Floats]:
    """(x, y, z) metres of points on the ellipsoid given in radians; unlike degrees, smooth over poles and 180°."""
    sine, cosine = np.sin(latitude), np.cos(latitude)
    normal = AXIS_M / np.sqrt(1 - _E2 * sine * sine)
    return normal * cosine * np.cos(longitude), normal * cosine * np.sin(longitude), normal * (1 - _E2) * sine


def horizontal(crs: CRS) -> CRS:
    """The horizontal part of a CRS.

    Raises:
        SceneError: it is neither geographic nor projected.
    """
    flat = crs.sub_crs_list[0] if crs.is_compound else crs.to_2d()
    if not (flat.is_geographic or flat.is_projected):
        raise SceneError(f'CRS "{crs.name}" is neither geographic nor projected: warp the scene to one that is')
    return flat


def unit_m(crs: CRS) -> float:
    """Metres in a unit of a projected CRS; along the equator for a geographic one."""
    factor = float(crs.axis_info[0].unit_conversion_factor)
    return factor * AXIS_M if crs.is_geographic else factor


def is_wgs84_shaped(crs: CRS) -> bool:
    """True: latitudes of this CRS are taken as WGS84 ones.

    Ellipsoids within 1e-9 of it (GRS80), and spheres, whose latitudes PROJ too passes on unchanged; never a CRS with
    a rotated pole, whose latitudes are not geodetic.
    """
    ellipsoid = crs.ellipsoid
    if ellipsoid is None or crs.is_derived:
        return False
    major, minor = ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre
    same = abs(major / AXIS_M - 1) < 1e-9 and abs(minor / AXIS_M - (1 - FLATTENING)) < 1e-9
    return same or major == minor


def to_wgs84(crs: CRS, x: Floats, y: Floats) -> Transformer:
    """The one operation from `crs` to WGS84 longitude and latitude in degrees, best around the points given.

    One and the same for the whole scene: a transformer that chooses an operation for each point would jump by
    metres where datum shifts meet, and a jump ruins the derivative.

    Raises:
        SceneError: no such operation, or no point given lies on the projection.
    """
    try:
        longitude, latitude = Transformer.from_crs(crs, CRS(4326), always_xy=True).transform(x, y)
        finite = np.isfinite(longitude) & np.isfinite(latitude)
        if not finite.any():
            raise SceneError(f'the scene lies off the projection of "{crs.name}": check its transform and CRS')
        longitude, latitude = longitude[finite], latitude[finite]
        west, east = _within_180(float(longitude.min()), float(longitude.max()))
        around = AreaOfInterest(west, latitude.min(), east, latitude.max())
        with warnings.catch_warnings():
            # A better datum grid may not be installed; areas do not feel the metre that it would move.
            warnings.simplefilter("ignore")
            group = TransformerGroup(crs, CRS(4326), always_xy=True, area_of_interest=around)
    except ProjError as error:
        raise SceneError(f'CRS "{crs.name}" cannot be led back to WGS84: warp the scene to another') from error
    if not group.transformers:
        raise SceneError(f'CRS "{crs.name}" cannot be led back to WGS84: warp the scene to another')
    operation: Transformer = group.transformers[0]
    return operation


def _within_180(west: float, east: float) -> tuple[float, float]:
    """The same range of longitudes within ± 180, west > east across the antimeridian: grids may count to 360."""
    if east - west >= 360:
        return -180.0, 180.0
    if west >= -180 and east <= 180:
        return west, east
    return (west + 180) % 360 - 180, (east + 180) % 360 - 180
