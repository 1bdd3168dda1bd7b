"""Polygons of a finished class map: one valid polygon per 4-connected component. Files are `write`'s."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from geoseg.core.area import PixelArea
from geoseg.core.components import ComponentIndex, Runs, index_components, split_rows
from geoseg.core.legend import Legend
from geoseg.core.tally import AreaTally, join_limbs, split_limbs
from geoseg.core.window import Window
from geoseg.errors import GeosegError, ProductError, SettingsError
from geoseg.vector.measure import EdgeLength
from geoseg.vector.outlines import Outlines
from geoseg.vector.rings import RingTracer
from geoseg.vector.seams import Rings, SeamJoiner, join_rings
from geoseg.vector.simplify import Tolerance, simplify_rings

Labels = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]

_BATCH_POLYGONS: Final = 1 << 14
_BATCH_VERTICES: Final = 1 << 19


@dataclass(frozen=True, slots=True, kw_only=True)
class PolygonBatch:
    """Some polygons, in the order of (last row, component id); arrays of one length."""

    outlines: Outlines
    """In the CRS of the grid; shells counter-clockwise, rings start top-left."""
    class_id: Labels
    component_id: Int64s
    """1 … n over the map, in the order of the first pixel, row-major."""
    pixels: Int64s
    area_units: tuple[int, ...]
    """Ground area from pixels, exact, in units of `unit_m2`."""
    unit_m2: float
    perimeter_m: npt.NDArray[np.float64]
    """Ground length of all rings, holes included, before they were simplified."""
    outline_pixels: npt.NDArray[np.float64]
    """Area of the geometry in pixels: that of its pixels unless it was simplified."""

    @property
    def geometries(self) -> npt.NDArray[Any]:
        """Shapely Polygons."""
        return self.outlines.to_shapely()

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
    read: Callable[[], Iterable[tuple[int, Labels]]],
    *,
    grid: GeoBox,
    legend: Legend,
    pixel_area: PixelArea,
    simplify_m: float = 0.0,
) -> Iterator[PolygonBatch]:
    """Polygons of the classes, ordered by (last row, component id); what is no class (ids from 200) has none.

    Two passes: components first, boundaries then. A polygon leaves when its last row is passed, so memory is that of
    components (some 60 bytes each), open polygons and a band of rows. Nothing depends on the blocks of rows but
    `read` giving the same ones twice.

    Args:
        read: starts a pass over the map: (first row, (height, full width) labels) from top to bottom, without gaps.
        grid: of the whole map.
        legend: its classes.
        pixel_area: of `grid`.
        simplify_m: leave out vertices of outlines, each cutting off about this much, squared (`simplify`); 0 = none.
            Pixels, areas and perimeters stay those of the map. A third pass is read beside the second.

    Raises:
        SettingsError: `simplify_m` is no length.
        ProductError: a label is not in the legend, or the rows are not those of the grid.
        GeosegError: polygons and pixels disagree, or the passes (an internal error).
    """
    if not 0 <= simplify_m < math.inf:
        raise SettingsError(f"outlines cannot be simplified by {simplify_m} m: give metres from 0 on")
    index = index_components(_checked(read(), grid), 4)
    unknown = sorted(set(np.unique(index.class_of[1:]).tolist()) - set(legend.ids))
    if unknown:
        raise ProductError(f"labels {unknown} of the map are not in the legend {legend.ids}: name them in the legend")
    ledger = _Ledger(index, pixel_area)
    lengths = EdgeLength(grid)
    outlines: _Outlines | None = None
    if simplify_m:
        tolerance = Tolerance(metres=simplify_m, pixel_m=lengths.pixel_m())
        outlines = _Outlines(simplify_rings(_checked(read(), grid), index, tolerance))
    count = 0
    for rings in _in_batches(_trace_rings(_checked(read(), grid), index, ledger)):
        count += len(rings.component)
        outline = rings if outlines is None else outlines.of(rings.component)
        yield _make_batch(rings, outline, ledger, grid=grid, lengths=lengths)
    if count != index.count:
        raise GeosegError(f"internal error: {count} polygons of {index.count} components; please report it")


class _Ledger:
    """What is known of each component: its index, and the ground area of its pixels as far as they were seen."""

    __slots__ = ("high", "index", "low", "pixel_area")

    def __init__(self, index: ComponentIndex, pixel_area: PixelArea) -> None:
        self.index = index
        self.pixel_area = pixel_area
        self.high, self.low = (np.zeros(index.count + 1, np.int64) for _ in range(2))

    def add(self, row: int, runs: Runs) -> None:
        """The pixels of some rows, run by run; sums are exact."""
        height, width = runs.run.shape
        units = self.pixel_area.units_of(Window(row=row, col=0, height=height, width=width))
        if units.shape[1] > 1 and units.max() < 2.0**31:  # sums of a band are exact in float64
            np.add.at(self.low, runs.component, np.add.reduceat(units.ravel(), runs.start).astype(np.int64))
            return
        upper, lower = split_limbs(units)
        if units.shape[1] == 1:
            row_of, length = runs.start // width, np.diff(runs.start, append=height * width)
            upper, lower = upper[row_of, 0] * length, lower[row_of, 0] * length
        else:
            upper, lower = (np.add.reduceat(limb.ravel(), runs.start) for limb in (upper, lower))
        np.add.at(self.low, runs.component, lower)
        np.add.at(self.high, runs.component, upper)

    def units_of(self, ids: npt.NDArray[np.int32]) -> tuple[int, ...]:
        """Exact areas of components whose rows have all been added."""
        high, low = self.high[ids], self.low[ids]
        if not high.any():
            return tuple(low.tolist())
        return tuple(map(join_limbs, high.tolist(), low.tolist()))


def _checked(rows: Iterable[tuple[int, Labels]], grid: GeoBox) -> Iterator[tuple[int, Labels]]:
    """Small bands of rows, which must be those of the whole grid."""
    height, width = grid.shape
    row = 0
    for first_row, block in split_rows(rows):
        if first_row != row or block.shape[1] != width or row + len(block) > height:
            raise ProductError(f"rows {first_row} x {block.shape} do not follow row {row} of a map of {grid.shape}")
        yield first_row, block
        row += len(block)
    if row != height:
        raise ProductError(f"the map ends at row {row} of {height}")


def _trace_rings(rows: Iterable[tuple[int, Labels]], index: ComponentIndex, ledger: _Ledger) -> Iterator[Rings]:
    """Rings of components, as bands of rows finish them."""
    joiner = SeamJoiner(index.band_row, index.last_row)
    tracer: RingTracer | None = None
    band = -1
    for band, (row, labels) in enumerate(rows):
        tracer = tracer or RingTracer(labels.shape[1])
        runs = index.runs(row, labels)
        ledger.add(row, runs)
        yield joiner.feed(band, tracer.feed(labels, runs.ids()))
    if tracer is not None:
        yield joiner.feed(band + 1, tracer.close())


def _in_batches(found: Iterable[Rings]) -> Iterator[Rings]:
    """The same polygons, as many at a time as make a batch."""
    waiting: list[Rings] = []
    polygons = vertices = 0
    for rings in found:
        first = 0
        while first < len(rings.component):
            room = (_BATCH_POLYGONS - polygons, _BATCH_VERTICES - vertices)
            stop = _last_that_fits(rings, first, room, alone=not polygons)
            if stop > first:
                part = rings.part(first, stop)
                waiting.append(part)
                polygons, vertices = polygons + stop - first, vertices + len(part.vertex)
                first = stop
            if first < len(rings.component):
                yield join_rings(waiting)
                waiting, polygons, vertices = [], 0, 0
    if waiting:
        yield join_rings(waiting)


def _last_that_fits(rings: Rings, first: int, room: tuple[int, int], *, alone: bool) -> int:
    """The polygon after the last one that there is room for (polygons, vertices); alone one always fits."""
    starts = rings.ring_start[rings.polygon_start]
    full = int(np.searchsorted(starts, starts[first] + room[1], side="right")) - 1
    stop = min(full, first + room[0], len(rings.component))
    return max(stop, first + 1) if alone else max(stop, first)


class _Outlines:
    """Simplified rings, handed out in the order of the components."""

    def __init__(self, found: Iterator[Rings]) -> None:
        self._found = found
        self._waiting: list[Rings] = []

    def of(self, components: npt.NDArray[np.int32]) -> Rings:
        """The rings of the next components, which are known."""
        while sum(len(one.component) for one in self._waiting) < len(components):
            self._waiting.append(next(self._found))
        rings = join_rings(self._waiting)
        self._waiting = [rings.part(len(components), len(rings.component))]
        chosen = rings.part(0, len(components))
        if not np.array_equal(chosen.component, components):
            raise GeosegError("internal error: simplified polygons come in another order; please report it")
        return chosen


def _make_batch(rings: Rings, outline: Rings, ledger: _Ledger, *, grid: GeoBox, lengths: EdgeLength) -> PolygonBatch:
    """Polygons, checked against the pixels of their components; `outline` is drawn, `rings` are measured."""
    row, col, after = _vertices(rings, grid)
    ids = rings.component
    pixels = ledger.index.pixels[ids]
    doubled = _doubled_area(rings, row, col, after)
    if not np.array_equal(doubled, 2 * pixels):
        wrong = int(ids[np.flatnonzero(doubled != 2 * pixels)[0]])
        raise GeosegError(f"internal error: the polygon of component {wrong} has not the area of its pixels")
    rows, cols = row.astype(np.float64), col.astype(np.float64)
    metres = lengths.of(rows, cols, after)
    vertex_of = rings.ring_start[rings.polygon_start[:-1]]
    if outline is not rings:
        row, col, after = _vertices(outline, grid)
        doubled = _doubled_area(outline, row, col, after)
        rows, cols = row.astype(np.float64), col.astype(np.float64)
    return PolygonBatch(
        outlines=_outlines(rows, cols, outline.ring_start, outline.polygon_start, grid),
        class_id=ledger.index.class_of[ids],
        component_id=ids.astype(np.int64),
        pixels=pixels,
        area_units=ledger.units_of(ids),
        unit_m2=ledger.pixel_area.unit_m2,
        perimeter_m=np.add.reduceat(metres, vertex_of),
        outline_pixels=doubled.astype(np.float64) * 0.5,
    )


def _vertices(rings: Rings, grid: GeoBox) -> tuple[Int64s, Int64s, Int64s]:
    """(row, col, index of the next vertex of the ring) of each vertex."""
    row, col = np.divmod(rings.vertex, grid.shape[1] + 1)
    after = np.arange(1, len(row) + 1)
    after[rings.ring_start[1:] - 1] = rings.ring_start[:-1]
    return row, col, after


def _doubled_area(rings: Rings, row: Int64s, col: Int64s, after: Int64s) -> Int64s:
    """(polygons,) twice the area in pixels, less that of holes."""
    twice: Int64s = np.add.reduceat(col * row[after] - col[after] * row, rings.ring_start[rings.polygon_start[:-1]])
    return twice


def _outlines(
    rows: npt.NDArray[np.float64],
    cols: npt.NDArray[np.float64],
    bounds: Int64s,
    polygon_of: Int64s,
    grid: GeoBox,
) -> Outlines:
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
    return Outlines(coordinates=coordinates, ring_start=closed, polygon_start=polygon_of)
