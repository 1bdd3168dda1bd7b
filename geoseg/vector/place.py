"""Polygons of any CRS in the pixel coordinates of a grid, every edge where it was drawn. Measuring them is `zones`'.

x = column, y = row, in pixels from the grid's origin. An edge that is straight in the polygons' CRS is bent on the
grid: it is cut into pieces, each within TOLERANCE_PIXELS of its true course, before their ends are transformed.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely
from odc.geo.geobox import GeoBox
from pyproj import CRS
from pyproj.exceptions import ProjError
from pyproj.transformer import AreaOfInterest, Transformer, TransformerGroup

from geoseg.core.ellipsoid import horizontal, to_wgs84
from geoseg.errors import InputError, SceneError
from geoseg.vector.lattice import add_vertices, edges
from geoseg.vector.read import polygons_of

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Geometries = npt.NDArray[Any]
Bounds = tuple[float, float, float, float]
"""Left, bottom, right, top."""

TOLERANCE_PIXELS: Final = 1e-5
_NODES: Final = 33
_REACH: Final = 1 / 16
"""Part of the map's size by which polygons are kept beyond it."""
_PROBE: Final = 0.4
"""Where a piece is compared with its chord: off the middle, through which a curve with an inflection may pass."""
_LEAST_SPACING: Final = 2e-5
"""Of the way across the map: where a projection bends without end, vertices do not come without end."""
_ROUNDING: Final = 1e-9
COARSE: Final = "the best datum shift from its CRS to the map's is not installed: borders may be metres off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Polygons on a grid; arrays of one length."""

    geometries: Geometries
    """Valid polygons in pixel coordinates, cut off somewhere beyond the grid; None where nothing is on it."""
    drawn: Geometries
    """The same as they were drawn, in their CRS; None where nothing is near the grid."""
    inside: Bools
    """True = the whole polygon lies on the grid."""
    lost: Bools
    """True = a part near the grid cannot be transformed; such a polygon has no geometry."""


class Placer:
    """Puts polygons of one CRS on a grid."""

    __slots__ = (
        "_affine",
        "_centre_x",
        "_reach",
        "_shape",
        "_source_turn",
        "_spacing",
        "_target_turn",
        "_there",
        "coarse",
    )

    coarse: bool
    """True = the best datum shift between the two CRSs is not installed: positions may be off by metres."""

    def __init__(self, grid: GeoBox, crs: CRS) -> None:
        """Plan the way from `crs` to the pixels of `grid`.

        Raises:
            InputError: there is no way.
        """
        if grid.crs is None:
            raise InputError("the map has no CRS, so no zone has a place on it: assign one with rio edit-info --crs")
        target = horizontal(grid.crs.proj)
        height, width = (int(one) for one in grid.shape)
        self._shape = height, width
        self._affine = grid.affine
        self._centre_x = float((grid.affine * (width / 2, height / 2))[0])
        self._there: Transformer | None = None
        self.coarse = False
        if not crs.equals(target, ignore_axis_order=True):
            try:
                self._there, self.coarse = _operation(crs, target, *self._nodes(0.0))
            except (ProjError, SceneError, IndexError) as error:
                raise InputError(
                    f"there is no way from CRS {crs.name!r} to the map's {target.name!r}: reproject with ogr2ogr"
                ) from error
        self._source_turn = _turn(crs) if crs.is_geographic else None
        self._target_turn = _turn(target)
        self._reach = self._find_reach()
        self._spacing = self._find_spacing()

    def place(self, geometries: Geometries) -> Placed:
        """The grid's part of valid polygons, x before y."""
        height, width = self._shape
        placed, drawn = (np.full(len(geometries), None, object) for _ in range(2))
        inside, lost = (np.zeros(len(geometries), bool) for _ in range(2))
        cut = self._cut(geometries)
        frame = shapely.box(0, 0, width, height)
        for (k, (part, whole)), polygon in zip(cut.items(), self.bend([one for one, _ in cut.values()]), strict=True):
            drawn[k], lost[k] = part, polygon is None
            if polygon is not None and shapely.intersects(polygon, frame):
                left, top, right, bottom = shapely.bounds(polygon)
                placed[k] = polygon
                inside[k] = whole and min(left, top, width - right, height - bottom) > -1e-3
        return Placed(geometries=placed, drawn=drawn, inside=inside, lost=lost)

    def bend(self, pieces: list[Any]) -> list[Any | None]:
        """Polygons near the grid in pixel coordinates; None where one cannot be transformed."""
        every = np.empty(len(pieces), object)
        every[:] = pieces
        if self._there is None or not pieces:
            return [self._on_pixels(one) for one in every]
        every = add_vertices(every, self._spacing)
        start, end, owner = edges(every)
        real = np.ones(len(every), bool)
        real[owner[~np.isfinite(self._sag(start, end))]] = False
        return [self._on_pixels(one) if known else None for one, known in zip(every, real, strict=True)]

    def _nodes(self, reach: float) -> tuple[Floats, Floats]:
        """(x, y) in the grid's CRS on a lattice over the grid, and beyond it by a part of its size."""
        height, width = self._shape
        along = np.linspace(-reach, 1 + reach, _NODES)
        row, col = (one.ravel() for one in np.meshgrid(along * height, along * width, indexing="ij"))
        a, b, c, d, e, f = self._affine[:6]
        return a * col + b * row + c, d * col + e * row + f

    def _find_reach(self) -> Bounds | None:
        """Bounds, in the source's CRS, of everything that can lie on the grid; None where nothing can."""
        reach = _REACH
        if self._target_turn is not None and np.ptp(self._nodes(0.0)[0]) > 0.8 * self._target_turn:
            reach = 0.0  # what lies beyond a map of the whole Earth lies on it
        x, y = self._nodes(reach)
        if self._there is None:
            return float(x.min()), float(y.min()), float(x.max()), float(y.max())
        back = np.column_stack(self._there.transform(x, y, direction="INVERSE"))
        with np.errstate(invalid="ignore"):
            real = np.hypot(*(self._pixels(back) - self._to_pixels(x, y)).T) < 0.5
        back = back[real]
        if not len(back):
            return None
        if self._source_turn is not None:
            return self._around(back)
        margin_x, margin_y = 2 * np.ptp(back, axis=0) / _NODES
        (left, bottom), (right, top) = back.min(axis=0), back.max(axis=0)
        return float(left - margin_x), float(bottom - margin_y), float(right + margin_x), float(top + margin_y)

    def _around(self, back: Floats) -> Bounds:
        """Bounds of longitudes and latitudes, the longitudes counted on from the middle of the grid."""
        turn = self._source_turn or 0.0
        middle = float(back[len(back) // 2, 0])
        longitude = middle + (back[:, 0] - middle + turn / 2) % turn - turn / 2
        west, east = float(longitude.min()), float(longitude.max())
        south, north = float(back[:, 1].min()), float(back[:, 1].max())
        # Twice what lies between two nodes: a pole may.
        margin = 2 * (north - south) / _NODES
        south, north = max(south - margin, -turn / 4), min(north + margin, turn / 4)
        if east - west > turn / 2:
            return middle - turn / 2, south, middle + turn / 2, north
        margin = 2 * (east - west) / _NODES
        return west - margin, south, east + margin, north

    def _cut(self, geometries: Geometries) -> dict[int, tuple[Any, bool]]:
        """Index -> the part of a polygon within reach, and whether that is all of it; those that have one."""
        found: dict[int, tuple[Any, bool]] = {}
        if self._reach is None:
            return found
        box = shapely.box(*self._reach)
        for turns in (0,) if self._source_turn is None else (-1, 0, 1):
            shift = turns * (self._source_turn or 0.0)
            left, bottom, right, top = shapely.bounds(geometries).T
            left, right = left + shift, right + shift
            west, south, east, north = self._reach
            for k in np.flatnonzero((left < east) & (right > west) & (bottom < north) & (top > south)).tolist():
                moved = _moved(geometries[k], shift)
                whole = bool(left[k] >= west and right[k] <= east and bottom[k] >= south and top[k] <= north)
                part = moved if whole else polygons_of(shapely.intersection(moved, box))
                if part is not None:
                    found[k] = (part, whole) if k not in found else self._joined(geometries[k], found[k], part)
        return dict(sorted(found.items()))

    def _joined(self, geometry: Any, found: tuple[Any, bool], part: Any) -> tuple[Any, bool]:
        """A polygon's parts on two turns, and whether they are all of it: as large as it, where no place is on both."""
        west, _, east, _ = self._reach or (0.0, 0.0, 0.0, 0.0)
        once = east - west <= (self._source_turn or 0.0) * (1 + _ROUNDING)
        area = float(found[0].area + part.area)
        whole = found[1] or (once and area >= float(geometry.area) * (1 - _ROUNDING))
        return shapely.union(found[0], part), whole

    def _on_pixels(self, piece: Any) -> Any | None:
        bent = shapely.transform(piece, self._pixels)
        # Two borders that all but touch may cross once they are bent.
        return bent if shapely.is_valid(bent) else polygons_of(shapely.make_valid(bent, method="structure"))

    def _find_spacing(self) -> float:
        """How far apart the vertices of an edge must be, the same for all edges: from the bend of short ones.

        The bend of an edge grows with the square of its length.
        """
        if self._reach is None or self._there is None:
            return 1.0
        west, south, east, north = self._reach
        whole = math.hypot(east - west, north - south)
        x, y = (one.ravel() for one in np.meshgrid(np.linspace(west, east, 17), np.linspace(south, north, 17)))
        start = np.tile(np.column_stack([x, y]), (4, 1))
        towards = np.repeat([(1.0, 0.0), (0.0, 1.0), (0.7, 0.7), (0.7, -0.7)], len(x), axis=0)
        sag = self._sag(start, start + whole / 256 * towards)
        most = float(sag[np.isfinite(sag)].max(initial=0.0))
        longest = whole / 256 * math.sqrt(TOLERANCE_PIXELS / most) if most > 0 else whole
        # A lattice line every `spacing` leaves pieces of up to 1.4 of it.
        return min(max(longest / 1.5, whole * _LEAST_SPACING), whole / 16)

    def _sag(self, start: Floats, end: Floats) -> Floats:
        """(n,) pixels between the true course of edges and their chords; inf where there is no course."""
        with np.errstate(invalid="ignore"):
            placed = self._pixels(start)
            step = self._pixels(end) - placed
            sag: Floats = np.hypot(*(self._pixels(start + _PROBE * (end - start)) - placed - _PROBE * step).T)
            if self._target_turn is not None:
                half = abs(self._target_turn / (2 * math.hypot(self._affine.a, self._affine.b)))
                sag[np.hypot(*step.T) > half] = np.inf
        sag[~np.isfinite(sag)] = np.inf
        return sag

    def _pixels(self, points: Floats) -> Floats:
        """(n, 2) columns and rows of points in the source's CRS; not finite where they are off the map's CRS."""
        x, y = points[:, 0], points[:, 1]
        if self._there is not None:
            x, y = self._there.transform(x, y)
            if self._target_turn is not None:
                x = x + self._target_turn * np.rint((self._centre_x - x) / self._target_turn)
        return self._to_pixels(x, y)

    def _to_pixels(self, x: Floats, y: Floats) -> Floats:
        # From the origin first: the differences are exact, large coordinates lose nothing.
        a, b, c, d, e, f = self._affine[:6]
        x, y, area = x - c, y - f, a * e - b * d
        return np.column_stack([(e * x - b * y) / area, (a * y - d * x) / area])


def _moved(geometry: Any, east: float) -> Any:
    return shapely.transform(geometry, lambda points: points + np.array([east, 0.0])) if east else geometry


def _operation(crs: CRS, target: CRS, x: Floats, y: Floats) -> tuple[Transformer, bool]:
    """The one operation from `crs` that is best around points of `target`, and whether a better is not installed."""
    longitude, latitude = to_wgs84(target, x, y).transform(x, y)
    real = np.isfinite(longitude) & np.isfinite(latitude)
    longitude, latitude = np.clip(longitude[real], -180, 180), np.clip(latitude[real], -90, 90)
    around = AreaOfInterest(
        float(longitude.min()), float(latitude.min()), float(longitude.max()), float(latitude.max())
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `best_available` says it
        group = TransformerGroup(crs, target, always_xy=True, area_of_interest=around)
    return group.transformers[0], not group.best_available


def _turn(crs: CRS) -> float | None:
    """How far east the same place comes again, in the CRS's units; None where it never does."""
    unit = float(crs.axis_info[0].unit_conversion_factor)
    if crs.is_geographic:
        return 2 * math.pi / unit
    method = crs.coordinate_operation.method_name if crs.coordinate_operation else ""
    if "Mercator" not in method or "Transverse" in method or "Oblique" in method or crs.ellipsoid is None:
        return None
    return float(2 * math.pi * crs.ellipsoid.semi_major_metre / unit)
