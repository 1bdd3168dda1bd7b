"""Boundaries of components inside a band of rows, as lattice vertices in whole pixels. `seams` joins the bands.

Boundaries run with the component on their right (rows count downwards): shells clockwise, holes counter-clockwise as
seen on the map. A lattice vertex is kept where boundaries turn or meet, so that neighbours share every vertex and
the polygons are an edge-matched coverage. Where a component touches itself at a corner only, its boundary stays with
the pixel outside it: holes stay apart from shells, and polygons are valid.

Around a vertex the pixels are named  a b  and the edges that end in it up (between a and b), right (b d),
                                      c d  down (c d), left (a c).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.core.patch import MAX_CLASSES, NODATA
from geoseg.errors import GeosegError
from geoseg.vector.chains import cycles_of, first_of, walk

Labels = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

_EAST, _SOUTH, _WEST, _NORTH = range(4)
_UP, _RIGHT, _DOWN, _LEFT, _JOINS_BC, _JOINS_AD = (1 << bit for bit in range(6))


def _plan_turns() -> Labels:
    """(heading, code) -> the heading with which a boundary goes on from a vertex it reaches with that heading.

    It turns left where the pixel ahead on the left is inside (on a diagonal: of the same component), goes on where
    the one ahead is, and turns right else. The code is the sum of the edges, and of the diagonals that join.
    """
    # (edge between inside and the pixel ahead, edge that goes straight on, diagonal from inside to ahead on the left)
    around = ((_DOWN, _RIGHT, _JOINS_BC), (_LEFT, _DOWN, _JOINS_AD), (_UP, _LEFT, _JOINS_BC), (_RIGHT, _UP, _JOINS_AD))
    turns = np.zeros((4, 64), np.uint8)
    for heading, (aside, straight, diagonal) in enumerate(around):
        for code in range(64):
            if code & diagonal:
                turn = 3
            elif code & aside:
                turn = 1
            else:
                turn = 0 if code & straight else 3
            turns[heading, code] = (heading + turn) % 4
    return turns


_TURN: Final = _plan_turns()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pieces:
    """Boundaries of a band: closed rings, and chains that come over one seam and leave over one."""

    vertex: Int64s
    """(vertices,) row * (width + 1) + col of the lattice of the map."""
    start: Int64s
    """(pieces + 1,) where each piece starts in `vertex`; a closed ring starts at its top-left vertex."""
    component: Ids
    """(pieces,)."""
    head: Int64s
    """(pieces,) names the edge over which a chain comes; -1 = a closed ring."""
    tail: Int64s
    """(pieces,) names the edge over which it leaves: the head of the chain that goes on; -1 = a closed ring."""


class RingTracer:
    """Traces a map band by band, from the top; between bands it keeps one row and one vertex per column."""

    __slots__ = ("_ids", "_labels", "_row", "_vertex", "_width")

    def __init__(self, width: int) -> None:
        self._width = width
        self._row = 0
        self._labels = np.full(width + 2, NODATA, np.uint8)
        self._ids = np.zeros(width + 2, np.int32)
        self._vertex = np.zeros(width + 1, np.int64)
        """The last vertex of each column of the lattice."""

    def feed(self, labels: Labels, ids: Ids) -> Pieces:
        """The boundaries from the upper edge of these (height, width) rows to that of the next ones.

        Args:
            labels: classes; what is no class (from 200) has no boundary.
            ids: components.
        """
        height, width = labels.shape
        padded, padded_ids = (np.empty((height + 1, width + 2), kind) for kind in (np.uint8, np.int32))
        padded[0], padded[1:, 0], padded[1:, 1:-1], padded[1:, -1] = self._labels, NODATA, labels, NODATA
        np.copyto(padded[1:], NODATA, where=padded[1:] >= MAX_CLASSES)
        padded_ids[0], padded_ids[1:, 0], padded_ids[1:, 1:-1], padded_ids[1:, -1] = self._ids, 0, ids, 0
        nodes = _find_nodes(padded, padded_ids)
        vertex = nodes.place + self._row * (width + 1)
        pieces = _trace(nodes, vertex, padded_ids, self._vertex)
        self._labels, self._ids = padded[-1].copy(), padded_ids[-1].copy()
        self._vertex[nodes.col[nodes.last]] = vertex[nodes.last]
        self._row += height
        return pieces

    def close(self) -> Pieces:
        """The boundaries along the lower edge of the map."""
        nothing = (1, self._width)
        return self.feed(np.full(nothing, NODATA, np.uint8), np.zeros(nothing, np.int32))


def trace_tile(framed: npt.NDArray[np.uint16], ids: Ids) -> Pieces:
    """Closed rings around the components of a tile, which end at its edge.

    Vertices are kept on the edge too where boundaries outside meet it, so that the tile beside it has the same ones.

    Args:
        framed: (height + 2, width + 2) classes, with a frame of the pixels around the tile, each plus 256.
        ids: (height + 2, width + 2) components 1 …; the frame is 0.
    """
    nodes = _find_nodes(framed, ids)
    return _trace(nodes, nodes.place, ids, np.zeros(framed.shape[1] - 1, np.int64))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Nodes:
    """Vertices of a band that are kept, row-major, and the boundaries at them."""

    place: Int64s
    """row * (width + 1) + col, rows from the top of the band."""
    pixel: Int64s
    """Flat index of the pixel a in the padded rows."""
    col: npt.NDArray[np.integer]
    code: Labels
    """The sum of edges and diagonals that join."""
    inside: npt.NDArray[np.bool_]
    """(nodes, 4): a boundary leaves with this heading; its pixel inside is a class."""
    arrives: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]
    """A boundary comes from above heading south; from below heading north."""
    by_column: Int64s
    """Nodes column by column, from the top."""
    first: Int64s
    """The first node of each column that has one."""
    last: Int64s


def _find_nodes(padded: npt.NDArray[np.unsignedinteger[Any]], ids: Ids) -> _Nodes:
    """Nodes around the pixels of (height + 2, width + 2) rows but the last, whose lower edges belong to the next."""
    height, width = padded.shape[0] - 1, padded.shape[1] - 2
    upright, level = padded[:, 1:] != padded[:, :-1], padded[1:] != padded[:-1]
    node = upright[:-1] | upright[1:]
    node &= level[:, :-1] | level[:, 1:]
    place = np.flatnonzero(node)
    row = np.repeat(np.arange(height), np.count_nonzero(node, axis=1))
    col = (place - row * (width + 1)).astype(np.uint16 if width < 2**16 else np.int32)  # 16 bits: sorted by radix
    pixel = place + row
    flat = padded.ravel()
    a, b, c, d = (flat[pixel + step] for step in (0, 1, width + 2, width + 3))
    edges = a != b, b != d, c != d, a != c
    code = np.zeros(len(place), np.uint8)
    for bit, edge in enumerate(edges):
        code |= edge.view(np.uint8) << np.uint8(bit)
    crossing = np.flatnonzero((code == 15) & ((a == d) | (b == c)))
    of = ids.ravel()
    for join, one, other in ((_JOINS_BC, 1, width + 2), (_JOINS_AD, 0, width + 3)):
        near, far = (of[pixel[crossing] + step] for step in (one, other))
        code[crossing[(near == far) & (near != 0)]] |= join
    is_class = [one < MAX_CLASSES for one in (a, b, c, d)]
    up, right, down, left = edges
    by_column = np.argsort(col, kind="stable")
    changes = np.flatnonzero(np.diff(col[by_column]))
    return _Nodes(
        place=place,
        pixel=pixel,
        col=col,
        code=code,
        inside=np.stack([right & is_class[3], down & is_class[2], left & is_class[0], up & is_class[1]], axis=1),
        arrives=(up & is_class[0], down & is_class[3]),
        by_column=by_column,
        first=by_column[np.concatenate([[0], changes + 1])] if len(place) else place,
        last=by_column[np.concatenate([changes, [-1]])] if len(place) else place,
    )


def _trace(nodes: _Nodes, vertex: Int64s, ids: Ids, above: Int64s) -> Pieces:
    """Half-edges (node * 4 + heading) in the order of the boundaries they make.

    `above` holds the last vertex of each column before this band.
    """
    slot = np.flatnonzero(nodes.inside)
    number = np.cumsum(nodes.inside.ravel(), dtype=np.int32) - np.int32(1)
    reached = np.arange(0, 4 * len(vertex), 4, dtype=np.int32) + _TURN[:, nodes.code]
    following = number[_targets(nodes, reached).ravel()[slot]]
    # Chains: over the upper seam in at a first node heading south, out heading north; over the lower seam the reverse.
    first, last = nodes.first, nodes.last
    comes_down, goes_down = first[nodes.arrives[0][first]], last[nodes.inside[last, _SOUTH]]
    goes_up, comes_up = first[nodes.inside[first, _NORTH]], last[nodes.arrives[1][last]]
    entry = number[np.concatenate([reached[_SOUTH, comes_down], reached[_NORTH, comes_up]])]
    leaving = number[np.concatenate([goes_up * 4 + _NORTH, goes_down * 4 + _SOUTH])]
    if len(entry) != len(leaving):
        raise GeosegError("internal error: boundaries do not leave a band as often as they enter it; please report it")
    following[leaving] = entry  # any order: a walk is cut at every entry
    head, tail = np.full(len(slot), -1, np.int64), np.full(len(slot), -1, np.int64)
    head[entry] = np.concatenate([above[nodes.col[comes_down]] * 2, vertex[comes_up] * 2 + 1])
    tail[leaving] = np.concatenate([above[nodes.col[goes_up]] * 2 + 1, vertex[goes_down] * 2])
    cycle = cycles_of(following)
    leader = first_of(cycle)
    leader[cycle[entry]] = entry
    is_start = np.zeros(len(slot), np.bool_)
    is_start[leader] = is_start[entry] = True
    way = walk(following, leader)
    start = np.flatnonzero(is_start[way])
    begin = slot[way[start]]
    step = np.array([ids.shape[1] + 1, ids.shape[1], 0, 1])  # from pixel a to the one inside, by heading
    return Pieces(
        vertex=vertex[slot[way] >> 2],
        start=np.append(start, len(way)),
        component=ids.ravel()[nodes.pixel[begin >> 2] + step[begin & 3]],
        head=head[way[start]],
        tail=tail[way[np.append(start[1:], len(way)) - 1]] if len(way) else tail,
    )


def _targets(nodes: _Nodes, reached: Ids) -> Ids:
    """(nodes, 4) half-edge after each one; meaningless where it leaves the band.

    `reached` (4, nodes) is the half-edge that follows at a node reached with each heading.
    """
    target = np.zeros((reached.shape[1], 4), np.int32)
    upper, lower = nodes.by_column[:-1], nodes.by_column[1:]
    target[:-1, _EAST] = reached[_EAST, 1:]
    target[1:, _WEST] = reached[_WEST, :-1]
    target[upper, _SOUTH] = reached[_SOUTH, lower]
    target[lower, _NORTH] = reached[_NORTH, upper]
    return target
