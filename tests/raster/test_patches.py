"""Patches on disk: what is read is what was written, any GIS reads it too, and what is damaged is refused by name."""

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import numpy.typing as npt
import pyarrow.parquet
import pytest
import rasterio
import rasterio.windows
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp

from geoseg.core.window import Window
from geoseg.errors import ProductError, ResourceError
from geoseg.raster.patches import (
    INDEX,
    JOB_TAG,
    PatchEntry,
    PatchIndex,
    name_patch,
    read_index,
    read_patch,
    store,
    write_index,
    write_patch,
)
from geoseg.raster.safety import raster_env

NORTH_UP = Affine(10, 0, 500_000, 0, -10, 5_400_000)
ROTATED = Affine(8.66, 5.0, 500_000, 5.0, -8.66, 5_400_000)
SOUTH_UP = Affine(10, 0, 500_000, 0, 10, 5_300_000)
WINDOW = Window(row=64, col=96, height=48, width=80)


def make_grid(transform: Affine = NORTH_UP) -> GeoBox:
    return GeoBox((100, 130), transform, "EPSG:32633")


def make_pixels(dtype: str, bands: int = 3) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    rng = np.random.default_rng(1)
    pixels = (rng.random((bands, *WINDOW.shape)) * 250).astype(dtype)
    if np.issubdtype(pixels.dtype, np.floating):
        pixels[0, 0, :3] = np.nan, np.inf, -0.0
    return pixels, rng.random(WINDOW.shape) < 0.7


def write(path: Path, dtype: str = "uint8", bands: int = 3, *, grid: GeoBox | None = None) -> npt.NDArray[Any]:
    pixels, valid = make_pixels(dtype, bands)
    names = [f"b{k}" for k in range(bands)]
    write_patch(path, pixels, valid, grid=grid or make_grid(), window=WINDOW, names=names, tags={JOB_TAG: "job"})
    return pixels


def read(path: Path, dtype: str = "uint8", bands: int = 3, job: str = "job") -> Any:
    return read_patch(path, WINDOW, grid=make_grid(), bands=bands, dtype=dtype, job=job)


@pytest.mark.parametrize("transform", [NORTH_UP, ROTATED, SOUTH_UP], ids=["north", "rotated", "south"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_a_patch_comes_back_bit_for_bit(tmp_path: Path, transform: Affine, dtype: str, bands: int) -> None:
    grid, path = make_grid(transform), tmp_path / name_patch(WINDOW)
    pixels, valid = make_pixels(dtype, bands)
    write_patch(
        path, pixels, valid, grid=grid, window=WINDOW, names=["a"] * bands, tags={JOB_TAG: "job"}
    )  # fmt: skip
    again, seen = read_patch(path, WINDOW, grid=grid, bands=bands, dtype=dtype, job="job")
    assert again.dtype == pixels.dtype
    assert again.tobytes() == pixels.tobytes()
    np.testing.assert_array_equal(seen, valid)


def test_no_band_of_four_bytes_is_taken_for_alpha(tmp_path: Path) -> None:
    write(tmp_path / "patch.tif", "uint8", 4)
    with rasterio.open(tmp_path / "patch.tif") as file:
        assert ColorInterp.alpha not in file.colorinterp


@pytest.mark.parametrize("transform", [NORTH_UP, ROTATED, SOUTH_UP], ids=["north", "rotated", "south"])
def test_rasterio_sees_a_georeferenced_raster_with_a_mask(tmp_path: Path, transform: Affine) -> None:
    path = tmp_path / name_patch(WINDOW)
    pixels = write(path, "uint16", 4, grid=make_grid(transform))
    with rasterio.open(path) as file:
        expected = rasterio.windows.transform(rasterio.windows.Window(96, 64, 80, 48), transform)
        assert file.transform.almost_equals(expected)
        assert file.crs.to_epsg() == 32633
        assert file.descriptions == ("b0", "b1", "b2", "b3")
        np.testing.assert_array_equal(file.read(), pixels)
        np.testing.assert_array_equal(file.dataset_mask() != 0, make_pixels("uint16", 4)[1])
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def entries() -> tuple[PatchEntry, ...]:
    first = Window(row=0, col=0, height=64, width=96)
    return (
        PatchEntry(window=first, file=name_patch(first), valid_pixels=7),
        PatchEntry(window=WINDOW, file=None, valid_pixels=0),
    )


def save_index(folder: Path, grid: GeoBox | None = None) -> PatchIndex:
    index = PatchIndex(grid=grid or make_grid(), entries=entries(), about={"scene": "s.tif", "numbers": [1, 2.5]})
    write_index(folder / INDEX, index)
    return index


@pytest.mark.parametrize("transform", [NORTH_UP, ROTATED, SOUTH_UP], ids=["north", "rotated", "south"])
def test_an_index_comes_back_equal(tmp_path: Path, transform: Affine) -> None:
    index = save_index(tmp_path, make_grid(transform))
    again = read_index(tmp_path)
    assert again.entries == index.entries
    assert again.about == index.about
    assert again.grid == index.grid


@pytest.mark.parametrize("transform", [NORTH_UP, ROTATED, SOUTH_UP], ids=["north", "rotated", "south"])
def test_geopandas_reads_the_footprints(tmp_path: Path, transform: Affine) -> None:
    save_index(tmp_path, make_grid(transform))
    frame = geopandas.read_parquet(tmp_path / INDEX)
    assert frame.crs.to_epsg() == 32633
    assert frame.geometry.is_valid.all()
    pixel_m2 = abs(transform.determinant)
    assert frame.geometry.area.tolist() == pytest.approx([64 * 96 * pixel_m2, 48 * 80 * pixel_m2])
    x, y = transform * (96 + 80 / 2, 64 + 48 / 2)
    assert (frame.geometry[1].centroid.x, frame.geometry[1].centroid.y) == pytest.approx((x, y))
    assert frame["file"].isna().tolist() == [False, True]


def test_an_index_follows_the_geoparquet_schema(tmp_path: Path) -> None:
    save_index(tmp_path)
    geo = json.loads(pyarrow.parquet.read_schema(tmp_path / INDEX).metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    assert (geo["version"], column["encoding"], column["geometry_types"]) == ("1.0.0", "WKB", ["Polygon"])
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32633}


def test_a_missing_patch_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=rf"{name_patch(WINDOW)} is missing"):
        read(tmp_path / name_patch(WINDOW))


def test_a_truncated_patch_is_named(tmp_path: Path) -> None:
    path = tmp_path / name_patch(WINDOW)
    write(path)
    content = path.read_bytes()
    for size in (0, 3, 100, len(content) // 2, len(content) - 20):
        path.write_bytes(content[:size])
        with pytest.raises(ProductError, match=name_patch(WINDOW)):
            read(path)


def test_a_flipped_byte_of_the_pixels_is_seen(tmp_path: Path) -> None:
    path = tmp_path / name_patch(WINDOW)
    write(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ProductError, match=name_patch(WINDOW)):
        read(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"job": "other"}, "belongs to another set"),
        ({"dtype": "uint16"}, "has 3 bands of 48 x 80 uint8, its index says"),
        ({"bands": 2}, "has 3 bands"),
    ],
)
def test_a_patch_of_another_set_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = tmp_path / name_patch(WINDOW)
    write(path)
    with pytest.raises(ProductError, match=words):
        read(path, **change)


def test_a_patch_in_the_place_of_another_is_refused(tmp_path: Path) -> None:
    path = tmp_path / name_patch(WINDOW)
    write(path)
    elsewhere = Window(row=64, col=16, height=48, width=80)
    with pytest.raises(ProductError, match=r"lies \+0 rows and \+80 columns from where its index has it"):
        read_patch(path, elsewhere, grid=make_grid(), bands=3, dtype="uint8", job="job")


def test_a_patch_without_a_mask_is_refused(tmp_path: Path) -> None:
    path = tmp_path / name_patch(WINDOW)
    write(path)
    with rasterio.open(path) as file:
        profile, pixels, tags = file.profile, file.read(), file.tags()
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels)
        file.update_tags(**tags)
    with pytest.raises(ProductError, match="no internal mask"):
        read(path)


def test_a_folder_without_an_index_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=r"has no index\.parquet"):
        read_index(tmp_path)


@pytest.mark.parametrize("keep", [0, 10, 400, -9])
def test_a_damaged_index_is_refused(tmp_path: Path, keep: int) -> None:
    save_index(tmp_path)
    content = (tmp_path / INDEX).read_bytes()
    (tmp_path / INDEX).write_bytes(content[:keep])
    with pytest.raises(ProductError, match=r"index\.parquet is damaged"):
        read_index(tmp_path)


@pytest.mark.parametrize("file", ["../secret.tif", "/etc/secret.tif", "a/b.tif", "c.vrt", ""])
def test_an_index_names_files_beside_it_only(tmp_path: Path, file: str) -> None:
    outside = PatchEntry(window=WINDOW, file=file, valid_pixels=1)
    write_index(tmp_path / INDEX, PatchIndex(grid=make_grid(), entries=(outside,), about={}))
    with pytest.raises(ProductError, match="is no file name"):
        read_index(tmp_path)


def test_a_foreign_parquet_file_is_refused(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame({"row": [1]}, geometry=geopandas.points_from_xy([0], [0]), crs="EPSG:4326")
    frame.to_parquet(tmp_path / INDEX)
    with pytest.raises(ProductError, match="is damaged"):
        read_index(tmp_path)


def test_a_file_is_never_replaced_and_a_refusal_of_the_disk_is_said(tmp_path: Path) -> None:
    store(tmp_path / "a", b"1")
    with pytest.raises(ResourceError, match="a cannot be written"):
        store(tmp_path / "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"1"
    with pytest.raises(ResourceError, match="b cannot be written"):
        store(tmp_path / "nowhere" / "b", b"2")


def test_many_threads_write_without_a_word_from_gdal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    grid = GeoBox((512, 512), Affine(10, 0, 500_000, 0, -10, 5_400_000), "EPSG:32633")
    window = Window(row=0, col=0, height=512, width=512)
    rng = np.random.default_rng(0)
    for k in range(4):
        pixels = rng.random((4, 512, 512), dtype=np.float32)
        with raster_env(threads=4):
            write_patch(
                tmp_path / f"{k}.tif",
                pixels,
                np.ones((512, 512), np.bool_),
                grid=grid,
                window=window,
                names=["a", "b", "c", "d"],
                tags={},
            )
    assert capfd.readouterr().err == ""
