"""Lengths on the ellipsoid of lines along the rows and columns of a grid. Areas come from pixels, never from here.

Metres per pixel along a row and along a column vary smoothly: they are taken on nodes, by central differences of
geocentric points, and are bilinear between them. Where that is not near enough (at a pole), edges are geodesics.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from pyproj import CRS

from geoseg.core.ellipsoid import AXIS_M, FLATTENING, geocentric, horizontal, to_wgs84, unit_m

Floats = npt.NDArray[np.float64]

TOLERANCE: Final = 5e-8
"""Largest relative error of interpolating between nodes."""
_PIECE_M: Final = 10_000.0
"""Longest piece whose chord stands for it: bent by the mean curvature the error is below 1e-9."""
_REACH_M: Final = 15.0
"""Differences reach this far to both sides: far enough for the rounding of degrees, 1e-10, and near enough."""
_MOST_NODES: Final = 1 << 17


class EdgeLength:
    """Ground length of edges between lattice vertices of one grid."""

    __slots__ = ("_pace", "_points", "_size", "longest")

    def __init__(self, grid: GeoBox) -> None:
        if grid.crs is None:
            raise ValueError("a grid without CRS has no lengths")
        height, width = self._size = grid.shape
        self._points = _Points(grid, horizontal(grid.crs.proj))
        self._pace = _find_pace(self._points, (height, width))
        piece = max(_PIECE_M / self._points.pixel_m, 1e-3)
        self.longest = self._pace.step if self._pace else (piece, piece)
        """(rows, columns) that an edge may be long to be taken as one."""

    def pixel_m(self) -> tuple[float, float]:
        """Ground size of the pixel in the middle of the grid, down a column and along a row."""
        row, col = (size // 2 for size in self._size)
        corner = np.array([row, row + 1, row], np.float64), np.array([col, col, col + 1], np.float64)
        down, _, along = self.of(*corner, np.array([1, 0, 0]))
        return float(down), float(along)

    def of(self, row: Floats, col: Floats, after: npt.NDArray[np.integer]) -> Floats:
        """(n,) metres of the edges from each vertex to the one at index `after`; rows and cols in pixels.

        An edge lies in a row or in a column of the lattice and follows it: a parallel stays a parallel.
        """
        down, along = row[after] - row, col[after] - col
        metres = self._short(row, col, down, along)
        share = np.abs(down) * (1 / self.longest[0]) + np.abs(along) * (1 / self.longest[1])  # one of them is 0
        long = np.flatnonzero(share > 1)
        if len(long):
            pieces = np.ceil(share[long]).astype(np.int64)
            first = np.cumsum(pieces) - pieces
            edge, number = np.repeat(long, pieces), np.arange(int(pieces.sum())) - np.repeat(first, pieces)
            step_down, step_along = (np.repeat(way[long] / pieces, pieces) for way in (down, along))
            start = row[edge] + number * step_down, col[edge] + number * step_along
            metres[long] = np.add.reduceat(self._short(*start, step_down, step_along), first)
        return metres

    def _short(self, row: Floats, col: Floats, down: Floats, along: Floats) -> Floats:
        """(n,) metres of edges that are short enough to be taken as one."""
        if self._pace is not None:
            return self._pace.at(row + down * 0.5, col + along * 0.5, down != 0) * np.abs(down + along)
        return _geodesic(*self._points.at(row, col), self._points.at(row + down, col + along)[0])


class _Points:
    """Where places of a grid are on the Earth."""

    __slots__ = ("affine", "pixel_m", "to_wgs84")

    def __init__(self, grid: GeoBox, crs: CRS) -> None:
        height, width = grid.shape
        a, b, c, d, e, f = self.affine = grid.affine[:6]
        self.pixel_m = max(math.hypot(a, d), math.hypot(b, e)) * unit_m(crs)
        row, col = np.meshgrid(np.linspace(0, height, 9), np.linspace(0, width, 9), indexing="ij")
        self.to_wgs84 = to_wgs84(crs, a * col + b * row + c, d * col + e * row + f)

    def at(self, row: Floats, col: Floats) -> tuple[Floats, Floats]:
        """(3, …) geocentric metres, and the latitude."""
        a, b, c, d, e, f = self.affine
        longitude, latitude = self.to_wgs84.transform(a * col + b * row + c, d * col + e * row + f)
        longitude, latitude = np.radians(longitude), np.radians(latitude)
        return np.stack(geocentric(longitude, latitude)), latitude


class _Pace:
    """Metres per pixel on nodes of a grid, along a column and along a row."""

    __slots__ = ("errors", "reach", "shape", "step", "table")

    def __init__(self, points: _Points, size: tuple[int, int], shape: tuple[int, int]) -> None:
        """Args:
        points: of the grid.
        size: (rows, columns) of the grid.
        shape: (rows, columns) of nodes, at least 3 each.
        """
        reach = self.reach = min(_REACH_M / points.pixel_m, 0.25)
        self.shape = shape
        self.step = (size[0] - 2 * reach) / (shape[0] - 1), (size[1] - 2 * reach) / (shape[1] - 1)
        axes = [reach + step * np.arange(count) for step, count in zip(self.step, shape, strict=True)]
        row, col = (np.ascontiguousarray(one) for one in np.meshgrid(*axes, indexing="ij"))
        paces = []
        for r, c in ((0.0, reach), (reach, 0.0)):
            ahead, behind = points.at(row + r, col + c)[0], points.at(row - r, col - c)[0]
            paces.append(np.sqrt(((ahead - behind) ** 2).sum(axis=0)) / (2 * reach))
        self.table = np.concatenate([one.ravel() for one in paces])
        self.errors = max(map(_bend_down, paces)), max(_bend_down(one.T) for one in paces)
        """Relative errors of interpolating down a column and along a row."""

    def at(self, row: Floats, col: Floats, vertical: npt.NDArray[np.bool_]) -> Floats:
        """(n,) metres per pixel along the column where `vertical`, else along the row."""
        height, width = self.shape
        y: Floats
        x: Floats
        y, x = (row - self.reach) * (1 / self.step[0]), (col - self.reach) * (1 / self.step[1])
        top, left = (np.clip(one.astype(np.int32), 0, most - 2) for one, most in ((y, height), (x, width)))
        y -= top
        x -= left
        place = top * np.int32(width) + left + vertical * np.int32(height * width)
        upper: Floats = self.table[place]
        lower: Floats = self.table[place + width]
        upper += (self.table[place + 1] - upper) * x
        lower += (self.table[place + (width + 1)] - lower) * x
        lower -= upper
        lower *= y
        lower += upper
        return lower


def _find_pace(points: _Points, size: tuple[int, int]) -> _Pace | None:
    """The pace on as few nodes as are near enough; None if that is too many."""
    rows = cols = 3
    while rows * cols <= _MOST_NODES:
        pace = _Pace(points, size, (rows, cols))
        down, along = pace.errors
        if down + along <= TOLERANCE:
            return pace
        rows, cols = (2 * n - 1 if error > TOLERANCE / 2 else n for n, error in ((rows, down), (cols, along)))
    return None


def _bend_down(pace: Floats) -> float:
    """Relative error between nodes of a column: an eighth of the second differences."""
    with np.errstate(divide="ignore", invalid="ignore"):
        worst = float(np.max(np.abs(np.diff(pace, 2, axis=0)) / pace[1:-1])) / 8
    return worst if math.isfinite(worst) else math.inf


def _geodesic(point: Floats, latitude: Floats, ahead: Floats) -> Floats:
    """Length from chord, on the sphere of the Gaussian mean radius a (1 - f) / (1 - e^2 sin^2 phi)."""
    chord = np.sqrt(((ahead - point) ** 2).sum(axis=0))
    radius = AXIS_M * (1 - FLATTENING) / (1 - FLATTENING * (2 - FLATTENING) * np.sin(latitude) ** 2)
    metres: Floats = 2 * radius * np.arcsin(np.minimum(chord / (2 * radius), 1.0))
    return metres
