"""Pieces of boundaries from many bands, joined to the rings of finished components. Bands are `rings`'."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.errors import GeosegError
from geoseg.vector.chains import cycles_of, first_of, offsets, ranges, walk
from geoseg.vector.rings import Pieces

Ids = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rings:
    """Rings of some components: the shell of a component first, then its holes by their first vertex."""

    vertex: Int64s
    """(vertices,) row * (width + 1) + col of the lattice; a ring starts at its top-left vertex and is not closed."""
    ring_start: Int64s
    """(rings + 1,) where each ring starts in `vertex`."""
    polygon_start: Int64s
    """(components + 1,) where each component starts in `ring_start`."""
    component: Ids
    """(components,)."""

    def part(self, first: int, stop: int) -> "Rings":
        """Components first … stop - 1."""
        polygon_start = self.polygon_start[first : stop + 1]
        ring_start = self.ring_start[polygon_start[0] : polygon_start[-1] + 1]
        return Rings(
            vertex=self.vertex[ring_start[0] : ring_start[-1]],
            ring_start=ring_start - ring_start[0],
            polygon_start=polygon_start - polygon_start[0],
            component=self.component[first:stop],
        )


def join_rings(parts: list[Rings]) -> Rings:
    """The components of all parts, at least one."""
    return Rings(
        vertex=np.concatenate([one.vertex for one in parts]),
        ring_start=offsets(np.concatenate([np.diff(one.ring_start) for one in parts])),
        polygon_start=offsets(np.concatenate([np.diff(one.polygon_start) for one in parts])),
        component=np.concatenate([one.component for one in parts]),
    )


class SeamJoiner:
    """Keeps the pieces of components until these are finished: memory is that of open components."""

    __slots__ = ("_band_row", "_last_row", "_waiting")

    def __init__(self, band_row: Int64s, last_row: Ids) -> None:
        """Args:
        band_row: (bands + 1,) first row of each band, then the height of the map: the band of its lower edge.
        last_row: (components + 1,) last row of each component.
        """
        self._band_row = band_row
        self._last_row = last_row
        self._waiting: dict[int, list[Pieces]] = {}

    def feed(self, band: int, pieces: Pieces) -> Rings:
        """Rings of the components that this band finishes, in the order of (last row, component)."""
        for finished, part in self._by_end(pieces):
            self._waiting.setdefault(finished, []).append(part)
        return close_rings(self._waiting.pop(band, []), self._last_row)

    def _by_end(self, pieces: Pieces) -> Iterator[tuple[int, Pieces]]:
        """The pieces by the band in which their components are finished: that of the lower edge of their last row."""
        end = np.searchsorted(self._band_row, self._last_row[pieces.component] + 1, side="right") - 1
        order = np.argsort(end, kind="stable")
        cuts = np.flatnonzero(np.diff(end[order], prepend=-1))
        for first, stop in zip(cuts, np.append(cuts, len(order))[1:], strict=True):
            chosen = order[first:stop]
            yield int(end[chosen[0]]), _take(pieces, chosen)


def _take(pieces: Pieces, chosen: Int64s) -> Pieces:
    """Some of the pieces, in a new order."""
    length = np.diff(pieces.start)[chosen]
    return Pieces(
        vertex=pieces.vertex[ranges(pieces.start[chosen], length)],
        start=offsets(length),
        component=pieces.component[chosen],
        head=pieces.head[chosen],
        tail=pieces.tail[chosen],
    )


def close_rings(parts: list[Pieces], last_row: Ids) -> Rings:
    """The rings of pieces that leave no end open, components in the order of (last row, component).

    Raises:
        GeosegError: they do (an internal error).
    """
    if not parts:
        none = np.zeros(1, np.int64)
        return Rings(vertex=none[:0], ring_start=none, polygon_start=none, component=np.zeros(0, np.int32))
    pieces = _stack(parts)
    length = np.diff(pieces.start)
    following = _following(pieces)
    ring = cycles_of(following)
    least = np.minimum.reduceat(pieces.vertex, pieces.start[:-1])
    # The leader of a ring is its piece with the top-left vertex: the first one by that.
    by_least = np.argsort(least)
    leader = by_least[first_of(ring[by_least])]
    component = pieces.component[leader]
    order = np.lexsort((least[leader], component, last_row[component]))
    leader, component = leader[order], component[order]
    way = walk(following, leader)
    vertex = pieces.vertex[ranges(pieces.start[way], length[way])]
    ring_length = np.bincount(ring, weights=length).astype(np.int64)[order]
    ring_start = offsets(ring_length)
    _turn_to_least(vertex, ring_start, least[leader])
    is_shell = np.flatnonzero(np.diff(component, prepend=-1))
    return Rings(
        vertex=vertex,
        ring_start=ring_start,
        polygon_start=np.append(is_shell, len(component)),
        component=component[is_shell],
    )


def _stack(parts: list[Pieces]) -> Pieces:
    """The pieces of all parts."""
    return Pieces(
        vertex=np.concatenate([one.vertex for one in parts]),
        start=offsets(np.concatenate([np.diff(one.start) for one in parts])),
        component=np.concatenate([one.component for one in parts]),
        head=np.concatenate([one.head for one in parts]),
        tail=np.concatenate([one.tail for one in parts]),
    )


def _following(pieces: Pieces) -> Ids:
    """The piece after each one: a ring after itself, after a chain the one that comes where it leaves."""
    following = np.arange(len(pieces.head), dtype=np.int32)
    chain = np.flatnonzero(pieces.head >= 0)
    by_head, by_tail = chain[np.argsort(pieces.head[chain])], chain[np.argsort(pieces.tail[chain])]
    if not np.array_equal(pieces.head[by_head], pieces.tail[by_tail]):
        raise GeosegError("internal error: boundaries of components do not close at a seam; please report it")
    following[by_tail] = by_head
    return following


def _turn_to_least(vertex: Int64s, ring_start: Int64s, least: Int64s) -> None:
    """Rings that were joined start anywhere in their first piece: now at their top-left vertex."""
    late = np.flatnonzero(vertex[ring_start[:-1]] != least)
    if not len(late):
        return
    start, length = ring_start[late], np.diff(ring_start)[late]
    place = ranges(start, length)
    at = np.flatnonzero(vertex[place] == np.repeat(least[late], length))  # a ring passes its top-left vertex once
    shift = place[at] - start
    within = place - np.repeat(start, length) + np.repeat(shift, length)
    within -= np.where(within >= np.repeat(length, length), np.repeat(length, length), 0)
    vertex[place] = vertex[np.repeat(start, length) + within]
