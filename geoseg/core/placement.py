"""Where pixels of one grid lie on another: lattices that coincide, centres looked up, ground that two may share."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from pyproj.exceptions import ProjError

from geoseg.core.window import Window
from geoseg.errors import SceneError

Floats = npt.NDArray[np.float64]
_EDGE: Final = 1e-6
"""A centre this near (in pixels) to a border of the other grid lies on it, and belongs to the pixel after it."""
_STEP: Final = 32
"""Pixels between centres whose place on another CRS is found by transformation, twice that to see how it bends."""
_MAX_ERROR: Final = 0.02
"""Pixels by which an interpolated place may err: beyond it, all are transformed."""
_NODES: Final = 33
"""Nodes along each side of a grid from which its place on another is bounded."""


def same_lattice(one: GeoBox, other: GeoBox) -> bool:
    """Whether the pixels of two grids coincide where they overlap, to a hundredth of a pixel over either extent."""
    if one.crs != other.crs:
        return False
    to_pixels = ~one.affine * other.affine
    height, width = other.shape
    for corner in ((0, 0), (width, 0), (0, height), (width, height)):
        place = to_pixels * corner
        if max(abs(value - round(value)) for value in place) >= 0.01:
            return False
    return bool(abs(to_pixels.a - 1) < 0.01 and abs(to_pixels.e - 1) < 0.01)


def lattice_window(grid: GeoBox, other: GeoBox) -> Window | None:
    """The pixels of `grid`'s lattice that `other` covers, also beyond `grid`; None = not one lattice.

    Longitudes of one turn more or less are the same place; two grids that together go around the Earth are on no
    one lattice here, as they may meet on both sides.
    """
    turned = turn_towards(grid, other)
    if not same_lattice(grid, turned):
        return None
    col, row = (round(value) for value in ~grid.affine * turned.affine * (0, 0))
    height, width = (int(side) for side in turned.shape)
    if is_geographic(grid):
        whole = math.hypot(grid.affine.a, grid.affine.d) * (max(grid.shape[1], col + width) - min(0, col))
        if whole > turn_of(grid) * (1 + 1e-9):
            return None
    return Window(row=row, col=col, height=height, width=width)


def turn_towards(grid: GeoBox, other: GeoBox) -> GeoBox:
    """A geographic `other` moved by whole turns of longitude to where `grid` counts; any other as it is."""
    if not (is_geographic(grid) and is_geographic(other)):
        return other
    turns = round((_middle(grid) - _middle(other)) / turn_of(other))
    if not turns:
        return other
    return GeoBox(other.shape, Affine.translation(turns * turn_of(other), 0) * other.affine, other.crs)


def locate_centres(window: Window, grid: GeoBox, other: GeoBox) -> tuple[Floats, Floats]:
    """(row, col), each (height, width): whole pixels of `other` that hold the pixel centres under a window of `grid`.

    Not finite where a centre has no place in the CRS of `other`. Between two CRSs most centres are interpolated
    between some that are transformed; those that come as near to a border as interpolation may err are transformed.
    """
    row: Floats = np.arange(window.row, window.row_stop, dtype=np.float64) + 0.5
    col: Floats = np.arange(window.col, window.col_stop, dtype=np.float64) + 0.5
    between = None if grid.crs == other.crs else _interpolated(row, col, grid, other)
    if between is None:
        every_row, every_col = np.meshgrid(row, col, indexing="ij")
        rows, cols = _carry(every_row, every_col, grid, other)
    else:
        rows, cols, error = between
        near = [np.abs(one + _EDGE - np.rint(one + _EDGE)) <= error for one in (rows, cols)]
        doubtful = np.nonzero(near[0] | near[1])
        rows[doubtful], cols[doubtful] = _carry(row[doubtful[0]], col[doubtful[1]], grid, other)
    with np.errstate(invalid="ignore"):
        return np.floor(rows + _EDGE), np.floor(cols + _EDGE)


def _interpolated(row: Floats, col: Floats, grid: GeoBox, other: GeoBox) -> tuple[Floats, Floats, float] | None:
    """(row, col) on `other` of row x col on `grid`, and a bound of their error in pixels; None = not so smooth."""
    if min(len(row), len(col)) <= 2 * _STEP:
        return None
    node_row, node_col = (np.linspace(one[0], one[-1], 2 * (-(-len(one) // _STEP)) + 1) for one in (row, col))
    nodes = _carry(*np.meshgrid(node_row, node_col, indexing="ij"), grid, other)
    error = 0.0
    for one in nodes:
        if not np.isfinite(one).all():
            return None
        coarse = one[::2, ::2]
        down = (coarse[1:] + coarse[:-1]) / 2
        right = (coarse[:, 1:] + coarse[:, :-1]) / 2
        middle = (down[:, 1:] + down[:, :-1]) / 2
        found = (one[1::2, ::2] - down, one[::2, 1::2] - right, one[1::2, 1::2] - middle)
        error = max(error, *(float(np.abs(part).max()) for part in found))
    if error > _MAX_ERROR:
        return None
    # nodes twice as dense err a fourth of it
    weights = _weights(row, node_row), _weights(col, node_col).T
    rows, cols = (weights[0] @ one @ weights[1] for one in nodes)
    return rows, cols, error + 1e-9


def _weights(positions: Floats, nodes: Floats) -> Floats:
    """(positions, nodes): how much of each node is in each position between two of them."""
    before = np.clip(np.searchsorted(nodes, positions, side="right") - 1, 0, len(nodes) - 2)
    past = (positions - nodes[before]) / (nodes[before + 1] - nodes[before])
    weights = np.zeros((len(positions), len(nodes)))
    index = np.arange(len(positions))
    weights[index, before], weights[index, before + 1] = 1 - past, past
    return weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where another grid lies on a grid."""

    window: Window
    """Of the grid; outside of it no pixel lies on the other."""
    origin: tuple[int, int] | None
    """(row, col) of the other's first pixel where the two are one lattice; may be negative."""


def place_on(grid: GeoBox, other: GeoBox) -> Placement | None:
    """Where `other` lies on `grid`; None = nowhere.

    The window is exact on one lattice, elsewhere that of `bounds_on`, and all of `grid` where a node of `other` has
    no place in its CRS.
    """
    height, width = (int(side) for side in grid.shape)
    whole = Window(row=0, col=0, height=height, width=width)
    exact = lattice_window(grid, other)
    found = common(whole, exact or bounds_on(grid, other) or whole)
    if found is None:
        return None
    return Placement(window=found, origin=None if exact is None else (exact.row, exact.col))


def bounds_on(grid: GeoBox, other: GeoBox) -> Window | None:
    """A window on the lattice of `grid`, perhaps beyond it, that holds all of `other`; None = it cannot be bounded.

    Bounded by a mesh of nodes, and wider by how far the mesh bends at any of them, which holds poles inside it too.
    """
    rows, cols = _carry(*nodes_of(other), other, grid)
    if not (np.isfinite(rows).all() and np.isfinite(cols).all()):
        return None
    margin_row, margin_col = _bend(rows), _bend(cols)
    top, left = math.floor(rows.min() - margin_row + _EDGE), math.floor(cols.min() - margin_col + _EDGE)
    bottom, right = math.ceil(rows.max() + margin_row - _EDGE), math.ceil(cols.max() + margin_col - _EDGE)
    return Window(row=top, col=left, height=max(bottom - top, 1), width=max(right - left, 1))


def common(one: Window, other: Window) -> Window | None:
    """The pixels of both windows; None = they share none."""
    row, col = max(one.row, other.row), max(one.col, other.col)
    height, width = min(one.row_stop, other.row_stop) - row, min(one.col_stop, other.col_stop) - col
    return Window(row=row, col=col, height=height, width=width) if min(height, width) > 0 else None


def nodes_of(grid: GeoBox, count: int = _NODES) -> tuple[Floats, Floats]:
    """(row, col) of a mesh of `count` x `count` positions over a grid, its corners included."""
    height, width = grid.shape
    row, col = np.meshgrid(np.linspace(0, height, count), np.linspace(0, width, count), indexing="ij")
    return row, col


def longest_step(values: Floats) -> float:
    """The largest difference between neighbours in a mesh."""
    return float(max(np.abs(np.diff(values, axis=0)).max(), np.abs(np.diff(values, axis=1)).max()))


def is_geographic(grid: GeoBox) -> bool:
    """True: coordinates are longitude and latitude."""
    return grid.crs is not None and bool(grid.crs.geographic)


def turn_of(grid: GeoBox) -> float:
    """A turn of longitude in the unit of a geographic grid."""
    return 2 * math.pi / float(grid.crs.proj.axis_info[0].unit_conversion_factor) if grid.crs else math.inf


def _middle(grid: GeoBox) -> float:
    """Where the centre of a grid is in x."""
    return float((grid.affine * (grid.shape[1] / 2, grid.shape[0] / 2))[0])


def _carry(row: Floats, col: Floats, grid: GeoBox, other: GeoBox) -> tuple[Floats, Floats]:
    """(row, col) on `other` of positions on `grid`, longitudes within half a turn of the centre of `other`."""
    a, b, c, d, e, f = grid.affine[:6]
    x, y = a * col + b * row + c, d * col + e * row + f
    if grid.crs != other.crs:
        x, y = _transformer(str(grid.crs), str(other.crs)).transform(x, y)
    if is_geographic(other):
        with np.errstate(invalid="ignore"):
            x = x + np.rint((_middle(other) - x) / turn_of(other)) * turn_of(other)
    a, b, c, d, e, f = (~other.affine)[:6]
    with np.errstate(invalid="ignore"):
        return d * x + e * y + f, a * x + b * y + c


@lru_cache(maxsize=8)
def _transformer(first: str, second: str) -> Transformer:
    try:
        return Transformer.from_crs(first, second, always_xy=True)
    except ProjError as error:
        raise SceneError(f"{first} cannot be brought to {second}: warp one of them to the CRS of the other") from error


def _bend(values: Floats) -> float:
    """The largest second difference in a mesh."""
    return float(max(np.abs(np.diff(values, 2, axis=0)).max(), np.abs(np.diff(values, 2, axis=1)).max()))
