"""Narrow parts against brute force and against scipy's distance transform, and drawn strips."""

import math

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy import ndimage

from geoseg.core.pixel_sides import PixelSides
from geoseg.core.width import NARROW, UNDETERMINED, WIDE, find_narrow
from geoseg.errors import SettingsError
from tests.core.brute_force import wide_pixels
from tests.core.random_maps import Labels, in_blocks, random_map


def narrow_map(labels: Labels, grid: GeoBox, width_m: float, rows: int, classes: tuple[int, ...] = (1,)) -> Labels:
    blocks = find_narrow(in_blocks(labels, rows), classes=classes, min_width_m=width_m, sides=PixelSides(grid))
    return np.concatenate([block for _, block in blocks])


def metre_grid(shape: tuple[int, int], pixel_m: float = 1.0) -> GeoBox:
    """True to scale where it is: 1.6 degrees from the middle of a UTM zone."""
    return GeoBox(shape, Affine(pixel_m, 0, 680_000, 0, -pixel_m, 100_000), "EPSG:32632")


@pytest.mark.parametrize("seed", range(60))
def test_narrow_parts_are_those_of_brute_force(seed: int) -> None:
    labels, grid = random_map(seed, classes=(1, 1, 1, 0, 7))
    height, width = labels.shape
    one, other = PixelSides(grid).metres_at(np.array([height / 2]), np.array([width / 2]))
    pixel_m = float(one[0, 0]), float(other[0, 0])
    width_m = [1.1, 2.0, 2.9, 3.3][seed % 4] * max(pixel_m)
    cover = [(1,), (1, 7)][seed // 4 % 2]
    is_cover = np.isin(labels, cover)
    may_be = wide_pixels(is_cover | (labels >= 200), radius_m=width_m / 2, pixel_m=pixel_m)
    far = math.ceil(1.5 * width_m / min(pixel_m)) + 2
    surely = wide_pixels(np.pad(is_cover, far), radius_m=width_m / 2, pixel_m=pixel_m)
    expected = np.full(labels.shape, WIDE, np.uint8)
    for row, col in np.argwhere(is_cover).tolist():
        if (row, col) not in may_be:
            expected[row, col] = NARROW
        elif (row + far, col + far) not in surely:
            expected[row, col] = UNDETERMINED
    assert np.array_equal(narrow_map(labels, grid, width_m, rows=1 + seed % 5, classes=cover), expected)


@pytest.mark.parametrize(("width_m", "rows"), [(20.0, 1), (20.0, 512), (67.0, 100), (67.0, 2000)])
def test_blocks_do_not_show(width_m: float, rows: int) -> None:
    """Six blocks, looked at through a distance transform of the whole map."""
    random = np.random.default_rng(3)
    field = ndimage.gaussian_filter(random.standard_normal((1100, 700)), 4)
    labels = (field > 0).astype(np.uint8)
    grid = metre_grid(labels.shape, 5.0)
    pixel_m = [float(one[0, 0]) for one in PixelSides(grid).metres_at(np.array([550.0]), np.array([350.0]))]
    far = 60
    inside = np.pad(labels == 1, far, constant_values=True)
    lattice = np.ones((2 * inside.shape[0] - 1, 2 * inside.shape[1] - 1), bool)
    lattice[::2, ::2] = inside
    outside = ndimage.binary_dilation(~lattice, np.ones((3, 3), bool))
    half = [one / 2 for one in pixel_m]
    away = ndimage.distance_transform_edt(~outside, sampling=half)
    to_core = ndimage.distance_transform_edt(away < width_m / 2 * 0.998, sampling=half)
    kept = to_core[::2, ::2][far:-far, far:-far] <= math.sqrt(2) * width_m / 2 * 1.002
    found = narrow_map(labels, grid, width_m, rows)
    assert np.array_equal(found == NARROW, (labels == 1) & ~kept)
    assert 0.002 < (found == NARROW).mean() < 0.6


@pytest.mark.parametrize(
    ("pixel_m", "strip", "expected"),
    [(1.0, 19, NARROW), (1.0, 20, WIDE), (1.0, 21, WIDE), (10.0, 1, NARROW), (10.0, 2, WIDE), (30.0, 1, WIDE)],
)
def test_strips_of_twenty_metres(pixel_m: float, strip: int, expected: int) -> None:
    """Upright, lying, and both ends of them with their right angles."""
    labels = np.zeros((130, 90), np.uint8)
    labels[20:110, 30 : 30 + strip] = 1
    grid = metre_grid(labels.shape, pixel_m)
    assert np.all(narrow_map(labels, grid, 20.0, 64)[labels == 1] == expected)
    turned = np.ascontiguousarray(labels.T)
    assert np.all(narrow_map(turned, metre_grid(turned.shape, pixel_m), 20.0, 64)[turned == 1] == expected)


@pytest.mark.parametrize("easting", [167_000, 500_000, 833_000])
def test_two_pixels_of_ten_metres_are_twenty_all_over_a_zone(easting: int) -> None:
    """The scale of UTM is 0.9996 in the middle of a zone and 1.001 at its edges on the equator."""
    labels = np.zeros((12, 12), np.uint8)
    labels[3:9, 4:6] = 1
    grid = GeoBox(labels.shape, Affine(10, 0, easting, 0, -10, 1000), "EPSG:32632")
    assert not narrow_map(labels, grid, 20.0, 12).any()


def test_a_bridge_between_two_woods_is_narrow_and_the_woods_are_not() -> None:
    labels = np.zeros((60, 140), np.uint8)
    labels[10:50, 10:50] = labels[10:50, 90:130] = 1
    labels[25:35, 50:90] = 1
    found = narrow_map(labels, metre_grid(labels.shape), 20.0, 60)
    assert not found[10:50, 10:50].any()
    assert not found[10:50, 90:130].any()
    assert (found[25:35, 60:80] == NARROW).all()
    assert not (found == UNDETERMINED).any()


def test_a_strip_at_the_edge_or_beside_no_class_is_undetermined() -> None:
    labels = np.zeros((60, 100), np.uint8)
    labels[10:50, 0:8] = 1
    labels[10:50, 60:68] = 1
    labels[10:50, 68:90] = 255
    found = narrow_map(labels, metre_grid(labels.shape), 20.0, 60)
    assert (found[14:46, 0:8] == UNDETERMINED).all()
    assert (found[14:46, 60:68] == UNDETERMINED).all()
    assert not (found == NARROW).any()


def test_a_width_of_too_many_pixels_is_refused() -> None:
    with pytest.raises(SettingsError, match="min_width_m 1e\\+06 is 1000"):
        narrow_map(np.ones((3, 3), np.uint8), metre_grid((3, 3)), 1e6, 3)
