"""Regions of a map with their ground area and the length of their borders, from one pass over its rows.

What is done with them (merging, filling) is `mapping_unit`. Memory grows with regions and one band of rows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from geoseg.core.area import PixelArea
from geoseg.core.components import ComponentIndex, Ids, Int64s, Labels, split_rows
from geoseg.core.pixel_sides import PixelSides
from geoseg.core.tally import exact_sums, join_limbs
from geoseg.core.window import Window
from geoseg.errors import GeosegError

LIMB: Final = 31
"""Bits of the lower limb of an area, as `tally.exact_sums` gives them."""
_MANY_PAIRS: Final = 1 << 20
"""Borders kept as found before those of the same two regions are added up."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegionGraph:
    """The regions of a `ComponentIndex`, 1 … count in the order of their first pixel, and what lies beside each."""

    class_of: Labels
    """(count + 1,) label of each region; entry 0 is not used."""
    is_open: npt.NDArray[np.bool_]
    """(count + 1,) True: touches the edge of the map or a pixel of no class, so its true size is not known."""
    area_high: Int64s
    """(count + 1,) with `area_low`: ground area in units, high · 2^31 + low."""
    area_low: Int64s
    """(count + 1,) below 2^31, so that areas are in the order of (high, low)."""
    unit_m2: float
    """A power of two: square metres of a unit."""
    first_neighbor: Ids | Int64s
    """(count + 2,) the neighbours of region k are `neighbor[first_neighbor[k] : first_neighbor[k + 1]]`."""
    neighbor: Ids
    """Regions beside each region, ascending."""
    border_mm: Int64s
    """Length of the border with that neighbour; 0 = they touch at corners only (8-connected)."""

    def area_units(self, region: int) -> int:
        """Exact ground area in units of `unit_m2`."""
        return join_limbs(self.area_high.item(region), self.area_low.item(region))

    def neighbors(self, region: int) -> list[tuple[int, int]]:
        """(neighbour, border in millimetres) of a region."""
        first, stop = self.first_neighbor.item(region), self.first_neighbor.item(region + 1)
        return list(zip(self.neighbor[first:stop].tolist(), self.border_mm[first:stop].tolist(), strict=True))


def measure_regions(
    rows: Iterable[tuple[int, Labels]], index: ComponentIndex, *, pixel_area: PixelArea, sides: PixelSides
) -> RegionGraph:
    """The graph of the regions of `index`, from the same rows that were indexed.

    Raises:
        GeosegError: these are not the rows that were indexed.
        SceneError: a pixel lies off the projection.
    """
    measuring = _Measuring(index, pixel_area, sides)
    for row, labels in split_rows(rows):
        measuring.feed(row, labels, index.ids(row, labels))
    return measuring.finish()


class _Measuring:
    """Areas, borders and open regions on their way to a `RegionGraph`."""

    __slots__ = ("above", "borders", "high", "index", "is_open", "low", "pixel_area", "sides")

    def __init__(self, index: ComponentIndex, pixel_area: PixelArea, sides: PixelSides) -> None:
        size = index.count + 1
        self.index, self.pixel_area, self.sides = index, pixel_area, sides
        self.high, self.low = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self.is_open = np.zeros(size, np.bool_)
        self.borders = _Borders(size)
        self.above: Ids | None = None

    def feed(self, row: int, labels: Labels, ids: Ids) -> None:
        """The next rows."""
        window = Window(row=row, col=0, height=labels.shape[0], width=labels.shape[1])
        units = np.broadcast_to(self.pixel_area.units_of(window), labels.shape)
        present, local = _dense(ids)
        high, low = exact_sums(local, units.ravel(), len(present))
        self.high[present] += high + (low >> LIMB)
        self.low[present] += low & ((1 << LIMB) - 1)
        top_mm, left_mm = (np.broadcast_to(one, labels.shape) for one in self.sides.millimetres(window))
        self._look(ids[:, :-1], ids[:, 1:], left_mm[:, 1:])
        self._look_down(ids[:-1], ids[1:], top_mm[1:])
        if self.above is not None:
            self._look_down(self.above, ids[:1], top_mm[:1])
        else:
            self.is_open[ids[0]] = True
        self.is_open[ids[:, 0]] = True
        self.is_open[ids[:, -1]] = True
        self.above = ids[-1:].copy()

    def _look_down(self, above: Ids, below: Ids, side_mm: Int64s) -> None:
        self._look(above, below, side_mm)
        if self.index.connectivity == 8:
            none = np.zeros(1, np.int64)
            self._look(above[:, :-1], below[:, 1:], np.broadcast_to(none, above[:, 1:].shape))
            self._look(above[:, 1:], below[:, :-1], np.broadcast_to(none, above[:, 1:].shape))

    def _look(self, one: Ids, other: Ids, side_mm: Int64s) -> None:
        """Take in the borders between pixels that lie beside each other; both of one shape, as the lengths."""
        where = np.flatnonzero((one != other).ravel())
        first, second = one.ravel()[where], other.ravel()[where]
        self.is_open[first[second == 0]] = True
        self.is_open[second[first == 0]] = True
        inside = (first > 0) & (second > 0)
        self.borders.add(first[inside], second[inside], side_mm.ravel()[where[inside]])

    def finish(self) -> RegionGraph:
        if self.above is None:
            raise GeosegError("internal error: a map without rows has no regions")
        self.is_open[self.above[0]] = True
        graph = self.borders.both_ways()
        return RegionGraph(
            class_of=self.index.class_of,
            is_open=self.is_open,
            area_high=self.high + (self.low >> LIMB),
            area_low=self.low & ((1 << LIMB) - 1),
            unit_m2=self.pixel_area.unit_m2,
            first_neighbor=graph.indptr,
            neighbor=graph.indices,
            border_mm=graph.data,
        )


def _dense(ids: Ids) -> tuple[Ids, npt.NDArray[np.intp]]:
    """(ids that occur, ascending; (pixels,) which of them each pixel has), from runs: these are few."""
    flat = ids.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    present, of_run = np.unique(flat[starts], return_inverse=True)
    return present, np.repeat(of_run, np.diff(starts, append=flat.size))


class _Borders:
    """Lengths of borders by pair of regions; whole numbers, so their order does not matter."""

    __slots__ = ("found", "keys", "lengths", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.keys: list[Int64s] = [np.zeros(0, np.int64)]
        self.lengths: list[Int64s] = [np.zeros(0, np.int64)]
        self.found = 0

    def add(self, first: Ids, second: Ids, lengths: Int64s) -> None:
        low, high = np.minimum(first, second), np.maximum(first, second)
        keys, sums = _add_up(low.astype(np.int64) * self.size + high, lengths)
        self.keys.append(keys)
        self.lengths.append(sums)
        self.found += len(keys)
        if self.found > max(_MANY_PAIRS, 2 * len(self.keys[0])):
            self._shrink()

    def both_ways(self) -> sparse.csr_array:
        """(region, neighbour) -> millimetres, each border from both of its sides; also those of 0 are stored."""
        self._shrink()
        low, high = (one.astype(np.int32) for one in np.divmod(self.keys.pop(), self.size))
        ways = np.concatenate([low, high]), np.concatenate([high, low])
        graph = sparse.coo_array((np.tile(self.lengths.pop(), 2), ways), shape=(self.size, self.size)).tocsr()
        graph.sort_indices()
        return graph

    def _shrink(self) -> None:
        keys, lengths = _add_up(np.concatenate(self.keys), np.concatenate(self.lengths))
        self.keys, self.lengths, self.found = [keys], [lengths], len(keys)


def _add_up(keys: Int64s, lengths: Int64s) -> tuple[Int64s, Int64s]:
    """Each key once, ascending, with the sum of its lengths."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    if not len(starts):
        return keys, lengths
    return keys[starts], np.add.reduceat(lengths[order], starts)
