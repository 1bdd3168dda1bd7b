"""Lengths on the ellipsoid of lines that are straight on a grid. Areas come from pixels, never from here."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from geoseg.core.ellipsoid import AXIS_M, FLATTENING, geocentric, horizontal, to_wgs84, unit_m

Floats = npt.NDArray[np.float64]

_PIECE_M: Final = 10_000.0
"""Longest piece whose chord stands for it: bent by the mean curvature the error is below 1e-9."""


class EdgeLength:
    """Ground length of edges between lattice vertices of one grid."""

    __slots__ = ("affine", "pixel_m", "to_wgs84")

    def __init__(self, grid: GeoBox) -> None:
        if grid.crs is None:
            raise ValueError("a grid without CRS has no lengths")
        crs = horizontal(grid.crs.proj)
        height, width = grid.shape
        a, b, c, d, e, f = self.affine = grid.affine[:6]
        self.pixel_m = max(math.hypot(a, d), math.hypot(b, e)) * unit_m(crs)
        row, col = np.meshgrid(np.linspace(0, height, 9), np.linspace(0, width, 9), indexing="ij")
        self.to_wgs84 = to_wgs84(crs, a * col + b * row + c, d * col + e * row + f)

    def of(self, start: tuple[Floats, Floats], end: tuple[Floats, Floats]) -> Floats:
        """(n,) metres of edges from `start` to `end`, both (rows, cols) in pixels.

        An edge follows the grid (a parallel stays a parallel): long ones are cut into geodesics of 10 km.
        """
        pixels: Floats = np.hypot(end[0] - start[0], end[1] - start[1])
        pieces = np.maximum(1, np.ceil(pixels * (self.pixel_m / _PIECE_M))).astype(np.int64)
        if pieces.max(initial=1) == 1:
            return self._geodesic(*start, *end)
        edge = np.repeat(np.arange(len(pieces)), pieces)
        number = np.arange(len(edge)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        step_row, step_col = ((end[k] - start[k])[edge] / pieces[edge] for k in (0, 1))
        row, col = start[0][edge] + number * step_row, start[1][edge] + number * step_col
        metres = self._geodesic(row, col, row + step_row, col + step_col)
        summed: Floats = np.add.reduceat(metres, np.cumsum(pieces) - pieces)
        return summed

    def _geodesic(self, row: Floats, col: Floats, end_row: Floats, end_col: Floats) -> Floats:
        first, latitude = self._point(row, col)
        last, _ = self._point(end_row, end_col)
        chord = np.sqrt(((last - first) ** 2).sum(axis=0))
        # Gaussian mean radius: a (1 - f) / (1 - e^2 sin^2 phi).
        squash = FLATTENING * (2 - FLATTENING)
        radius = AXIS_M * (1 - FLATTENING) / (1 - squash * np.sin(latitude) ** 2)
        metres: Floats = 2 * radius * np.arcsin(chord / (2 * radius))
        return metres

    def _point(self, row: Floats, col: Floats) -> tuple[Floats, Floats]:
        """(3, n) geocentric metres, and the latitude."""
        a, b, c, d, e, f = self.affine
        longitude, latitude = self.to_wgs84.transform(a * col + b * row + c, d * col + e * row + f)
        longitude, latitude = np.radians(longitude), np.radians(latitude)
        return np.stack(geocentric(longitude, latitude)), latitude
