"""Connected components of equal class, found in row blocks and joined across their seams. Shapes are `vector`'s.

Rows are cut into runs of equal labels; runs that touch are edges of a graph whose connected components are found
by scipy. Blocks only decide how many rows are looked at together, never the result.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from geoseg.core.patch import MAX_CLASSES
from geoseg.errors import GeosegError, ResourceError

Connectivity = Literal[4, 8]
Labels = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

_MOST_PARTS: Final = 2**31 - 2
_BAND_PIXELS: Final = 1 << 19
_LEAST_COLUMN: Final = 1 << 10


def count_patches(rows: Iterable[Labels], connectivity: Connectivity) -> dict[int, int]:
    """How many connected patches each class has; what is no class (ids from 200) is not counted.

    Args:
        rows: blocks (height, width) of the whole map, from the top; memory grows with one block only.
        connectivity: 4 = over sides; 8 = over sides and corners, as FRAGSTATS counts by default.
    """
    counts = np.zeros(256, np.int64)
    border: tuple[Labels, Ids] | None = None
    border_classes = np.zeros(0, np.uint8)
    for block in rows:
        starts = _starts(block)
        runs = _find_runs(starts)
        edges = [_touching(block[:-1], runs[:-1], block[1:], runs[1:], connectivity)]
        classes = np.concatenate([block[starts], border_classes])
        if border is not None:
            # Components open at the seam take part as further nodes behind the block's own runs.
            above = border[1] + (runs[-1, -1] + 1)
            edges.append(_touching(border[0][None], above[None], block[:1], runs[:1], connectivity))
        component = _components(len(classes), np.concatenate(edges, axis=1))
        counts += _class_counts(classes, component) - np.bincount(border_classes, minlength=256)
        open_ids, dense = np.unique(component[runs[-1]], return_inverse=True)
        border = block[-1].copy(), dense.astype(np.int32)
        border_classes = np.zeros(len(open_ids), np.uint8)
        border_classes[border[1]] = border[0]
    return {int(one): int(counts[one]) for one in np.flatnonzero(counts[:MAX_CLASSES])}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComponentIndex:
    """The components of a map, without its pixels: memory grows with components and seams, not with the map.

    Components are numbered 1 … `count` in the order of their first pixel, row-major; 0 is what is no class (labels
    from 200).
    """

    class_of: Labels
    """(count + 1,) class id of each component; entry 0 is not used."""
    pixels: Int64s
    """(count + 1,) pixels of each component; entry 0 is 0."""
    last_row: Ids
    """(count + 1,) last row of each component; entry 0 is -1."""
    connectivity: Connectivity
    component_of_part: Ids
    """(parts + 1,) component of each piece that one band of rows sees; entry 0 is 0."""
    band_row: Int64s
    """(bands + 1,) first row of each band that was looked at on its own, then the height of the map."""
    band_part: Int64s
    """(bands + 1,) parts before each band."""

    @property
    def count(self) -> int:
        """Components."""
        return len(self.class_of) - 1

    def ids(self, row: int, labels: Labels) -> Ids:
        """(height, full width) component ids of the rows from `row` on, for one of the blocks that were indexed.

        Blocks may be asked for in any order, and in threads. What `split_rows` makes of a block is taken too.

        Raises:
            GeosegError: the rows do not begin and end where those of a block did, or hold other labels.
        """
        ids = np.empty(labels.shape, np.int32)
        for band in self._bands(row, len(labels)):
            part = slice(int(self.band_row[band]) - row, int(self.band_row[band + 1]) - row)
            ids[part] = self.runs(row + part.start, labels[part]).ids()
        return ids

    def runs(self, row: int, labels: Labels) -> "Runs":
        """The same for one piece that `split_rows` makes of a block, by runs of equal labels."""
        (band,) = self._bands(row, len(labels))
        parts = _find_parts(labels, self.connectivity)
        before = int(self.band_part[band])
        if before + parts.count != self.band_part[band + 1]:
            raise GeosegError(f"internal error: rows {row} on are not the labels that were indexed")
        of_part = self.component_of_part[before : before + parts.count + 1].copy()
        of_part[0] = 0
        return Runs(start=parts.start, component=of_part[parts.of_run], run=parts.run)

    def _bands(self, row: int, height: int) -> range:
        ends = (row, row + height)
        first, stop = (int(one) for one in np.searchsorted(self.band_row, ends))
        if not np.array_equal(np.take(self.band_row, (first, stop), mode="clip"), ends):
            raise GeosegError(f"internal error: rows {row} to {ends[1] - 1} are not a block that was indexed")
        return range(first, stop)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runs:
    """Runs of equal labels in some rows, row-major; a run ends with its row."""

    start: Int64s
    """(runs,) flat index of the first pixel."""
    component: Ids
    """(runs,)."""
    run: Ids
    """(height, width) the run of each pixel."""

    def ids(self) -> Ids:
        """(height, width) components."""
        return np.take(self.component, self.run)


def index_components(rows: Iterable[tuple[int, Labels]], connectivity: Connectivity) -> ComponentIndex:
    """The components of a map, in one pass over it; a second pass gets their ids from `ComponentIndex.ids`.

    Args:
        rows: (first row, (height, full width) labels) of the whole map, from the top, without gaps.
        connectivity: 4 = over sides; 8 = over sides and corners.

    Raises:
        GeosegError: the rows have a gap or differ in width.
        ResourceError: the map has 2^31 pieces of components or more.
    """
    index = _Indexer(connectivity)
    for row, block in split_rows(rows):
        index.feed(row, block)
    return index.finish()


def split_rows(rows: Iterable[tuple[int, Labels]]) -> Iterator[tuple[int, Labels]]:
    """The same rows, at most 2^19 pixels at a time if a row has no more."""
    for row, block in rows:
        height = max(1, _BAND_PIXELS // max(block.shape[1], 1))
        for top in range(0, len(block), height):
            yield row + top, block[top : top + height]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Parts:
    """The components of a band on its own, numbered 1 … count in the order of their first pixel; 0 = no class."""

    count: int
    class_of: Labels
    """(count,)."""
    pixels: Ids
    """(count,)."""
    last_row: Ids
    """(count,), from the top of the band."""
    start: Int64s
    """(runs,) flat index of the first pixel of each run of equal labels, row-major."""
    of_run: Ids
    run: Ids
    """(height, width) run of each pixel."""


def _find_parts(band: Labels, connectivity: Connectivity) -> _Parts:
    starts = _starts(band)
    run = _find_runs(starts)
    start = np.flatnonzero(starts)
    classes = band.ravel()[start]
    component = _components(len(start), _touching(band[:-1], run[:-1], band[1:], run[1:], connectivity))
    first = np.zeros(int(component.max(initial=-1)) + 1, np.int64)
    first[component[::-1]] = np.arange(len(start) - 1, -1, -1)  # of equal indices the last assignment stays
    first = np.sort(first[classes[first] < MAX_CLASSES])
    number = np.zeros(int(component.max(initial=-1)) + 1, np.int32)
    number[component[first]] = np.arange(1, len(first) + 1, dtype=np.int32)
    of_run = number[component]
    pixels = np.bincount(of_run, weights=np.diff(start, append=band.size), minlength=len(first) + 1).astype(np.int32)
    last_row = np.zeros(len(first) + 1, np.int32)
    last_row[of_run] = start // max(band.shape[1], 1)  # of equal indices the last assignment stays
    return _Parts(
        count=len(first),
        class_of=classes[first],
        pixels=pixels[1:],
        last_row=last_row[1:],
        start=start,
        of_run=of_run,
        run=run,
    )


class _Indexer:
    """Parts of bands on their way to a `ComponentIndex`."""

    __slots__ = ("above", "classes", "connectivity", "edges", "last_rows", "parts", "pixels", "rows")

    def __init__(self, connectivity: Connectivity) -> None:
        self.connectivity = connectivity
        self.above: tuple[Labels, Ids] | None = None
        self.rows, self.parts = [0], [0]
        self.classes = _Column(np.zeros(1, np.uint8))
        self.pixels = _Column(np.zeros(1, np.int32))
        self.last_rows = _Column(np.full(1, -1, np.int32))
        self.edges = _Column(np.zeros(0, np.int32)), _Column(np.zeros(0, np.int32))

    def feed(self, row: int, band: Labels) -> None:
        """The next rows."""
        if row != self.rows[-1] or (self.above is not None and band.shape[1] != len(self.above[0])):
            raise GeosegError(f"internal error: rows {row} x {band.shape} do not follow row {self.rows[-1]}")
        parts = _find_parts(band, self.connectivity)
        before = self.parts[-1]
        if before + parts.count > _MOST_PARTS:
            raise ResourceError("the map has more than 2^31 pieces of patches: work on parts of it")
        of_run = parts.of_run + np.int32(before)
        if self.above is not None:
            label, part = self.above
            top = of_run[parts.run[:1]]
            for column, end in zip(
                self.edges, _touching(label[None], part[None], band[:1], top, self.connectivity), strict=True
            ):
                column.add(end)
        self.above = band[-1].copy(), of_run[parts.run[-1]]
        self.classes.add(parts.class_of)
        self.pixels.add(parts.pixels)
        self.last_rows.add(parts.last_row + np.int32(row))
        self.rows.append(row + len(band))
        self.parts.append(before + parts.count)

    def finish(self) -> ComponentIndex:
        """Parts that touch across seams become one component, numbered by its first part."""
        component_of_part, first = self._joined()
        pixels = np.zeros(len(first), np.int64)
        np.add.at(pixels, component_of_part, self.pixels.values)
        last_row = np.full(len(first), -1, np.int32)
        np.maximum.at(last_row, component_of_part, self.last_rows.values)
        return ComponentIndex(
            class_of=self.classes.values[first],
            pixels=pixels,
            last_row=last_row,
            connectivity=self.connectivity,
            component_of_part=component_of_part,
            band_row=np.array(self.rows, np.int64),
            band_part=np.array(self.parts, np.int64),
        )

    def _joined(self) -> tuple[Ids, Ids]:
        """(component of each part, first part of each component); part 0 is component 0."""
        first_of_part = np.arange(self.parts[-1] + 1, dtype=np.int32)
        seam, ends = np.unique(np.concatenate([column.values for column in self.edges]), return_inverse=True)
        joined = _components(len(seam), ends.reshape(2, -1).astype(np.int32))
        least = np.zeros(int(joined.max(initial=-1)) + 1, np.int32)
        least[joined[::-1]] = seam[::-1]  # of equal indices the last assignment stays
        first_of_part[seam] = least[joined]
        is_first = first_of_part == np.arange(self.parts[-1] + 1, dtype=np.int32)
        number = np.cumsum(is_first, dtype=np.int32) - np.int32(1)
        return number[first_of_part], np.flatnonzero(is_first).astype(np.int32)


class _Column:
    """Numbers as they come, in one array that grows: many small arrays would leave holes in memory."""

    __slots__ = ("_array", "_count")

    def __init__(self, values: npt.NDArray[Any]) -> None:
        self._array, self._count = values, len(values)

    def add(self, values: npt.NDArray[Any]) -> None:
        """The next ones."""
        stop = self._count + len(values)
        if stop > len(self._array):
            longer = np.empty(max(2 * len(self._array), stop, _LEAST_COLUMN), self._array.dtype)
            longer[: self._count] = self.values
            self._array = longer
        self._array[self._count : stop] = values
        self._count = stop

    @property
    def values(self) -> npt.NDArray[Any]:
        """All of them."""
        return self._array[: self._count]


def _starts(block: Labels) -> npt.NDArray[np.bool_]:
    """True where a run of equal labels begins; every row begins one."""
    starts = np.ones(block.shape, np.bool_)
    np.not_equal(block[:, 1:], block[:, :-1], out=starts[:, 1:])
    return starts


def _find_runs(starts: npt.NDArray[np.bool_]) -> Ids:
    """Run ids 0 … in row-major order, from where runs start."""
    runs = np.cumsum(starts.ravel(), dtype=np.int32).reshape(starts.shape)
    runs -= np.int32(1)
    return runs


def _touching(above: Labels, run_above: Ids, below: Labels, run_below: Ids, connectivity: Connectivity) -> Ids:
    """(2, edges) pairs of runs of equal class that touch across the line between the rows; each pair at least once."""
    pairs = []
    width = above.shape[1]
    for shift in (0,) if connectivity == 4 else (0, 1, -1):
        up = slice(max(shift, 0), width + min(shift, 0))
        down = slice(max(-shift, 0), width + min(-shift, 0))
        one, other = above[:, up], below[:, down]
        touch = (one == other) & (other < MAX_CLASSES)
        # Once per pair of runs: where neither begins, the same two touched one pixel before.
        touch[:, 1:] &= (one[:, 1:] != one[:, :-1]) | (other[:, 1:] != other[:, :-1])
        pairs.append(np.stack([run_above[:, up][touch], run_below[:, down][touch]]))
    return np.concatenate(pairs, axis=1)


def _components(nodes: int, edges: Ids) -> Ids:
    """Component of each node."""
    graph = sparse.coo_array((np.ones(edges.shape[1], np.int8), (edges[0], edges[1])), shape=(nodes, nodes))
    component: Ids = connected_components(graph.tocsr(), directed=False)[1]
    return component


def _class_counts(classes: Labels, component: Ids) -> npt.NDArray[np.int64]:
    """Components per class."""
    class_of = np.zeros(int(component.max(initial=-1)) + 1, np.uint8)
    class_of[component] = classes
    return np.bincount(class_of, minlength=256)
