"""The true ground area of a pixel: square metres on the WGS84 ellipsoid. Adding areas up is `tally`.

Planimetric: no slope, no height. Geographic north- or south-up grids have one area per row, in closed form. Every
other grid has the density |dX/dcol x dX/drow|, X = the geocentric point, by central differences on nodes anchored
at the scene's origin and bilinear between them.
"""

import math
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from pyproj import CRS

from geoseg.core.ellipsoid import AXIS_M, authalic_q, geocentric, horizontal, is_wgs84_shaped, to_wgs84, unit_m
from geoseg.core.window import Window
from geoseg.errors import SceneError

Floats = npt.NDArray[np.float64]

TOLERANCE: Final = 1e-7
"""Largest relative error of interpolating between nodes (METHODS: halve the spacing until it is met)."""
MAX_UNITS_LOG2: Final = 60
"""No pixel has more than 2^60 units of area."""
_GAUSS: Final = np.array([0.5 - math.sqrt(1 / 12), 0.5 + math.sqrt(1 / 12)])


class PixelArea:
    """Ground area of every pixel of a grid; the value of a pixel never depends on the window it is asked in.

    Areas are whole multiples of `unit_m2`, so that sums of them are exact. Picklable: it is rebuilt from the grid.
    Memory does not grow with the scene.
    """

    __slots__ = ("_nominal_m2", "_source", "ellipsoid", "grid", "method", "unit_m2")

    grid: GeoBox
    method: Literal["authalic rows", "Jacobian nodes"]
    ellipsoid: str
    unit_m2: float
    """A power of two."""

    def __init__(self, grid: GeoBox) -> None:
        """Plan the areas of `grid`.

        Raises:
            SceneError: the grid has no CRS, or a part of it lies off the Earth or off its projection.
        """
        if grid.crs is None:
            raise SceneError("the scene has no CRS, so its pixels have no area: assign one with rio edit-info --crs")
        crs = horizontal(grid.crs.proj)
        upright = grid.affine.b == 0 and grid.affine.d == 0
        self.grid = grid
        self.ellipsoid = "WGS 84"
        self._nominal_m2 = float(abs(grid.affine.determinant)) * unit_m(crs) ** 2
        self._source: _Rows | _Nodes
        if crs.is_geographic and upright and is_wgs84_shaped(crs):
            self.method = "authalic rows"
            self._source = _Rows(grid, crs)
        else:
            self.method = "Jacobian nodes"
            self._source = _Nodes(grid, crs)
        self.unit_m2 = self._source.unit_m2

    def __reduce__(self) -> tuple[type["PixelArea"], tuple[GeoBox]]:
        return PixelArea, (self.grid,)

    def of(self, window: Window) -> Floats:
        """Square metres: (height, 1) for geographic north- or south-up grids, else (height, width).

        Raises:
            SceneError: a pixel of the window lies off the projection.
        """
        return self.units_of(window) * self.unit_m2

    def units_of(self, window: Window) -> Floats:
        """The same in whole units of `unit_m2`, at most 2^60.

        Raises:
            SceneError: a pixel of the window lies off the projection.
        """
        return self._source.units_of(window)

    def nominal_pixel_m2(self) -> float:
        """Width x height of a pixel at face value: what a pixel count is commonly multiplied with.

        In units of the CRS for projected grids, with 111319.49 m to the degree for geographic ones.
        """
        return self._nominal_m2


class _Rows:
    """One area per row of a geographic grid, from the authalic function."""

    __slots__ = ("first", "radian", "step", "unit_m2", "width")

    def __init__(self, grid: GeoBox, crs: CRS) -> None:
        height = grid.shape[0]
        self.radian = float(crs.axis_info[0].unit_conversion_factor)
        self.first, self.step = grid.affine.f, grid.affine.e
        self.width = abs(grid.affine.a) * self.radian
        for centre in (self.first + self.step * 0.5, self.first + self.step * (height - 0.5)):
            if not abs(centre) * self.radian <= math.pi / 2 + 1e-9:  # centres on the poles, as far as they are rounded
                raise SceneError(f"a row of the scene lies at latitude {centre:.6g}: check its transform")
        # The largest pixel is the one nearest to the equator.
        nearest = min(max(math.floor(-self.first / self.step), 0), height - 1)
        largest = float(self._m2(np.array([nearest], np.float64))[0])
        self.unit_m2 = 2.0 ** (math.frexp(largest)[1] + 1 - MAX_UNITS_LOG2)

    def units_of(self, window: Window) -> Floats:
        rows = np.arange(window.row, window.row_stop, dtype=np.float64)
        return np.rint(self._m2(rows) / self.unit_m2)[:, None]

    def _m2(self, rows: Floats) -> Floats:
        # Where the centres of a row lie on a pole, the half beyond it has no area.
        edges = (np.clip((self.first + self.step * (rows + k)) * self.radian, -np.pi / 2, np.pi / 2) for k in (0, 1))
        top, bottom = (authalic_q(edge) for edge in edges)
        m2: Floats = AXIS_M**2 / 2 * self.width * np.abs(top - bottom)
        return m2


class _Axis:
    """Nodes along one axis of the grid, the first and last moved inwards by the reach of the difference."""

    __slots__ = ("count", "reach", "size", "spacing")

    def __init__(self, size: int, step: float, reach: float) -> None:
        self.size = size
        self.count = math.ceil(size / step)
        self.spacing = size / self.count
        self.reach = min(step / 8, reach, size / 8)

    def at(self, index: npt.NDArray[np.int64]) -> Floats:
        """Positions in pixels."""
        return np.clip(index * self.spacing, self.reach, self.size - self.reach)

    def around(self, start: int, stop: int) -> tuple[Floats, npt.NDArray[np.int64], Floats]:
        """Nodes needed by the pixels start … stop - 1; for each pixel the node before it and how far it is past."""
        centre = np.arange(start, stop) + 0.5
        low = np.clip((centre / self.spacing).astype(np.int64), 0, self.count - 1)
        before, after = self.at(low), self.at(low + 1)
        return self.at(np.arange(low[0], low[-1] + 2)), low - low[0], (centre - before) / (after - before)

    def spread(self, count: int) -> Floats:
        """`count` positions over the whole axis."""
        return np.linspace(self.reach, self.size - self.reach, count)


class _Nodes:
    """Area density on nodes of the grid, bilinear between them."""

    __slots__ = ("affine", "cols", "fine", "rows", "to_wgs84", "unit_m2")

    def __init__(self, grid: GeoBox, crs: CRS) -> None:
        height, width = grid.shape
        self.affine = grid.affine
        row, col = np.meshgrid(np.linspace(0, height, 9), np.linspace(0, width, 9), indexing="ij")
        self.to_wgs84 = to_wgs84(crs, *self._position(row, col))
        if grid.affine.determinant == 0:
            raise SceneError("the scene's transform is singular, its pixels have no area: check it")
        self._place(height, width)
        density = self._density(self.rows.spread(17), self.cols.spread(17))
        least, most = float(density.min()), float(density.max())
        # 2^29 units to the smallest pixel: rounding to whole units moves no area by more than 2^-30 of it.
        self.unit_m2 = 2.0 ** max(math.frexp(least)[1] - 30, math.frexp(most)[1] + 1 - MAX_UNITS_LOG2)

    def units_of(self, window: Window) -> Floats:
        if not self.fine:
            rows = (np.arange(window.row, window.row_stop)[:, None] + _GAUSS).ravel()
            cols = (np.arange(window.col, window.col_stop)[:, None] + _GAUSS).ravel()
            quarters = self._density(rows, cols).reshape(window.height, 2, window.width, 2)
            means: Floats = np.rint(quarters.mean(axis=(1, 3)) / self.unit_m2)
            return means
        rows, above, down = self.rows.around(window.row, window.row_stop)
        cols, left, right = self.cols.around(window.col, window.col_stop)
        nodes = self._density(rows, cols) / self.unit_m2
        lines = nodes[:, left]
        lines += (nodes[:, left + 1] - lines) * right
        units = np.diff(lines, axis=0)[above]
        units *= down[:, None]
        units += lines[above]
        whole: Floats = np.rint(units, out=units)
        return whole

    def _place(self, height: int, width: int) -> None:
        """Choose the spacing: 64 pixels and 10 km at most, halved until interpolation is within tolerance."""
        self.rows, self.cols = _Axis(height, height, 0.5), _Axis(width, width, 0.5)
        middle = self._density(np.array([height / 2]), np.array([width / 2]))
        pixel_m = math.sqrt(float(middle[0, 0]))
        # Below 100 m between nodes the rounding of degrees would show in the differences.
        step = min(max(64.0, 100 / pixel_m), 1e4 / pixel_m)
        step = 2.0 ** math.floor(math.log2(step))
        reach = 300 / pixel_m
        self.fine = False
        while step >= 1 and not self.fine:
            self.rows, self.cols = _Axis(height, step, reach), _Axis(width, step, reach)
            self.fine = self._interpolation_error() <= TOLERANCE
            step /= 2
        if not self.fine:
            # A pixel so large that its centre does not stand for it: four Gauss points each, differences of 3 m.
            self.rows, self.cols = _Axis(height, 1.0, 3 / pixel_m), _Axis(width, 1.0, 3 / pixel_m)

    def _interpolation_error(self) -> float:
        """Bound of the relative error, spacing^2 / 8 of the second derivatives, from a lattice over the scene."""
        reach_row, reach_col = min(self.rows.spacing, self.rows.size / 4), min(self.cols.spacing, self.cols.size / 4)
        rows = np.linspace(reach_row, self.rows.size - reach_row, 9)
        cols = np.linspace(reach_col, self.cols.size - reach_col, 9)
        step_row, step_col = 0.75 * reach_row, 0.75 * reach_col  # the differences at the ends stay inside
        centre = self._density(rows, cols)
        bend_row = self._density(rows - step_row, cols) + self._density(rows + step_row, cols)
        bend_col = self._density(rows, cols - step_col) + self._density(rows, cols + step_col)
        error = np.abs(bend_row / centre - 2) * (self.rows.spacing / step_row) ** 2
        error += np.abs(bend_col / centre - 2) * (self.cols.spacing / step_col) ** 2
        return float(error.max() / 8)

    def _density(self, rows: Floats, cols: Floats) -> Floats:
        """(rows, cols) square metres per pixel at positions in pixels.

        Raises:
            SceneError: a position lies off the projection.
        """
        row, col = (np.ascontiguousarray(one) for one in np.meshgrid(rows, cols, indexing="ij"))
        along_col = self._difference(row, col, (0.0, self.cols.reach))
        along_row = self._difference(row, col, (self.rows.reach, 0.0))
        cross = np.cross(along_col, along_row, axis=0)
        density: Floats = np.sqrt((cross * cross).sum(axis=0)) / (4 * self.cols.reach * self.rows.reach)
        if not np.all(np.isfinite(density)):
            raise SceneError("a part of the scene lies off its projection: crop the scene or check its transform")
        return density

    def _difference(self, row: Floats, col: Floats, reach: tuple[float, float]) -> Floats:
        """(3, rows, cols) geocentric metres between the points `reach` ahead of and behind each position."""
        ahead = self._geocentric(row + reach[0], col + reach[1])
        with np.errstate(invalid="ignore"):
            return ahead - self._geocentric(row - reach[0], col - reach[1])

    def _geocentric(self, row: Floats, col: Floats) -> Floats:
        longitude, latitude = self.to_wgs84.transform(*self._position(row, col))
        # Spherical projections go on beyond the poles without a word.
        latitude = np.where(np.abs(latitude) <= 90 + 1e-9, latitude, np.nan)
        with np.errstate(invalid="ignore"):
            return np.stack(geocentric(np.radians(longitude), np.radians(latitude)))

    def _position(self, row: Floats, col: Floats) -> tuple[Floats, Floats]:
        """(x, y) in the CRS."""
        a, b, c, d, e, f = self.affine[:6]
        return a * col + b * row + c, d * col + e * row + f
