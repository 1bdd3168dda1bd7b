"""The ground length of the sides of pixels on the WGS84 ellipsoid. Areas are `area`."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from geoseg.core.ellipsoid import geocentric, horizontal, to_wgs84, unit_m
from geoseg.core.window import Window
from geoseg.errors import SceneError

Floats = npt.NDArray[np.float64]
Millimetres = npt.NDArray[np.int64]

CELL_PIXELS: Final = 64
"""Pixels of one cell of a grid share their lengths; cells begin at the grid's origin."""
MAX_CELL_M: Final = 1e4


class PixelSides:
    """Lengths of pixel sides; the value of a side never depends on the window it is asked in.

    Whole millimetres, so that sums of them are exact, and so that the borders of equal pixel counts on a conformal
    grid are equal and not a matter of rounding. Geographic grids that are not rotated have a length per row; others
    one per cell of 64 pixels and 10 km at most, that of its centre.
    """

    __slots__ = ("_affine", "_latitude_limit", "_to_wgs84", "cell", "shape")

    cell: tuple[int, int]
    """(rows, columns) of pixels that share their lengths."""

    def __init__(self, grid: GeoBox) -> None:
        """Plan the lengths of `grid`.

        Raises:
            SceneError: the grid has no CRS, or a part of it lies off its projection.
        """
        if grid.crs is None:
            raise SceneError("the map has no CRS, so its pixels have no size: assign one with rio edit-info --crs")
        crs = horizontal(grid.crs.proj)
        self._affine = grid.affine
        self.shape = (int(grid.shape[0]), int(grid.shape[1]))
        row, col = np.meshgrid(np.linspace(0, self.shape[0], 9), np.linspace(0, self.shape[1], 9), indexing="ij")
        self._latitude_limit = math.inf
        if crs.is_geographic:
            self._latitude_limit = math.pi / 2 / float(crs.axis_info[0].unit_conversion_factor)
        self._to_wgs84 = to_wgs84(crs, *self._position(row, col))
        if crs.is_geographic and grid.affine.b == 0 and grid.affine.d == 0:
            self.cell = (1, self.shape[1])
        else:
            pixel_m = math.sqrt(abs(grid.affine.determinant)) * unit_m(crs)
            side = min(CELL_PIXELS, 2 ** max(0, math.floor(math.log2(MAX_CELL_M / pixel_m))))
            self.cell = (side, side)

    def millimetres(self, window: Window) -> tuple[Millimetres, Millimetres]:
        """(upper side, left side) of each pixel, each (height, 1) or (height, width), at least 1.

        Raises:
            SceneError: a pixel lies off the projection.
        """
        rows = np.arange(window.row, window.row_stop) // self.cell[0]
        cols = np.arange(window.col, window.col_stop) // self.cell[1]
        first_row, first_col = int(rows[0]), int(cols[0])
        centre_row = self._centres(np.arange(first_row, int(rows[-1]) + 1), 0)
        centre_col = self._centres(np.arange(first_col, int(cols[-1]) + 1), 1)
        # A row of a geographic grid has its upper side on its own parallel.
        upper_row = centre_row - 0.5 if self.cell[0] == 1 else centre_row
        pick = np.ix_(rows - first_row, cols[:1] - first_col if self.cell[0] == 1 else cols - first_col)
        upper = _whole_mm(self._lengths(upper_row, centre_col, (0.0, 0.5)))
        left = _whole_mm(self._lengths(centre_row, centre_col, (0.5, 0.0)))
        return upper[pick], left[pick]

    def metres_at(self, rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
        """(height, width) of a pixel around each of the positions rows x cols, in metres.

        Raises:
            SceneError: a position lies off the projection.
        """
        return self._lengths(rows, cols, (0.5, 0.0)), self._lengths(rows, cols, (0.0, 0.5))

    def _centres(self, index: npt.NDArray[np.int64], axis: int) -> Floats:
        """Positions in pixels of the centres of cells; of the last one the centre of what is in the grid."""
        step, size = self.cell[axis], self.shape[axis]
        centres: Floats = (index * step + np.minimum((index + 1) * step, size)) / 2
        return centres

    def _lengths(self, rows: Floats, cols: Floats, half: tuple[float, float]) -> Floats:
        """(rows, cols) metres between the points half a side behind and half a side ahead of each position."""
        row, col = np.meshgrid(rows, cols, indexing="ij")
        ahead = self._geocentric(row + half[0], col + half[1])
        with np.errstate(invalid="ignore"):
            chord = ahead - self._geocentric(row - half[0], col - half[1])
        lengths: Floats = np.sqrt((chord * chord).sum(axis=0))
        if not np.isfinite(lengths).all():
            raise SceneError("a part of the map lies off its projection: crop the map or check its transform")
        return lengths

    def _geocentric(self, row: Floats, col: Floats) -> Floats:
        x, y = self._position(row, col)
        # A pixel whose centre is on a pole reaches beyond it.
        y = np.clip(y, -self._latitude_limit, self._latitude_limit)
        longitude, latitude = self._to_wgs84.transform(x, y)
        with np.errstate(invalid="ignore"):
            return np.stack(geocentric(np.radians(longitude), np.radians(latitude)))

    def _position(self, row: Floats, col: Floats) -> tuple[Floats, Floats]:
        """(x, y) in the CRS."""
        a, b, c, d, e, f = self._affine[:6]
        return a * col + b * row + c, d * col + e * row + f


def _whole_mm(metres: Floats) -> Millimetres:
    return np.maximum(np.rint(metres * 1000), 1).astype(np.int64)
