"""A grid that can carry an area: CRS and affine checked before a GeoBox is made; files are opened elsewhere."""

import math
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from geoseg.errors import SceneError

MIN_PIXEL_M: Final = 1e-3
"""A pixel side below 1 mm is no image of the Earth, and float64 coordinates begin to collapse."""
MAX_PIXEL_M: Final = 1e6
MAX_OUTSIDE_DEGREES: Final = 30.0
"""A scene may lie this far outside the area of use of its CRS (one UTM zone for a whole country: 6)."""
EARTH_RADIUS_M: Final = (6.35e6, 6.40e6)
"""Semi-major axes of every ellipsoid and sphere in use for the Earth lie between."""
MAX_ROUND_TRIP_PIXELS: Final = 0.1
NODES: Final = 33
"""Nodes along each side on which a grid is tried."""


def check_grid(crs: str | CRS, transform: Affine, *, shape: tuple[int, int], place: str) -> GeoBox:
    """The grid of a raster of shape (height, width), after everything that would spoil an area is refused.

    Compound and 3D CRSs give their horizontal part.

    Raises:
        SceneError: not on the Earth, singular or non-finite affine, impossible latitudes or pixel sizes, or
            coordinates at which the CRS cannot be inverted.
    """
    horizontal = _horizontal(crs, place)
    _check_affine(transform, shape, place)
    if horizontal.is_geographic:
        _check_degrees(horizontal, transform, shape, place)
    else:
        _check_projected(horizontal, transform, shape, place)
    grid = GeoBox(shape, transform, horizontal)
    _check_pixel(grid, place)
    return grid


def same_grid(one: GeoBox, other: GeoBox) -> bool:
    """Whether two grids put every pixel corner at the same place, to a hundredth of a pixel."""
    if tuple(one.shape) != tuple(other.shape) or one.crs != other.crs:
        return False
    height, width = one.shape
    to_pixels = ~one.transform * other.transform
    corners = [(0, 0), (width, 0), (0, height), (width, height)]
    return all(math.dist(to_pixels * corner, corner) < 0.01 for corner in corners)


def ground_pixel_m(grid: GeoBox) -> tuple[float, float]:
    """(height, width) in metres on the ellipsoid of the pixel at the centre of a grid, whatever its CRS."""
    crs = _proj(grid)
    height, width = grid.shape
    row, col = height / 2, width / 2
    lons, lats = _lonlat(crs, grid.transform, np.array([col, col + 1, col]), np.array([row, row, row + 1]))
    geod = crs.get_geod()
    if geod is None:
        raise ValueError(f"CRS {crs.name!r} has no ellipsoid")
    _, _, along = geod.inv([lons[0]] * 2, [lats[0]] * 2, lons[1:], lats[1:])
    return float(along[1]), float(along[0])


def _horizontal(crs: str | CRS, place: str) -> CRS:
    """The two-dimensional CRS of the Earth in `crs`."""
    remedy = "warp it to a CRS of the Earth with gdalwarp -t_srs"
    try:
        full = CRS.from_user_input(crs)
    except CRSError as error:
        raise SceneError(f"{place}: its CRS cannot be understood: set one with gdal_edit -a_srs") from error
    flat = full.sub_crs_list[0] if full.is_compound else full
    try:
        flat = flat.to_2d()
    except CRSError as error:
        raise SceneError(f"{place}: CRS {full.name!r} has no horizontal part: {remedy}") from error
    if not (flat.is_geographic or flat.is_projected):
        raise SceneError(f"{place}: CRS {full.name!r} ({full.type_name}) has no place on the Earth: {remedy}")
    radius_m = _radius_m(flat)
    if not EARTH_RADIUS_M[0] < radius_m < EARTH_RADIUS_M[1]:
        raise SceneError(
            f"{place}: CRS {full.name!r} has a radius of {radius_m / 1000:.0f} km, which is not the Earth: {remedy}"
        )
    if flat.is_geographic and flat.is_derived:
        raise SceneError(f"{place}: CRS {full.name!r} has a shifted pole: {remedy}")
    return _registered(flat)


def _registered(crs: CRS) -> CRS:
    """The same CRS from the registry, where it is there: with its area of use and a short name."""
    authority = crs.to_authority(min_confidence=90)
    if authority is None:
        return crs
    known = CRS.from_authority(*authority)
    return known if known.equals(crs, ignore_axis_order=True) else crs


def _check_affine(transform: Affine, shape: tuple[int, int], place: str) -> None:
    remedy = "set it with gdal_edit -a_ullr"
    values = tuple(transform)[:6]
    height, width = shape
    if not all(math.isfinite(value) for value in values):
        raise SceneError(f"{place}: its transform {values} is not finite: {remedy}")
    a, b, c, d, e, f = values
    if abs(a * e - b * d) <= 1e-12 * (math.hypot(a, d) * math.hypot(b, e)) or a * e == b * d:
        raise SceneError(f"{place}: its transform {values} is singular, pixels have no area: {remedy}")
    far = max(abs(c), abs(f), abs(c + a * width + b * height), abs(f + d * width + e * height))
    if min(math.hypot(a, d), math.hypot(b, e)) < 1e3 * math.ulp(far):
        raise SceneError(
            f"{place}: its pixel of {math.hypot(a, d):g} is too small for coordinates of {far:g}: {remedy}"
        )


def _check_degrees(crs: CRS, transform: Affine, shape: tuple[int, int], place: str) -> None:
    """Geographic coordinates: latitude within the poles, longitude within one turn."""
    quarter = (math.pi / 2) / crs.axis_info[0].unit_conversion_factor
    height, width = shape
    corners = [transform * corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
    latitude = max((y for _, y in corners), key=abs)
    tolerance = 1e-3 * (abs(transform.d) + abs(transform.e))
    if abs(latitude) > quarter + tolerance:
        raise SceneError(
            f"{place}: it reaches latitude {latitude:g}: correct its transform with gdal_edit -a_ullr "
            "(are longitude and latitude swapped?)"
        )
    longitudes = [x for x, _ in corners]
    span, most = max(longitudes) - min(longitudes), max(abs(x) for x in longitudes)
    if span > 4 * quarter * (1 + 1e-6) or most > 6 * quarter * (1 + 1e-6):
        raise SceneError(
            f"{place}: it spans longitudes {min(longitudes):g} to {max(longitudes):g}: correct its transform with "
            "gdal_edit -a_ullr"
        )


def _check_projected(crs: CRS, transform: Affine, shape: tuple[int, int], place: str) -> None:
    """Projected coordinates: every node goes to the Earth and back."""
    remedy = "correct it with gdal_edit, or cut it with gdal_translate -projwin"
    height, width = shape
    cols, rows = (nodes.ravel() for nodes in np.meshgrid(np.linspace(0, width, NODES), np.linspace(0, height, NODES)))
    try:
        lons, lats = _lonlat(crs, transform, cols, rows)
        xs, ys = _to_geodetic(crs.to_wkt()).transform(lons, lats, direction="INVERSE")
    except ProjError as error:
        raise SceneError(f"{place}: CRS {crs.name!r} cannot be tied to the Earth: {remedy}") from error
    on_earth = np.isfinite(lons) & np.isfinite(lats) & np.isfinite(xs) & np.isfinite(ys)
    if not on_earth.all():
        raise SceneError(f"{place}: part of it lies off the Earth in CRS {crs.name!r}: {remedy}")
    xs = _unwrap(crs, xs, transform.a * cols + transform.b * rows + transform.c)
    a, b, c, d, e, f = tuple(~transform)[:6]
    back_cols, back_rows = a * xs + b * ys + c, d * xs + e * ys + f
    if np.hypot(back_cols - cols, back_rows - rows).max() > MAX_ROUND_TRIP_PIXELS:
        raise SceneError(f"{place}: its coordinates fall off the Earth in CRS {crs.name!r}: {remedy}")
    _check_area_of_use(crs, (float(lons[lons.size // 2]), float(lats[lats.size // 2])), place)


def _check_area_of_use(crs: CRS, center: tuple[float, float], place: str) -> None:
    area = crs.area_of_use
    if area is None or not all(map(math.isfinite, area.bounds)):
        return
    lon, lat = center
    half_width = ((area.east - area.west) % 360 or 360) / 2
    middle = area.west + half_width
    outside_lon = abs((lon - middle + 180) % 360 - 180) - half_width
    outside_lat = max(area.south - lat, lat - area.north)
    outside = max(outside_lat, outside_lon if abs(lat) < 80 else 0.0)
    if outside > MAX_OUTSIDE_DEGREES:
        raise SceneError(
            f"{place}: its centre ({lon:.2f} E, {lat:.2f} N) is {outside:.0f} degrees outside the area of use of "
            f"{crs.name!r}: correct its CRS with gdal_edit -a_srs or its transform with -a_ullr"
        )


def _check_pixel(grid: GeoBox, place: str) -> None:
    sides = ground_pixel_m(grid)
    if not all(MIN_PIXEL_M <= side <= MAX_PIXEL_M for side in sides):
        raise SceneError(
            f"{place}: a pixel of {sides[1]:.3g} x {sides[0]:.3g} m on the ground is impossible: correct its "
            "transform with gdal_edit -a_ullr"
        )


def _unwrap(crs: CRS, xs: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`xs` moved by whole turns towards `expected` in Mercator, which goes on past 180 degrees."""
    method = crs.coordinate_operation.method_name if crs.coordinate_operation else ""
    if "Mercator" not in method or "Transverse" in method or "Oblique" in method:
        return xs
    turn = 2 * math.pi * _radius_m(crs) / crs.axis_info[0].unit_conversion_factor
    turns = np.rint((expected - xs) / turn)
    return np.asarray(xs + turns * turn, np.float64)


def _lonlat(
    crs: CRS, transform: Affine, cols: npt.NDArray[np.float64], rows: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(longitudes, latitudes) in degrees of pixel corners, on the CRS's own datum."""
    a, b, c, d, e, f = tuple(transform)[:6]
    xs, ys = a * cols + b * rows + c, d * cols + e * rows + f
    if crs.is_geographic:
        degrees = math.degrees(crs.axis_info[0].unit_conversion_factor)
        return xs * degrees, ys * degrees
    lons, lats = _to_geodetic(crs.to_wkt()).transform(xs, ys)
    return lons, lats


@lru_cache(maxsize=32)
def _to_geodetic(wkt: str) -> Transformer:
    """From a projected CRS to longitude and latitude in degrees on its own datum: no datum shift is involved."""
    crs = CRS.from_wkt(wkt)
    base = crs.geodetic_crs or CRS.from_epsg(4326)
    return Transformer.from_crs(crs, base.to_2d(), always_xy=True)


def _proj(grid: GeoBox) -> CRS:
    if grid.crs is None:
        raise ValueError("the grid has no CRS")
    return CRS.from_user_input(grid.crs.to_wkt())


def _radius_m(crs: CRS) -> float:
    return crs.ellipsoid.semi_major_metre if crs.ellipsoid else 0.0
