"""Where the scenes of an archive lie, drawn one by one or, where they are many, counted in cells; no pixels."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from geoseg.report.longitudes import Longitudes

MAX_DRAWN: Final = 5000
"""Scenes drawn one by one; more are counted in cells."""
_MAX_CELLS: Final = 2500
_FINEST: Final = 1 / 64
"""Degrees of the smallest cell; cells are doubled until few enough are left."""
_BEND: Final = 1 / 200
"""Of the diagonal of an outline: how far a side may be from what it is drawn as."""
_WHOLE_LATITUDES: Final = 90.0

Ring = list[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A scene on the map."""

    title: str
    state: str
    footprint: dict[str, Any]
    """GeoJSON Polygon or MultiPolygon in longitude and latitude."""
    bbox: tuple[float, float, float, float]
    """(west, south, east, north); west is larger where 180 degrees lies inside."""
    shares: dict[int, float] = field(default_factory=dict)
    """class id -> share of what was classified, 0 … 1."""
    link: str = ""
    """Address of the scene's own page, relative to this one."""


@dataclass(slots=True)
class _Cell:
    states: Counter[str] = field(default_factory=Counter)
    shares: dict[int, tuple[float, int]] = field(default_factory=dict)
    """class id -> (sum of shares, scenes)."""

    def merge(self, other: "_Cell") -> None:
        self.states += other.states
        for k, (total, count) in other.shares.items():
            before = self.shares.get(k, (0.0, 0))
            self.shares[k] = (before[0] + total, before[1] + count)


@dataclass(slots=True)
class ArchiveMap:
    """Collects the places of an archive in bounded memory."""

    count: int = 0
    _drawn: list[tuple[Place, list[Ring]]] = field(default_factory=list)
    _cells: dict[tuple[int, int], _Cell] = field(default_factory=dict)
    _size: float = _FINEST
    _longitudes: Longitudes = field(default_factory=Longitudes)
    _south: float = math.inf
    _north: float = -math.inf

    def add(self, place: Place) -> None:
        """One scene."""
        west, south, east, north = place.bbox
        self.count += 1
        self._longitudes.add(west, east)
        self._south, self._north = min(self._south, south), max(self._north, north)
        if self.count <= MAX_DRAWN:
            self._drawn.append((place, [_simplify(ring) for ring in _outer_rings(place.footprint)]))
        else:
            self._drawn.clear()
        middle = (west + (east - west) % 360 / 2 + 180) % 360 - 180
        self._count(middle, (south + north) / 2, place)

    def _count(self, lon: float, lat: float, place: Place) -> None:
        key = math.floor((lon + 180) / self._size), math.floor((lat + 90) / self._size)
        one = _Cell(states=Counter([place.state]), shares={k: (share, 1) for k, share in place.shares.items()})
        self._cells.setdefault(key, _Cell()).merge(one)
        while len(self._cells) > _MAX_CELLS:
            coarse: dict[tuple[int, int], _Cell] = {}
            for (col, row), cell in self._cells.items():
                coarse.setdefault((col // 2, row // 2), _Cell()).merge(cell)
            self._cells, self._size = coarse, 2 * self._size

    def to_json(self) -> dict[str, Any] | None:
        """What the page draws: `shapes` in degrees east of one meridian, so that nothing is torn; None of nothing."""
        arc = self._longitudes.arc
        if arc is None:
            return None
        west = arc[0]
        shapes = [_shape(place, rings, west) for place, rings in self._drawn]
        binned = not shapes
        if binned:
            shapes = [self._cell_shape(key, cell, west) for key, cell in sorted(self._cells.items())]
        return {
            "bounds": [[self._south, west], [self._north, max(arc[1], west + 1e-6)]],
            "shapes": shapes,
            "binned": binned,
            "cell_degrees": self._size if binned else None,
            "scenes": self.count,
        }

    def _cell_shape(self, key: tuple[int, int], cell: _Cell, west: float) -> dict[str, Any]:
        left, bottom = key[0] * self._size - 180, key[1] * self._size - 90
        if left + self._size <= west:
            left += 360
        right, top = left + self._size, min(bottom + self._size, _WHOLE_LATITUDES)
        return {
            "rings": [[[left, bottom], [right, bottom], [right, top], [left, top]]],
            "count": cell.states.total(),
            "states": dict(cell.states.most_common()),
            "state": _worst(cell.states),
            "shares": {str(k): round(total / count, 4) for k, (total, count) in sorted(cell.shares.items())},
        }


def _shape(place: Place, rings: list[Ring], west: float) -> dict[str, Any]:
    turned = []
    for ring in rings:
        shift = 360.0 if max(lon for lon, _ in ring) <= west + 1e-9 and west > -180 else 0.0
        turned.append([[round(lon + shift, 5), round(lat, 5)] for lon, lat in ring])
    return {
        "rings": turned,
        "title": place.title,
        "state": place.state,
        "shares": {str(k): round(share, 4) for k, share in sorted(place.shares.items())},
        "link": place.link,
    }


def _worst(states: Counter[str]) -> str:
    return next((one for one in ("quarantined", "failed") if states[one]), next(iter(states)))


def _outer_rings(geometry: dict[str, Any]) -> list[Ring]:
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    return [[(float(lon), float(lat)) for lon, lat, *_ in polygon[0]] for polygon in polygons]


def _simplify(ring: Ring) -> Ring:
    """The ring, not closed, without points that its neighbours nearly imply (Douglas and Peucker 1973)."""
    open_ring = ring[:-1] if ring[0] == ring[-1] else ring
    lons, lats = [lon for lon, _ in open_ring], [lat for _, lat in open_ring]
    limit = _BEND * math.hypot(max(lons) - min(lons), max(lats) - min(lats))
    start = open_ring[0]
    far = max(range(len(open_ring)), key=lambda k: math.dist(open_ring[k], start))
    line = [*open_ring, start]
    return [*_thin(line[: far + 1], limit)[:-1], *_thin(line[far:], limit)[:-1]]


def _thin(line: Ring, limit: float) -> Ring:
    if len(line) < 3:
        return line
    far = max(range(1, len(line) - 1), key=lambda k: _distance(line[k], line[0], line[-1]))
    if _distance(line[far], line[0], line[-1]) <= limit:
        return [line[0], line[-1]]
    return [*_thin(line[: far + 1], limit)[:-1], *_thin(line[far:], limit)]


def _distance(point: tuple[float, float], start: tuple[float, float], end: tuple[float, float]) -> float:
    """From a point to a segment."""
    along = end[0] - start[0], end[1] - start[1]
    length = along[0] ** 2 + along[1] ** 2
    offset = point[0] - start[0], point[1] - start[1]
    share = min(1.0, max(0.0, (offset[0] * along[0] + offset[1] * along[1]) / length)) if length else 0.0
    return math.hypot(offset[0] - share * along[0], offset[1] - share * along[1])
