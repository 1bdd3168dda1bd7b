"""Bands on other grids are brought to one grid, the same however the scene is cut."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer

from geoseg.core.window import Window
from geoseg.raster.scene import Scene, SceneReader, open_scene
from tests.raster.factory import make_raster

FINE = Affine(10, 0, 500_000, 0, -10, 5_400_000)
COARSE = Affine(20, 0, 500_000, 0, -20, 5_400_000)


def plane(transform: Affine, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """(1, height, width): a plane in map coordinates at pixel centres; bilinear interpolation keeps it exactly."""
    rows, cols = np.indices(shape)
    x, y = transform.c + transform.a * (cols + 0.5), transform.f + transform.e * (rows + 0.5)
    return (2000 + (x - 500_000) / 5 + (5_400_000 - y) / 4)[None]


def make_pair(folder: Path, shape: tuple[int, int], *, dtype: str = "uint16") -> Scene:
    half = (-(-shape[0] // 2), -(-shape[1] // 2))
    make_raster(folder / "B04.tif", pixels=plane(FINE, shape).astype(dtype), transform=FINE)
    make_raster(folder / "B05.tif", pixels=plane(COARSE, half).astype(dtype), transform=COARSE)
    return open_scene(folder).select(["rededge071", "red"])


def read_whole(scene: Scene, *, panel: int | None = None, side: int = 4096) -> tuple[npt.NDArray[np.float64], ...]:
    height, width = scene.grid.shape
    pixels, valid = np.zeros((len(scene.bands), height, width)), np.zeros((height, width), bool)
    with SceneReader(scene) as reader:
        for left in range(0, width, panel or width):
            stop = min(left + (panel or width), width)
            reader.start_panel(left, stop)
            for row in range(0, height, side):
                window = Window(row=row, col=left, height=min(side, height - row), width=stop - left)
                patch = reader.read(window)
                where = window.slices_in(Window(row=0, col=0, height=1, width=1))
                pixels[(slice(None), *where)], valid[where] = patch.pixels, patch.valid
    return pixels, valid


def test_the_finest_grid_is_the_reference_and_a_plane_stays_a_plane(tmp_path: Path) -> None:
    scene = make_pair(tmp_path, (120, 90), dtype="float32")
    assert scene.grid.transform == FINE
    assert [band.on_grid for band in scene.bands] == [False, True]
    pixels, valid = read_whole(scene)
    assert valid.all()
    inner = (slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(pixels[0][inner], plane(FINE, (120, 90))[0][inner], atol=1e-2)


def test_integers_are_rounded(tmp_path: Path) -> None:
    pixels, _ = read_whole(make_pair(tmp_path, (120, 90)))
    difference = pixels[0][1:-1, 1:-1] - plane(FINE, (120, 90))[0][1:-1, 1:-1]
    assert np.abs(difference).max() <= 1.0


@pytest.mark.parametrize(("panel", "side"), [(150, 50), (333, 97), (512, 512), (700, 600)])
@pytest.mark.parametrize("kind", ["turned", "geographic"])
def test_nothing_depends_on_how_the_scene_is_cut(tmp_path: Path, kind: str, panel: int, side: int) -> None:
    rng = np.random.default_rng(0)
    make_raster(tmp_path / "B04.tif", (700, 700), bands=1, dtype="uint8")
    transform, crs = {
        "turned": (Affine(11.75, 4.28, 498_500, 4.28, -11.75, 5_399_500), "EPSG:32633"),
        "geographic": (Affine(2e-4, 0, 14.99, 0, -2e-4, 48.74), "EPSG:4326"),
    }[kind]
    noise = rng.integers(1, 60_000, (1, 500, 500)).astype(np.uint16)
    made = make_raster(tmp_path / "B05.tif", pixels=noise, transform=transform, crs=crs, nodata="mask")
    assert made.valid.mean() < 0.9
    scene = open_scene(tmp_path).select(["red", "rededge071"])
    whole, whole_valid = read_whole(scene)
    pixels, valid = read_whole(scene, panel=panel, side=side)
    np.testing.assert_array_equal(valid, whole_valid)
    np.testing.assert_array_equal(pixels, whole)
    assert 0.3 < valid.mean() < 0.9


def test_another_crs_is_interpolated_at_the_very_place(tmp_path: Path) -> None:
    """Against bilinear interpolation written out, at coordinates from pyproj; GDAL's default would be 37 off here."""
    make_raster(tmp_path / "B04.tif", (700, 600), bands=1)
    coarse = np.random.default_rng(1).integers(0, 5000, (1, 430, 360)).astype(np.uint16)
    make_raster(tmp_path / "B05.tif", crs="EPSG:4326", transform=Affine(3e-4, 0, 14.98, 0, -2e-4, 48.77), pixels=coarse)
    scene = open_scene(tmp_path).select(["red", "rededge071"])
    assert scene.grid.crs == "EPSG:32633"
    pixels, valid = read_whole(scene)
    rows, cols = np.indices(valid.shape)
    to_lonlat = Transformer.from_crs(32633, 4326, always_xy=True)
    lons, lats = to_lonlat.transform(500_000 + 10 * (cols + 0.5), 5_400_000 - 10 * (rows + 0.5))
    col, row = (lons - 14.98) / 3e-4 - 0.5, (48.77 - lats) / 2e-4 - 0.5
    left, top = np.floor(col).astype(int), np.floor(row).astype(int)
    right_share, lower_share = col - left, row - top
    upper = coarse[0][top, left] * (1 - right_share) + coarse[0][top, left + 1] * right_share
    lower = coarse[0][top + 1, left] * (1 - right_share) + coarse[0][top + 1, left + 1] * right_share
    assert valid.all()
    assert np.abs(pixels[1] - (upper * (1 - lower_share) + lower * lower_share)).max() <= 0.51


def test_unobserved_pixels_of_a_coarse_band_do_not_bleed(tmp_path: Path) -> None:
    make_raster(tmp_path / "B04.tif", (40, 40), bands=1, transform=FINE)
    coarse = np.full((1, 20, 20), 1000, np.uint16)
    coarse[0, 8:12, 8:12] = 0
    made = make_raster(tmp_path / "B05.tif", pixels=coarse, transform=COARSE)
    with rasterio.open(made.path, "r+") as dataset:
        dataset.nodata = 0
    pixels, valid = read_whole(open_scene(tmp_path).select(["red", "rededge071"]))
    expected = np.ones((40, 40), bool)
    expected[16:24, 16:24] = False
    np.testing.assert_array_equal(valid, expected)
    assert set(np.unique(pixels[1][valid])) == {1000}


def test_where_one_band_ends_no_pixel_is_observed(tmp_path: Path) -> None:
    make_raster(tmp_path / "B04.tif", (40, 60), bands=1, transform=FINE)
    make_raster(tmp_path / "B05.tif", (20, 20), bands=1, transform=COARSE)
    _, valid = read_whole(open_scene(tmp_path).select(["red", "rededge071"]))
    assert valid[:, :40].all()
    assert not valid[:, 40:].any()


def test_a_far_finer_file_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from geoseg.raster import resample

    scene = make_pair(tmp_path, (600, 700))
    whole = read_whole(scene)
    monkeypatch.setattr(resample, "_MAX_SOURCE_PIXELS", 5000)
    parts = read_whole(scene)
    np.testing.assert_array_equal(parts[0], whole[0])
    np.testing.assert_array_equal(parts[1], whole[1])
