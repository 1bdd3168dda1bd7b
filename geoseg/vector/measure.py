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

    def of(self, row: Floats, col: Floats, after: npt.NDArray[np.integer]) -> Floats:
        """(n,) metres of the edges from each vertex to the one at index `after`; rows and cols in pixels.

        An edge follows the grid (a parallel stays a parallel): long ones are cut into geodesics of 10 km.
        """
        point, latitude = self._point(row, col)
        metres = _geodesic(point, point[:, after], latitude)
        pixels: Floats = np.hypot(row[after] - row, col[after] - col)
        pieces = np.ceil(pixels * (self.pixel_m / _PIECE_M)).astype(np.int64)
        long = np.flatnonzero(pieces > 1)
        if len(long):
            metres[long] = self._in_pieces((row[long], col[long]), (row[after[long]], col[after[long]]), pieces[long])
        return metres

    def _in_pieces(
        self, start: tuple[Floats, Floats], end: tuple[Floats, Floats], pieces: npt.NDArray[np.int64]
    ) -> Floats:
        """(n,) metres of edges that are each cut into equal pieces."""
        edge = np.repeat(np.arange(len(pieces)), pieces)
        first = np.cumsum(pieces) - pieces
        number = np.arange(len(edge)) - first[edge]
        step_row, step_col = ((end[k] - start[k])[edge] / pieces[edge] for k in (0, 1))
        row, col = start[0][edge] + number * step_row, start[1][edge] + number * step_col
        point, latitude = self._point(row, col)
        ahead, _ = self._point(row + step_row, col + step_col)
        metres: Floats = np.add.reduceat(_geodesic(point, ahead, latitude), first)
        return metres

    def _point(self, row: Floats, col: Floats) -> tuple[Floats, Floats]:
        """(3, n) geocentric metres, and the latitude."""
        a, b, c, d, e, f = self.affine
        longitude, latitude = self.to_wgs84.transform(a * col + b * row + c, d * col + e * row + f)
        longitude, latitude = np.radians(longitude), np.radians(latitude)
        return np.stack(geocentric(longitude, latitude)), latitude


def _geodesic(point: Floats, ahead: Floats, latitude: Floats) -> Floats:
    """Length from chord, on the sphere of the Gaussian mean radius a (1 - f) / (1 - e^2 sin^2 phi)."""
    chord = np.sqrt(((ahead - point) ** 2).sum(axis=0))
    radius = AXIS_M * (1 - FLATTENING) / (1 - FLATTENING * (2 - FLATTENING) * np.sin(latitude) ** 2)
    metres: Floats = 2 * radius * np.arcsin(np.minimum(chord / (2 * radius), 1.0))
    return metres
