"""Closed rings around connected components, as lattice vertices in whole pixels. Coordinates of a CRS come later.

Rings run with the component on their right (rows count downwards): shells clockwise, holes counter-clockwise as
seen on the map. A straight piece of boundary ends where the heading turns or where the pixels outside change, so
that neighbours share every vertex and the polygons are an edge-matched coverage. Where a component touches itself
at a corner only, the ring stays with the pixel outside it: holes stay apart from shells, and polygons are valid.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, connected_components

from geoseg.errors import GeosegError

Ids = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

_FORWARD: Final = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""(row, col) steps of the headings east, south, west, north; the heading to the left is the one before."""
_START: Final = ((0, 0), (0, 1), (1, 1), (1, 0))
"""Vertex, relative to the top-left corner of a pixel, where its side with this heading starts."""
_BAND_PIXELS: Final = 1 << 21
_EAST: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rings:
    """Rings of all components: ordered by component, the shell first, then holes by their first vertex."""

    vertex: Int64s
    """(vertices,) row * (width + 1) + col of the lattice; a ring starts at its top-left vertex and is not closed."""
    ring_start: Int64s
    """(rings + 1,) where each ring starts in `vertex`."""
    polygon_start: Int64s
    """(components + 1,) where each component starts in `ring_start`."""


def trace_rings(padded: Ids) -> Rings:
    """The rings of components 1 … n in (height + 2, width + 2) ids with a border of 0; 0 has no rings.

    Raises:
        GeosegError: the boundaries do not close (an internal error).
    """
    lattice_width = padded.shape[1] - 1
    key, following = _find_segments(padded)
    if not len(key):
        none = np.zeros(1, np.int64)
        return Rings(vertex=none[:0], ring_start=none, polygon_start=none)
    ring = connected_components(_links(following), connection="weak")[1]
    leader = _first_of(ring)
    row, col = np.divmod(key[leader] >> 2, lattice_width)
    is_hole = (key[leader] & 3) != _EAST
    # A shell starts with a heading east over its first pixel, a hole with a heading south left of the pixel inside.
    component = padded[row + 1, col + 1 - is_hole]
    order = np.lexsort((leader, component))  # the shell of a component has its first vertex
    shells = int(np.count_nonzero(~is_hole))
    if shells != int(component.max()):
        raise GeosegError(f"internal error: {shells} shells around {component.max()} components; please report it")
    chain = _chain(following, leader[order])
    length = np.bincount(ring, minlength=len(leader))[order]
    return Rings(
        vertex=key[chain] >> 2,
        ring_start=_offsets(length),
        polygon_start=_offsets(np.bincount(component, minlength=shells + 1)[1:]),
    )


def _find_segments(padded: Ids) -> tuple[Int64s, Ids]:
    """Straight pieces of boundary: sorted keys (start vertex * 4 + heading), and the index of the piece after each."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    keys, next_keys = [], []
    for heading in range(4):
        starts, ends = _ends_of_pieces(padded, heading)
        if heading % 2:  # pieces down and up pair along columns
            starts, ends = (one[np.argsort(one % width * height + one // width)] for one in (starts, ends))
        if len(starts) != len(ends):
            raise GeosegError("internal error: boundaries of components do not pair; please report it")
        keys.append(_vertex(starts, heading, width) * 4 + heading)
        next_keys.append(_vertex(ends, (heading + 1) % 4, width) * 4 + _turn(padded, ends, heading))
    key, next_key = np.concatenate(keys), np.concatenate(next_keys)
    order = np.argsort(key)
    key, next_key = key[order], next_key[order]
    following = np.searchsorted(key, next_key)
    if not np.array_equal(key[np.minimum(following, len(key) - 1)], next_key):
        raise GeosegError("internal error: boundaries of components do not close; please report it")
    return key, following.astype(np.int32 if len(key) < 2**31 else np.int64)


def _ends_of_pieces(padded: Ids, heading: int) -> tuple[Int64s, Int64s]:
    """Flat pixel indices, row-major, whose side with this heading begins and ends a straight piece."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    forward, left = _FORWARD[heading], _FORWARD[heading - 1]
    starts, ends = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    band = max(1, _BAND_PIXELS // width)
    for top in range(0, height, band):
        stop = min(top + band, height)

        def shifted(ahead: int, aside: int, top: int = top, stop: int = stop) -> Ids:
            row, col = (1 + ahead * forward[k] + aside * left[k] for k in (0, 1))
            return padded[top + row : stop + row, col : col + width]

        inside, outside = shifted(0, 0), shifted(0, 1)
        edge = (inside != outside) & (inside != 0)
        for step, found in ((-1, starts), (1, ends)):
            goes_on = (shifted(step, 0) == inside) & (shifted(step, 1) == outside)
            found.append(np.flatnonzero(edge & ~goes_on) + top * width)
    return np.concatenate(starts), np.concatenate(ends)


def _vertex(pixel: Int64s, corner: int, width: int) -> Int64s:
    """Lattice vertex at a corner of pixels: 0 top-left, then clockwise."""
    row, col = np.divmod(pixel, width)
    return (row + _START[corner][0]) * (width + 1) + col + _START[corner][1]


def _turn(padded: Ids, pixel: Int64s, heading: int) -> Int64s:
    """Heading after the side of each pixel: left if the pixel ahead on the left is inside, on if the one ahead is."""
    width = padded.shape[1] - 2
    row, col = np.divmod(pixel, width)
    row, col = row + 1, col + 1
    forward, left = _FORWARD[heading], _FORWARD[heading - 1]
    inside = padded[row, col]
    ahead = padded[row + forward[0], col + forward[1]] == inside
    ahead_left = padded[row + forward[0] + left[0], col + forward[1] + left[1]] == inside
    return np.where(ahead_left, (heading + 3) % 4, np.where(ahead, heading, (heading + 1) % 4)).astype(np.int64)


def _chain(following: Ids, leader: Int64s) -> Int64s:
    """Pieces of all rings one after the other: rings in the order of their leaders, each from its leader on."""
    before = np.empty_like(following)
    before[following] = np.arange(len(following), dtype=following.dtype)
    line: Ids = following.copy()
    line[before[leader[:-1]]] = leader[1:]
    line[before[leader[-1]]] = before[leader[-1]]
    return breadth_first_order(_links(line), int(leader[0]), return_predecessors=False).astype(np.int64)


def _links(following: Ids) -> sparse.csr_array:
    """The graph in which each node leads to one other."""
    count = len(following)
    return sparse.csr_array((np.ones(count), following, np.arange(count + 1)), shape=(count, count))


def _first_of(group: Ids) -> Int64s:
    """Lowest index of each group 0 … n - 1."""
    first = np.zeros(int(group.max()) + 1, np.int64)
    first[group[::-1]] = np.arange(len(group) - 1, -1, -1)  # of equal indices the last assignment stays
    return first


def _offsets(lengths: npt.NDArray[np.integer]) -> Int64s:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
