"""The outline of a grid in WGS 84 as GeoJSON, split where it crosses 180 degrees; no geometry library is needed."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

_SIDE_NODES: Final = 16
"""Nodes along each side: an edge that is straight on the grid is bent on the Earth."""
_DIGITS: Final = 7
"""Decimals of a degree: a centimetre."""

_WHOLE_TURN: Final = 360 - 1e-6

Ring = list[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Where a grid lies."""

    geometry: dict[str, Any]
    """GeoJSON Polygon, or MultiPolygon where it crosses 180 degrees; outer rings counterclockwise."""
    bbox: tuple[float, float, float, float]
    """(west, south, east, north); west is larger than east where 180 degrees lies inside (RFC 7946)."""


def find_footprint(grid: GeoBox) -> Footprint:
    """The footprint of a grid, a pole inside it included; one around the whole Earth is a box without a seam."""
    ring, holds_pole = _unwrap(_outline(grid))
    west, east = min(lon for lon, _ in ring), max(lon for lon, _ in ring)
    south, north = min(lat for _, lat in ring), max(lat for _, lat in ring)
    if east - west >= _WHOLE_TURN and not holds_pole:
        return _band(south, north)
    first, last = math.floor((west + 180) / 360), math.ceil((east - 180) / 360)
    pieces = []
    for turn in range(first, max(first, last) + 1):
        piece = _clip(ring, -180 + 360 * turn, 180 + 360 * turn)
        if len(piece) >= 3 and abs(_area(piece)) > 0:
            pieces.append([_closed([(lon - 360 * turn, lat) for lon, lat in piece])])
    geometry: dict[str, Any] = {"type": "Polygon", "coordinates": pieces[0]}
    if len(pieces) > 1:
        geometry = {"type": "MultiPolygon", "coordinates": pieces}
    box = (_wrap(west), south, _wrap(east) if _wrap(east) > -180 else 180.0, north)
    return Footprint(geometry=geometry, bbox=(_round(box[0]), _round(box[1]), _round(box[2]), _round(box[3])))


def _band(south: float, north: float) -> Footprint:
    """All longitudes between two latitudes: pieces that meet at a seam would be no valid geometry."""
    south, north = _round(south), _round(north)
    corners = [[-180.0, south], [180.0, south], [180.0, north], [-180.0, north], [-180.0, south]]
    return Footprint(geometry={"type": "Polygon", "coordinates": [corners]}, bbox=(-180.0, south, 180.0, north))


def _outline(grid: GeoBox) -> Ring:
    """Corners and nodes between them in longitude and latitude, not closed."""
    height, width = grid.shape
    step = np.linspace(0, 1, _SIDE_NODES, endpoint=False)
    zero, one = np.zeros(_SIDE_NODES), np.ones(_SIDE_NODES)
    cols = np.concatenate([zero, step, one, 1 - step]) * width
    rows = np.concatenate([step, one, 1 - step, zero]) * height
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    crs = CRS.from_user_input(grid.crs.to_wkt() if grid.crs else "EPSG:4326")
    to_lonlat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lons, lats = to_lonlat.transform(a * cols + b * rows + c, d * cols + e * rows + f)
    known = np.isfinite(lons) & np.isfinite(lats)
    lats = np.clip(lats, -90, 90)
    return [(float(lon), float(lat)) for lon, lat in zip(lons[known], lats[known], strict=True)]


def _unwrap(outline: Ring) -> tuple[Ring, bool]:
    """Longitudes that go on past 180; a ring that winds around a pole is led over that pole: then True."""
    ring = [outline[0]]
    for lon, lat in outline[1:]:
        before = ring[-1][0]
        ring.append((before + (lon - before + 180) % 360 - 180, lat))
    start, end = ring[0][0], ring[-1][0]
    around = end + (start - end + 180) % 360 - 180 - start
    if abs(around) > 180:
        return _over_pole(ring), True
    middle = (min(lon for lon, _ in ring) + max(lon for lon, _ in ring)) / 2
    shift = middle - _wrap(middle)
    return [(lon - shift, lat) for lon, lat in ring], False


def _over_pole(ring: Ring) -> Ring:
    """A ring around a pole as a band from -180 to 180 that ends at the pole; each meridian is met once."""
    band = sorted((_wrap(lon), lat) for lon, lat in ring)
    (west, west_lat), (east, east_lat) = band[0], band[-1]
    gap = west + 360 - east
    seam = east_lat + (west_lat - east_lat) * ((180 - east) / gap if gap else 0.5)
    pole = math.copysign(90.0, sum(lat for _, lat in ring))
    return [(-180.0, seam), *band, (180.0, seam), (180.0, pole), (-180.0, pole)]


def _clip(ring: Ring, west: float, east: float) -> Ring:
    """The part of a ring between two meridians (Sutherland and Hodgman 1974)."""
    for edge, inward in ((west, 1.0), (east, -1.0)):
        kept: Ring = []
        for (lon1, lat1), (lon2, lat2) in zip(ring, ring[1:] + ring[:1], strict=True):
            in1, in2 = inward * (lon1 - edge) >= 0, inward * (lon2 - edge) >= 0
            if in1:
                kept.append((lon1, lat1))
            if in1 != in2:
                share = (edge - lon1) / (lon2 - lon1)
                kept.append((edge, lat1 + share * (lat2 - lat1)))
        ring = kept
        if not ring:
            break
    return ring


def _closed(ring: Ring) -> list[list[float]]:
    """Counterclockwise, rounded, without repeated points, first point last."""
    rounded: list[list[float]] = []
    for lon, lat in ring if _area(ring) > 0 else ring[::-1]:
        point = [_round(lon), _round(lat)]
        if not rounded or point != rounded[-1]:
            rounded.append(point)
    return rounded if rounded[0] == rounded[-1] else [*rounded, rounded[0]]


def _area(ring: Ring) -> float:
    """Signed, in square degrees; positive = counterclockwise."""
    pairs = zip(ring, ring[1:] + ring[:1], strict=True)
    return sum(lon1 * lat2 - lon2 * lat1 for (lon1, lat1), (lon2, lat2) in pairs) / 2


def _wrap(lon: float) -> float:
    return (lon + 180) % 360 - 180


def _round(value: float) -> float:
    return round(value, _DIGITS) + 0.0
