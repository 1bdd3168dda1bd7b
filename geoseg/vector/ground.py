"""Ground area of polygons as they were drawn. Areas of classes come from pixels, never from here."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS, Geod
from pyproj.transformer import Transformer

from geoseg.core.ellipsoid import AXIS_M, authalic_q, to_wgs84, unit_m
from geoseg.errors import SceneError

Floats = npt.NDArray[np.float64]

_GEOD: Final = Geod(ellps="WGS84")
_TOLERANCE: Final = 1e-8
"""Relative error from edges that are straight in their CRS and taken for geodesics."""


def ground_m2(geometries: npt.NDArray[Any], crs: CRS) -> Floats:
    """Square metres on the WGS84 ellipsoid of polygons whose edges are straight in `crs`, x before y.

    In a geographic CRS by the authalic function, so that a zone may hold a pole or go around the Earth; in others
    by geodesics. Edges are cut into pieces that stand for either. NaN where a polygon is not on the Earth.
    """
    left, bottom, right, top = shapely.bounds(geometries).T
    try:
        to_degrees = to_wgs84(crs, np.r_[left, right, left, right], np.r_[bottom, bottom, top, top])
    except SceneError:
        return np.full(len(geometries), np.nan)
    # On average an edge of length L is L^2 / 12 R off its geodesic.
    side_m = np.sqrt(shapely.area(geometries)) * unit_m(crs)
    longest_m = np.sqrt(6 * _TOLERANCE * AXIS_M * side_m)
    pieces = shapely.segmentize(geometries, longest_m / unit_m(crs))
    if crs.is_geographic:
        # Projected so that areas keep: no ring is closed over a pole or the antimeridian behind the user's back.
        turn = 2 * np.pi / float(crs.axis_info[0].unit_conversion_factor)
        area = shapely.area(shapely.transform(pieces, lambda points: _equal_area(points, to_degrees, turn)))
        return np.where(np.isfinite(area) & (np.maximum(-bottom, top) < turn / 4 * (1 + 1e-9)), area, np.nan)
    return np.array([_geodesic_m2(one, to_degrees) for one in pieces], np.float64)


def _equal_area(points: Floats, to_degrees: Transformer, turn: float) -> Floats:
    """(n, 2) of the cylindrical equal-area projection, longitudes on the turn they were given on."""
    longitude, latitude = to_degrees.transform(*points.T)
    longitude = longitude + 360 * np.rint(points[:, 0] / turn - longitude / 360)
    latitude = np.radians(np.clip(latitude, -90, 90))
    return np.column_stack([np.radians(longitude), AXIS_M**2 / 2 * authalic_q(latitude)])


def _geodesic_m2(geometry: Any, to_degrees: Transformer) -> float:
    total = 0.0
    for polygon in shapely.get_parts(geometry):
        shell, *holes = (_ring_m2(one, to_degrees) for one in shapely.get_rings(polygon))
        total += shell - sum(holes)
    return total if np.isfinite(total) else float("nan")


def _ring_m2(ring: Any, to_degrees: Transformer) -> float:
    longitude, latitude = to_degrees.transform(*shapely.get_coordinates(ring).T)
    if not (np.abs(latitude) <= 90).all():  # inf too: off the projection
        return float("nan")
    area, _ = _GEOD.polygon_area_perimeter(longitude, latitude)
    return float(abs(area))
