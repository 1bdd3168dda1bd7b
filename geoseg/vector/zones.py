"""Ground area of the classes inside zones, partial pixels exact. Files are `read`'s, reprojection `place`'s.

The share of a pixel inside a zone is `coverage`'s, its ground area PixelArea's. Memory grows with the zones and
with the map's width, never with its height.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely
from odc.geo.geobox import GeoBox

from geoseg.core.area import PixelArea
from geoseg.core.window import Window
from geoseg.core.zone_table import ZoneArea, ZoneTable
from geoseg.errors import OffMapError
from geoseg.vector.coverage import pixel_shares
from geoseg.vector.ground import ground_m2
from geoseg.vector.place import COARSE, Placed, Placer
from geoseg.vector.read import Zones, polygons_of
from geoseg.vector.zone_names import shown

Labels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]
Geometries = npt.NDArray[Any]

BLOCK: Final = 256
_AT_ONCE: Final = 8
"""Zones whose pixels in a block are held together."""
_OVERLAP: Final = 1e-11
"""Overlap relative to the zones' area below which it is rounding."""
_SAMPLE: Final = 200
_CROWD: Final = 50
"""Others around a zone, on average."""
_MOST_LOOKED: Final = 50_000
"""Pairs that are intersected to name those that overlap."""


def measure_rows(
    rows: Iterable[tuple[int, Labels]], zones: Zones, pixel_area: PixelArea, *, block: int = BLOCK
) -> ZoneTable:
    """Zone x class of a whole map.

    Args:
        rows: (first row, (height, full width) labels) from the top to the bottom, in strips of any height.
        zones: in any CRS.
        pixel_area: of the map's grid.
        block: side of the pieces of the map that are measured at a time.

    Raises:
        OffMapError: no zone lies on the map.
        InputError: there is no way from the zones' CRS to the map's, or one cannot be measured.
    """
    found = _locate(zones, pixel_area.grid)
    placed, known = found.placed, found.known
    union = _union(placed.drawn[known])
    polygons = [*placed.geometries, *([] if union is None else found.placer.bend([union]))]
    meter = _Meter(_array(polygons), pixel_area)
    for row, labels in rows:
        for top in range(0, len(labels), block):
            meter.add(row + top, labels[top : top + block], block)
    areas = [_zone(zones, k, placed, float(found.ground_m2[k]), meter) for k in np.flatnonzero(known).tolist()]
    footprint = float(meter.total.sum())
    covered = sum(one.footprint_m2 for one in areas)
    joint = covered if union is None else sum(meter.area_m2(len(zones.names)).values())
    return ZoneTable(
        source=zones.source,
        field=zones.field,
        zones=tuple(areas),
        overlap_m2=max(covered - joint, 0.0),
        outside_m2=max(footprint - joint, 0.0),
        notes=(*zones.notes, *zones.naming, *_notes(found), *(_overlap_notes(found) if union is not None else ())),
    )


def list_notes(zones: Zones, grid: GeoBox) -> tuple[str, ...]:
    """What can be said of zones before any pixel of a map on `grid` is there, one line each.

    Raises:
        OffMapError: none of them lies on the grid.
        InputError: there is no way to it.
    """
    return (*zones.notes, *zones.naming, *_notes(_locate(zones, grid)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Located:
    """Zones and where they are; arrays of one length."""

    zones: Zones
    placer: Placer
    placed: Placed
    ground_m2: Floats
    """NaN where a zone is not on the Earth."""

    @property
    def known(self) -> Bools:
        """True = can be measured, on the map or off it."""
        return np.isfinite(self.ground_m2) & ~self.placed.lost

    @property
    def on_map(self) -> Bools:
        """True = can be measured, and a part lies on the map."""
        return np.asarray(self.known & shapely.is_geometry(self.placed.geometries))


def _locate(zones: Zones, grid: GeoBox) -> _Located:
    placer = Placer(grid, zones.crs)
    ground = ground_m2(zones.geometries, zones.crs)
    found = _Located(zones=zones, placer=placer, placed=placer.place(zones.geometries), ground_m2=ground)
    if not found.on_map.any():
        raise OffMapError(
            f"no zone of {zones.source} lies on the map ({'; '.join(_notes(found))}): is its CRS ({zones.crs.name}) "
            "the right one? Assign the one it was drawn in with ogr2ogr -a_srs"
        )
    return found


class _Meter:
    """Adds up the labels inside polygons, block by block."""

    def __init__(self, polygons: Geometries, pixel_area: PixelArea) -> None:
        self.total = np.zeros(256)
        self._polygons = polygons
        self._pixel_area = pixel_area
        self._tree = shapely.STRtree(polygons)
        self._found: dict[int, Floats] = {}

    def area_m2(self, index: int) -> dict[int, float]:
        """Label -> square metres inside one polygon."""
        found = self._found.get(index, np.zeros(256))
        return {int(label): float(found[label]) for label in np.flatnonzero(found)}

    def add(self, row: int, labels: Labels, block: int) -> None:
        """Full-width rows."""
        height, width = labels.shape
        strip = shapely.box(0, row, width, row + height)
        index, pieces = _clip(self._polygons, np.sort(self._tree.query(strip)), strip)
        shapely.prepare(pieces)
        left, _, right, _ = shapely.bounds(pieces).T if len(pieces) else np.zeros((4, 0))
        for col in range(0, width, block):
            window = Window(row=row, col=col, height=height, width=min(block, width - col))
            near = np.flatnonzero((left < window.col_stop) & (right > col))
            self._add_block(window, labels[:, col : window.col_stop], index[near], pieces[near])

    def _add_block(self, window: Window, labels: Labels, index: Indices, pieces: Geometries) -> None:
        flat = labels.ravel()
        unit = np.broadcast_to(self._pixel_area.of(window), window.shape).ravel()
        here = np.bincount(flat, weights=unit, minlength=256)
        self.total += here
        if not len(index):
            return
        frame = shapely.box(window.col, window.row, window.col_stop, window.row_stop)
        whole = shapely.covers(pieces, frame)
        for k in index[whole].tolist():
            self._of(k)[:] += here
        where, parts = _clip(pieces, np.flatnonzero(~whole), frame)
        for start in range(0, len(where), _AT_ONCE):
            shares = pixel_shares(parts[start : start + _AT_ONCE], window)
            for k, (pixel, share) in zip(index[where[start : start + _AT_ONCE]].tolist(), shares, strict=True):
                self._of(k)[:] += np.bincount(flat[pixel], weights=share * unit[pixel], minlength=256)

    def _of(self, index: int) -> Floats:
        return self._found.setdefault(index, np.zeros(256))


def _clip(polygons: Geometries, index: Indices, frame: Any) -> tuple[Indices, Geometries]:
    """The polygons' parts inside a frame, and their indices; those that have none are left out."""
    parts = [polygons_of(one) for one in shapely.intersection(polygons[index], frame)]
    kept = [k for k, part in enumerate(parts) if part is not None and part.area > 0]
    return index[kept], _array([parts[k] for k in kept])


def _array(geometries: Sequence[Any]) -> Geometries:
    found = np.empty(len(geometries), object)
    found[:] = geometries
    return found


def _union(drawn: Geometries) -> Any | None:
    """The union of zones where some overlap, None where none do."""
    near = drawn[shapely.is_geometry(drawn)]
    if len(near) < 2 or (not _crowded(near) and shapely.coverage_is_valid(near)):
        return None
    union, total = shapely.union_all(near), float(shapely.area(near).sum())
    return union if total - union.area > _OVERLAP * total else None


def _crowded(drawn: Geometries) -> bool:
    """Whether zones have so many others around them that looking at all pairs takes longer than their union."""
    some = drawn[:: math.ceil(len(drawn) / _SAMPLE)]
    return int(shapely.STRtree(drawn).query(some).shape[1]) > _CROWD * len(some)


def _overlapping(names: Sequence[str], drawn: Geometries) -> tuple[list[str], bool]:
    """Pairs of zones that overlap, as "a / b", the largest first; False: the search was cut short."""
    tree, areas = shapely.STRtree(drawn), shapely.area(drawn)
    found: list[tuple[float, str]] = []
    looked = 0
    for first in range(len(drawn)):
        near = tree.query(drawn[first])
        near = np.sort(near[near > first])[: _MOST_LOOKED - looked]
        looked += len(near)
        common = shapely.area(shapely.intersection(drawn[first], drawn[near]))
        for second in np.flatnonzero(common > _OVERLAP * np.minimum(areas[first], areas[near])):
            found.append((-float(common[second]), f"{names[first]} / {names[near[second]]}"))
        if looked >= _MOST_LOOKED:
            break
    return [pair for _, pair in sorted(found, key=lambda one: one[0])], looked < _MOST_LOOKED


def _zone(zones: Zones, index: int, placed: Placed, ground_m2: float, meter: _Meter) -> ZoneArea:
    """A zone on the grid is as large as its pixels; one that reaches beyond it as large as its outline."""
    area = meter.area_m2(index)
    on_map = sum(area.values())
    whole = on_map if placed.inside[index] else max(ground_m2, on_map)
    return ZoneArea(name=zones.names[index], area_m2=area, zone_m2=whole)


def _notes(found: _Located) -> Iterator[str]:
    """Where zones are not, one line each."""
    known, placed, every = found.known, found.placed, found.zones.names
    for chosen, what in (
        (found.on_map & ~placed.inside, "only in part on the map, measured there"),
        (known & ~found.on_map, "wholly outside the map, measured as 0"),
        (placed.lost, "not to be brought onto the map's projection, left out"),
        (~known & ~placed.lost, "not on the Earth, left out"),
        (
            known & _ambiguous(found.zones),
            "with an edge over half the Earth, taken the long way (cut it at the antimeridian)",
        ),
    ):
        names = [every[k] for k in np.flatnonzero(chosen)]
        if names:
            yield f"{len(names)} of {len(every)} zones {what}: {shown(names)}"
    if found.placer.coarse:
        yield f"zones: {COARSE}"


def _overlap_notes(found: _Located) -> Iterator[str]:
    near = np.flatnonzero(found.known & shapely.is_geometry(found.placed.drawn))
    pairs, every = _overlapping([found.zones.names[k] for k in near], found.placed.drawn[near])
    yield f"zones overlap, so that their sum exceeds the whole: {shown(pairs)}{'' if every else ', perhaps others'}"


def _ambiguous(zones: Zones) -> Bools:
    """True where an edge spans over half a turn of longitude, as one across the antimeridian would, but no whole."""
    wide = np.zeros(len(zones.names), bool)
    if not zones.crs.is_geographic:
        return wide
    half = np.pi / float(zones.crs.axis_info[0].unit_conversion_factor)
    left, _, right, _ = shapely.bounds(zones.geometries).T
    for k in np.flatnonzero(right - left > half):
        points, part = shapely.get_coordinates(shapely.get_parts(zones.geometries[k]), return_index=True)
        span = np.abs(np.diff(points[:, 0]))[np.diff(part) == 0]
        wide[k] = ((span > half) & (np.abs(span - 2 * half) > 1e-9 * half)).any()
    return wide
