"""Polygons of a finished class map: one valid polygon per 4-connected component. Files are `write`'s.

The whole map is held as component ids while it is traced (about 5 bytes per pixel, and 60 to 100 per vertex).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely
from odc.geo.geobox import GeoBox

from geoseg.core.area import PixelArea
from geoseg.core.components import ComponentLabeler
from geoseg.core.legend import Legend
from geoseg.core.patch import MAX_CLASSES
from geoseg.core.tally import AreaTally, join_limbs, split_limbs
from geoseg.core.window import Window
from geoseg.errors import GeosegError, ProductError
from geoseg.vector.measure import EdgeLength
from geoseg.vector.rings import Rings, trace_rings

Labels = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]

_BAND_PIXELS: Final = 1 << 20
_BATCH_POLYGONS: Final = 1 << 15
_BATCH_VERTICES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PolygonBatch:
    """Some polygons, in the order of their components; arrays of one length."""

    geometries: npt.NDArray[Any]
    """shapely Polygons in the CRS of the grid; shells counter-clockwise, rings start top-left."""
    class_id: Labels
    component_id: Int64s
    """1 … n over the map, in the order of the first pixel, row-major."""
    pixels: Int64s
    area_units: tuple[int, ...]
    """Ground area from pixels, exact, in units of `unit_m2`."""
    unit_m2: float
    perimeter_m: npt.NDArray[np.float64]
    """Ground length of all rings, holes included."""

    @property
    def area_m2(self) -> npt.NDArray[np.float64]:
        """Ground area from pixels."""
        return np.array(self.area_units, np.float64) * self.unit_m2

    def tally(self) -> AreaTally:
        """Pixels and area per class."""
        pixels: dict[int, int] = {}
        units: dict[int, int] = {}
        every = np.array(self.area_units, object)
        for label in np.unique(self.class_id).tolist():
            of_class = self.class_id == label
            pixels[label] = int(self.pixels[of_class].sum())
            units[label] = int(every[of_class].sum())
        return AreaTally(pixels=pixels, units=units, unit_m2=self.unit_m2)


def trace_polygons(
    rows: Iterable[tuple[int, Labels]], *, grid: GeoBox, legend: Legend, pixel_area: PixelArea
) -> Iterator[PolygonBatch]:
    """Polygons of the classes, ordered by the first pixel of each; what is no class (ids from 200) has none.

    Args:
        rows: (first row, (height, full width) labels) from the top to the bottom of the map, without gaps.
        grid: of the whole map.
        legend: its classes.
        pixel_area: of `grid`.

    Raises:
        ProductError: a label is not in the legend, or the rows are not those of the grid.
        GeosegError: polygons and pixels disagree (an internal error).
    """
    components = _label(rows, grid, legend, pixel_area)
    rings = trace_rings(components.padded)
    lengths = EdgeLength(grid)
    count = len(rings.polygon_start) - 1
    if count != len(components.pixels) - 1:
        raise GeosegError(f"internal error: {count} polygons of {len(components.pixels) - 1} components")
    first = 0
    while first < count:
        stop = _batch_stop(rings, first)
        yield _make_batch(rings, components, slice(first, stop), grid=grid, lengths=lengths)
        first = stop


@dataclass(frozen=True, slots=True, kw_only=True)
class _Components:
    """The labelled map; per component arrays start with component 0, which is no class."""

    padded: npt.NDArray[np.int32]
    class_id: Labels
    pixels: Int64s
    high: Int64s
    low: Int64s
    unit_m2: float


def _label(rows: Iterable[tuple[int, Labels]], grid: GeoBox, legend: Legend, pixel_area: PixelArea) -> _Components:
    """Component ids of the map, and what is counted over their pixels."""
    height, width = grid.shape
    padded = np.zeros((height + 2, width + 2), np.int32)
    inner = padded[1:-1, 1:-1]
    labeler = ComponentLabeler()
    seen = np.zeros(256, np.bool_)
    row = 0
    for first_row, block in rows:
        stop = row + block.shape[0]
        if first_row != row or block.shape[1] != width or stop > height:
            raise ProductError(f"rows {first_row} x {block.shape} do not follow row {row} of a map of {grid.shape}")
        for part in _bands(row, stop, width):
            labels = block[part.start - row : part.stop - row]
            inner[part] = labeler.feed(labels)
            seen |= np.bincount(labels.ravel(), minlength=256) > 0
        row = stop
    if row != height:
        raise ProductError(f"the map ends at row {row} of {height}")
    unknown = sorted(set(np.flatnonzero(seen[:MAX_CLASSES]).tolist()) - set(legend.ids))
    if unknown:
        raise ProductError(f"labels {unknown} of the map are not in the legend {legend.ids}: name them in the legend")
    component_of_run, class_id = labeler.finish()
    return _measure(inner, component_of_run, class_id, padded=padded, pixel_area=pixel_area)


def _measure(
    inner: npt.NDArray[np.int32],
    component_of_run: npt.NDArray[np.int32],
    class_id: Labels,
    *,
    padded: npt.NDArray[np.int32],
    pixel_area: PixelArea,
) -> _Components:
    """Run ids in `inner`, the inside of `padded`, become component ids; their pixels and areas are counted."""
    height, width = inner.shape
    pixels, high, low = (np.zeros(len(class_id), np.int64) for _ in range(3))
    for part in _bands(0, height, width):
        ids = component_of_run[inner[part]]
        inner[part] = ids
        units = pixel_area.units_of(Window(row=part.start, col=0, height=len(ids), width=width))
        upper, lower = split_limbs(units)
        index = ids.ravel()
        np.add.at(pixels, index, 1)
        np.add.at(low, index, np.broadcast_to(lower, ids.shape).ravel())
        if upper.any():
            np.add.at(high, index, np.broadcast_to(upper, ids.shape).ravel())
    return _Components(padded=padded, class_id=class_id, pixels=pixels, high=high, low=low, unit_m2=pixel_area.unit_m2)


def _bands(start: int, stop: int, width: int) -> Iterator[slice]:
    """Rows start … stop - 1, few enough at a time for what is made of them to stay small."""
    band = max(1, _BAND_PIXELS // width)
    for row in range(start, stop, band):
        yield slice(row, min(row + band, stop))


def _batch_stop(rings: Rings, first: int) -> int:
    """The polygon after the last of the batch that starts with `first`."""
    end = int(rings.ring_start[rings.polygon_start[first]]) + _BATCH_VERTICES
    full = int(np.searchsorted(rings.ring_start[rings.polygon_start], end, side="right")) - 1
    return min(max(full, first + 1), first + _BATCH_POLYGONS, len(rings.polygon_start) - 1)


def _make_batch(
    rings: Rings, components: _Components, part: slice, *, grid: GeoBox, lengths: EdgeLength
) -> PolygonBatch:
    """Polygons part.start … part.stop - 1, checked against the pixels of their components."""
    ring_of = rings.polygon_start[part.start : part.stop + 1]
    bounds = rings.ring_start[ring_of[0] : ring_of[-1] + 1]
    row, col = np.divmod(rings.vertex[bounds[0] : bounds[-1]], grid.shape[1] + 1)
    polygon_of, bounds = ring_of - ring_of[0], bounds - bounds[0]
    after = np.arange(1, len(row) + 1)
    after[bounds[1:] - 1] = bounds[:-1]
    vertex_of = bounds[polygon_of[:-1]]
    doubled = np.add.reduceat(col * row[after] - col[after] * row, vertex_of)
    ids = np.arange(part.start + 1, part.stop + 1)
    pixels = components.pixels[ids]
    if not np.array_equal(doubled, 2 * pixels):
        wrong = int(ids[np.flatnonzero(doubled != 2 * pixels)[0]])
        raise GeosegError(f"internal error: the polygon of component {wrong} has not the area of its pixels")
    rows, cols = row.astype(np.float64), col.astype(np.float64)
    metres = lengths.of(rows, cols, after)
    return PolygonBatch(
        geometries=_polygons(rows, cols, bounds, polygon_of, grid),
        class_id=components.class_id[ids],
        component_id=ids.astype(np.int64),
        pixels=pixels,
        area_units=tuple(map(join_limbs, components.high[ids].tolist(), components.low[ids].tolist())),
        unit_m2=components.unit_m2,
        perimeter_m=np.add.reduceat(metres, vertex_of),
    )


def _polygons(
    rows: npt.NDArray[np.float64],
    cols: npt.NDArray[np.float64],
    bounds: Int64s,
    polygon_of: Int64s,
    grid: GeoBox,
) -> npt.NDArray[Any]:
    """Closed rings through the affine transform, once; turned so that shells are counter-clockwise in the CRS."""
    a, b, c, d, e, f = grid.affine[:6]
    lengths = np.diff(bounds)
    closed = bounds + np.arange(len(bounds))
    place = np.arange(closed[-1]) - np.repeat(closed[:-1], lengths + 1)
    length = np.repeat(lengths, lengths + 1)
    if a * e - b * d < 0:  # y grows upwards, rows downwards: clockwise rows and columns are clockwise in the CRS
        place = length - place
    index = np.repeat(bounds[:-1], lengths + 1) + place % length
    x, y = a * cols + b * rows + c, d * cols + e * rows + f
    coordinates = np.stack([x[index], y[index]], axis=1)
    polygons: npt.NDArray[Any] = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, coordinates, (closed, polygon_of)
    )
    return polygons
