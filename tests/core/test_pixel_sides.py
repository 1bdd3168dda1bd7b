"""Lengths of pixel sides against geodesics of pyproj, whatever the grid."""

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS, Geod, Transformer

from geoseg.core.pixel_sides import PixelSides
from geoseg.core.window import Window

TURNED = Affine.translation(14, 60) * Affine.rotation(20) * Affine.scale(1e-4, -1e-4)
GRIDS = {
    "utm at the edge of its zone": GeoBox((150, 130), Affine(10, 0, 166_000, 0, -10, 2000), "EPSG:32632"),
    "degrees": GeoBox((150, 130), Affine(1e-3, 0, 14, 0, -1e-3, 60.5), "EPSG:4326"),
    "degrees, south up": GeoBox((150, 130), Affine(1e-3, 0, 179.95, 0, 1e-3, -30.5), "EPSG:4326"),
    "coarse degrees": GeoBox((150, 130), Affine(0.5, 0, -30, 0, -0.5, 70), "EPSG:4326"),
    "rotated degrees": GeoBox((150, 130), TURNED, "EPSG:4326"),
    "mercator": GeoBox((150, 130), Affine(40, 0, 1e6, 0, -40, 8.4e6), "EPSG:3857"),
    "sinusoidal": GeoBox((150, 130), Affine(463, 0, 5e5, 0, -463, 5e6), "ESRI:54008"),
}


@pytest.mark.parametrize("name", GRIDS)
def test_sides_are_geodesics(name: str) -> None:
    grid = GRIDS[name]
    upper, left = (np.broadcast_to(one, grid.shape) for one in PixelSides(grid).millimetres(whole(grid)))
    for row, col in [(0, 0), (70, 5), (77, 128), (149, 129)]:
        corner, right, below = (geographic(grid, *at) for at in [(row, col), (row, col + 1), (row + 1, col)])
        geod = Geod(ellps="WGS84")
        # a parallel is longer than the geodesic: by 1e-5 for a pixel of half a degree
        near = 2e-5 if "degrees" in name else 2e-3
        assert upper[row, col] == pytest.approx(1000 * geod.inv(*corner, *right)[2], rel=near, abs=0.51)
        assert left[row, col] == pytest.approx(1000 * geod.inv(*corner, *below)[2], rel=near, abs=0.51)


@pytest.mark.parametrize("name", GRIDS)
def test_a_side_is_the_same_in_every_window(name: str) -> None:
    grid = GRIDS[name]
    sides = PixelSides(grid)
    all_of_it = [np.broadcast_to(one, grid.shape) for one in sides.millimetres(whole(grid))]
    for window in [Window(row=63, col=1, height=3, width=128), Window(row=140, col=65, height=10, width=65)]:
        part = (slice(window.row, window.row_stop), slice(window.col, window.col_stop))
        for one, expected in zip(sides.millimetres(window), all_of_it, strict=True):
            assert np.array_equal(np.broadcast_to(one, window.shape), expected[part])


def test_the_rows_at_a_pole_have_sides() -> None:
    """The first and last pixels are centred on the poles and reach beyond them."""
    grid = GeoBox((5, 4), Affine(90, 0, -180, 0, -45, 112.5), "EPSG:4326")
    upper, left = PixelSides(grid).millimetres(whole(grid))
    assert upper[0, 0] == 1
    assert (left > 2e9).all()


def whole(grid: GeoBox) -> Window:
    return Window(row=0, col=0, height=grid.shape[0], width=grid.shape[1])


def geographic(grid: GeoBox, row: float, col: float) -> tuple[float, float]:
    crs = CRS.from_user_input(str(grid.crs))
    longitude, latitude = Transformer.from_crs(crs, 4326, always_xy=True).transform(*(grid.affine * (col, row)))
    return float(longitude), float(latitude)
