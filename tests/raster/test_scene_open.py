"""Bands found by name, grids found or refused, levels and fingerprints."""

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from geoseg.core.window import Window
from geoseg.errors import SceneError
from geoseg.raster.scene import SceneOptions, SceneReader, describe_scene, open_scene
from tests.raster.factory import make_pixels, make_raster


def names(path: Path) -> list[str]:
    return [band.name for band in open_scene(path).bands]


@pytest.mark.parametrize(
    ("file", "descriptions", "expected"),
    [
        ("x.tif", ["Red", "GREEN", "blue", "NIR"], ["red", "green", "blue", "nir"]),
        ("x.tif", ["B02", "B03", "B04", "B08"], ["blue", "green", "red", "nir"]),
        ("x.tif", ["B2", "B3", "B4", "B8A"], ["blue", "green", "red", "nir08"]),
        ("S2A_MSIL2A_20200101.tif", ["B2", "B8", "B11", "B12"], ["blue", "nir", "swir16", "swir22"]),
        ("LC08_L2SP_190026.tif", ["SR_B4", "SR_B5", "SR_B6", "SR_B7"], ["red", "nir", "swir16", "swir22"]),
        ("LT05_L2SP_190026.tif", ["SR_B3", "SR_B4", "SR_B5", "SR_B7"], ["red", "nir", "swir16", "swir22"]),
        ("HLS.L30.T33UWP.2020001.tif", ["B04", "B05", "B06", "B09"], ["red", "nir", "swir16", "cirrus"]),
        # Landsat 5 and Sentinel-2 mean different colours by these numbers: nothing is guessed
        ("x.tif", ["B2", "B3", "B4", "B8"], ["band_1", "band_2", "band_3", "band_4"]),
        ("LC08_and_S2A_.tif", ["B2", "B3", "B4", "B8"], ["band_1", "band_2", "band_3", "band_4"]),
        ("x.tif", ["", "", "<script>", "vegetation"], ["band_1", "band_2", "band_3", "band_4"]),
    ],
)
def test_descriptions_give_common_names(
    tmp_path: Path, file: str, descriptions: list[str], expected: list[str]
) -> None:
    made = make_raster(tmp_path / file, bands=4, descriptions=descriptions, photometric="MINISBLACK")
    assert names(made.path) == expected


def test_colours_give_common_names_and_alpha_is_no_band(tmp_path: Path) -> None:
    assert names(make_raster(tmp_path / "rgb.tif", dtype="uint8", photometric="RGB").path) == ["red", "green", "blue"]
    alpha = make_raster(tmp_path / "rgba.tif", dtype="uint8", nodata="alpha")
    assert names(alpha.path) == ["red", "green", "blue"]
    made = make_raster(tmp_path / "bgr.tif")
    with rasterio.open(made.path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]
    assert names(made.path) == ["blue", "green", "red"]


@pytest.mark.parametrize(
    ("pattern", "numbers", "expected"),
    [
        ("T33UWP_20200101T100031_{}_10m.tif", ["B02", "B03", "B04", "B8A"], ["blue", "green", "red", "nir08"]),
        ("2018-10-13, Sentinel-2B L1C, {}.tiff", ["B02", "B03", "B04", "B08"], ["blue", "green", "red", "nir"]),
        ("{}.tiff", ["B02", "B03", "B04", "B08"], ["blue", "green", "red", "nir"]),
        ("L8-{}-Elkton-VA.tiff", ["B2", "B3", "B4", "B5"], ["blue", "green", "red", "nir"]),
        ("LE07_L1TP_{}.TIF", ["B1", "B2", "B3", "B4"], ["blue", "green", "red", "nir"]),
        ("{}.tif", ["blue", "green", "nir", "red"], ["blue", "green", "nir", "red"]),
        ("landsat_{}.tif", ["b2", "b3", "b4", "b5"], ["band_1", "band_2", "band_3", "band_4"]),
    ],
)
def test_file_names_give_common_names(tmp_path: Path, pattern: str, numbers: list[str], expected: list[str]) -> None:
    stored = {}
    for seed, number in enumerate(numbers):
        stored[number] = make_raster(tmp_path / pattern.format(number), bands=1, seed=seed).pixels[0]
    assert names(tmp_path) == expected
    scene = open_scene(tmp_path, bands={"red": numbers[2]}).select(["red"])
    with SceneReader(scene) as reader:
        patch = reader.read(Window(row=0, col=0, height=90, width=70))
    np.testing.assert_array_equal(patch.pixels[0], stored[numbers[2]])


def test_bands_are_chosen_by_number_description_and_file(tmp_path: Path) -> None:
    made = make_raster(tmp_path / "scene.tif", bands=4, descriptions=["a", "b", "c", "d"], photometric="MINISBLACK")
    scene = open_scene(made.path, bands={"nir": "4", "red": "c"}).select(["red", "nir"])
    with SceneReader(scene) as reader:
        pixels = reader.read(Window(row=0, col=0, height=90, width=70)).pixels
    np.testing.assert_array_equal(pixels, made.pixels[[2, 3]])
    agnostic = open_scene(made.path, bands={"nir": "4"}).select(["band_4", "band_1"])
    assert [band.index for band in agnostic.bands] == [4, 1]


@pytest.mark.parametrize("value", ["5", "0", "e", "-1", "1.0"])
def test_a_choice_that_fits_no_band_lists_them(tmp_path: Path, value: str) -> None:
    made = make_raster(tmp_path / "scene.tif", bands=4, photometric="MINISBLACK")
    with pytest.raises(SceneError, match=rf"--bands red={value} is none of its bands: it has 4 bands \(band_1, "):
        open_scene(made.path, bands={"red": value})


def test_one_band_cannot_be_two(tmp_path: Path) -> None:
    made = make_raster(tmp_path / "scene.tif", bands=4)
    with pytest.raises(SceneError, match="names one band 'red' and 'green'"):
        open_scene(made.path, bands={"red": "1", "green": "1"})


def test_the_remedy_says_what_to_type(tmp_path: Path) -> None:
    made = make_raster(tmp_path / "scene.tif", photometric="MINISBLACK")
    with pytest.raises(SceneError) as caught:
        open_scene(made.path).select(["red", "green", "blue", "nir"])
    assert str(caught.value) == (
        "scene.tif has 3 bands (band_1, band_2, band_3); red, green, blue, nir needed: "
        "name them with --bands red=1,green=2,blue=3"
    )


def test_two_files_that_could_be_red_are_not_chosen_between(tmp_path: Path) -> None:
    first = make_raster(tmp_path / "L8-B4-Elkton.tif", bands=1)
    make_raster(tmp_path / "L8-B4-Elkton-copy.tif", bands=1, seed=1)
    scene = open_scene(tmp_path)
    with pytest.raises(SceneError, match=r"2 bands 'red' \(L8-B4-Elkton-copy.tif, L8-B4-Elkton.tif\)"):
        scene.select(["red"])
    chosen = open_scene(tmp_path, bands={"red": "L8-B4-Elkton.tif"}).select(["red"])
    assert chosen.bands[0].uri == str(first.path)
    with pytest.raises(SceneError, match="fits 2 bands"):
        open_scene(tmp_path, bands={"red": "Elkton"})


def test_a_list_is_read_relative_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "band files"
    folder.mkdir()
    make_raster(folder / "B04.tif", bands=1)
    make_raster(folder / "B03.tif", bands=1)
    listing = tmp_path / "scene.txt"
    listing.write_text("# Sentinel-2\nband files/B04.tif\n\nband files/B03.tif\n")
    monkeypatch.chdir("/")
    assert names(listing) == ["red", "green"]
    listing.write_text("band files/B04.tif\nband files/B04.tif\n")
    with pytest.raises(SceneError, match="twice"):
        open_scene(listing)
    listing.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SceneError, match="not a text file"):
        open_scene(listing)


def test_a_damaged_file_in_a_folder_is_left_out_and_said(tmp_path: Path) -> None:
    make_raster(tmp_path / "B04.tif", bands=1)
    (tmp_path / "B03.tif").write_bytes(b"no tiff")
    (tmp_path / "notes.txt").write_text("x")
    scene = open_scene(tmp_path)
    assert scene.select(["red"]).dtype == "uint16"
    assert any("B03.tif is neither" in note for note in scene.notes)
    with pytest.raises(SceneError, match=r"needed: .*left out: B03\.tif is neither"):
        scene.select(["green"])
    (tmp_path / "B04.tif").unlink()
    with pytest.raises(SceneError, match="no raster that can be read"):
        open_scene(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="no GeoTIFF or JPEG 2000"):
        open_scene(tmp_path)


def test_a_palette_is_no_radiometry(tmp_path: Path) -> None:
    made = make_raster(tmp_path / "scene.tif", bands=1, dtype="uint8")
    with rasterio.open(made.path, "r+") as dataset:
        dataset.write_colormap(1, {k: (k, 0, 0, 255) for k in range(200)})
    with pytest.raises(SceneError, match="palette"):
        open_scene(made.path).select(["band_1"])


def test_complex_pixels_are_refused(tmp_path: Path) -> None:
    make_raster(tmp_path / "scene.tif", bands=1, dtype="complex64")
    with pytest.raises(SceneError, match="complex"):
        open_scene(tmp_path / "scene.tif")


def test_scale_and_offset_are_carried_not_applied(tmp_path: Path) -> None:
    made = make_raster(tmp_path / "scene.tif", bands=2)
    with rasterio.open(made.path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.0001, 1.0), (-0.1, 0.0)
    scene = open_scene(made.path)
    assert [(band.scale, band.offset) for band in scene.bands] == [(0.0001, -0.1), (1.0, 0.0)]
    with SceneReader(scene) as reader:
        np.testing.assert_array_equal(reader.read(Window(row=0, col=0, height=90, width=70)).pixels, made.pixels)


def test_the_level_is_told_or_written_in_the_file(tmp_path: Path) -> None:
    made = make_raster(tmp_path / "scene.tif")
    assert open_scene(made.path).level is None
    with rasterio.open(made.path, "r+") as dataset:
        dataset.update_tags(GEOSEG_LEVEL="surface")
    assert open_scene(made.path).level == "surface"
    assert open_scene(made.path, options=SceneOptions(level="toa")).level == "toa"
    with rasterio.open(made.path, "r+") as dataset:
        dataset.update_tags(GEOSEG_LEVEL="L2A")
    with pytest.raises(SceneError, match="GEOSEG_LEVEL='L2A' is not one of toa, surface, display8"):
        open_scene(made.path)


def test_files_of_different_levels_are_no_scene_unless_the_user_says_so(tmp_path: Path) -> None:
    for name, level in (("red", "toa"), ("green", "surface")):
        make_raster(tmp_path / f"{name}.tif", bands=1)
        with rasterio.open(tmp_path / f"{name}.tif", "r+") as dataset:
            dataset.update_tags(GEOSEG_LEVEL=level)
    with pytest.raises(SceneError, match=r"holds surface values, red\.tif toa values: .* --radiometry"):
        open_scene(tmp_path)
    assert open_scene(tmp_path, options=SceneOptions(level="toa")).level == "toa"


@pytest.mark.parametrize("collar", [float("nan"), float("inf")])
def test_a_collar_is_a_number(tmp_path: Path, collar: float) -> None:
    made = make_raster(tmp_path / "scene.tif")
    with pytest.raises(SceneError, match="no finite number"):
        open_scene(made.path, options=SceneOptions(collar=collar))


@pytest.mark.parametrize(("path", "words"), [("", "empty path"), ("~nobody-of-that-name/scene.tif", "home directory")])
def test_a_path_that_leads_nowhere_is_refused(path: str, words: str) -> None:
    with pytest.raises(SceneError, match=words):
        open_scene(path)


def test_the_fingerprint_follows_every_file_that_may_change_a_pixel(tmp_path: Path) -> None:
    made = make_raster(tmp_path / "scene.tif", nodata="msk")
    other = make_raster(tmp_path / "other.tif", bands=1, dtype="uint8")
    plain = open_scene(made.path)
    assert plain == open_scene(made.path)
    masked = SceneOptions(mask=str(other.path))
    seen = {plain.fingerprint, open_scene(made.path, options=masked).fingerprint}
    for path in (made.path, made.path.with_name("scene.tif.msk")):
        found = path.stat()
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
        seen.add(open_scene(made.path).fingerprint)
    assert len(seen) == 4


def test_control_points_or_nothing_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    make_raster(path, crs="EPSG:4326", transform=Affine.identity())
    with pytest.raises(SceneError, match=r"has no transform: set it with gdal_edit -a_ullr, or put a world file"):
        open_scene(path)
    points = [GroundControlPoint(row=r, col=c, x=10 + c / 100, y=50 - r / 100) for r in (0, 90) for c in (0, 70)]
    with rasterio.open(path, "w", driver="GTiff", width=70, height=90, count=1, dtype="uint8") as dataset:
        dataset.gcps = (points, rasterio.crs.CRS.from_epsg(4326))
    with pytest.raises(SceneError, match="GCPs"):
        open_scene(path)
    with rasterio.open(path, "w", driver="GTiff", width=70, height=90, count=1, dtype="uint8"):
        pass
    with pytest.raises(SceneError, match="no CRS and no transform"):
        open_scene(path)


def test_a_world_file_counts_only_where_the_file_has_no_transform(tmp_path: Path) -> None:
    made = make_raster(tmp_path / "scene.tif", transform=Affine.identity())
    (tmp_path / "scene.tfw").write_text("10\n0\n0\n-10\n500005\n5399995\n")
    scene = open_scene(made.path)
    assert tuple(scene.grid.transform)[:6] == (10, 0, 500_000, 0, -10, 5_400_000)
    assert scene.notes == ("scene.tif: its transform is from world file scene.tfw",)
    own = make_raster(made.path)
    scene = open_scene(own.path)
    assert scene.grid.transform == own.transform
    assert scene.notes == ()


@pytest.mark.parametrize("text", ["", "1 2 3 4 5", "1 2 3 4 5 6 7", "a b c d e f", "10 0 0 -10 nan 5"])
def test_a_world_file_is_six_numbers(tmp_path: Path, text: str) -> None:
    made = make_raster(tmp_path / "scene.tif", transform=Affine.identity())
    (tmp_path / "scene.tfw").write_text(text)
    with pytest.raises(SceneError, match=r"scene\.tfw"):
        open_scene(made.path)


def test_jpeg_2000_is_read_like_any_other(tmp_path: Path) -> None:
    pixels = make_pixels((120, 100), bands=1)
    path = tmp_path / "B04.jp2"
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", width=100, height=120, count=1, dtype="uint16", crs="EPSG:32633",
        transform=Affine(10, 0, 5e5, 0, -10, 5.4e6), QUALITY=100, REVERSIBLE="YES", blockxsize=64, blockysize=64,
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    scene = open_scene(path).select(["red"])
    with SceneReader(scene) as reader:
        reader.start_panel(0, 100)
        np.testing.assert_array_equal(reader.read(Window(row=0, col=0, height=120, width=100)).pixels, pixels)


def test_what_is_known_of_a_scene_can_be_shown(tmp_path: Path) -> None:
    made = make_raster(tmp_path / "scene.tif", dtype="uint8", nodata="alpha")
    found = describe_scene(open_scene(made.path, options=SceneOptions(collar=255)))
    assert (found["height"], found["width"], found["crs"]) == (90, 70, "EPSG:32633")
    assert found["pixel_m"] == pytest.approx([10.004, 10.004], abs=1e-3)
    assert found["validity"] == ["alpha band", "collar 255"]
    assert [band["name"] for band in found["bands"]] == ["red", "green", "blue"]


def test_real_scenes_are_understood(test_data: Path) -> None:
    rachel = open_scene(test_data / "scenes/s2_nc_rachel_carson").select(["red", "green", "blue", "nir"])
    assert [Path(band.uri).name[-8:-5] for band in rachel.bands] == ["B04", "B03", "B02", "B08"]
    assert (rachel.dtype, tuple(rachel.grid.shape), rachel.notes) == ("uint8", (2201, 2629), ())
    elkton = test_data / "edge_cases/rasterframes"
    scene = open_scene(elkton, bands={"red": "L8-B4-Elkton-VA.tiff", "pan": "L8-B8-Elkton-VA.tiff"})
    chosen = scene.select(["red", "pan"])
    assert (tuple(chosen.grid.shape), [band.on_grid for band in chosen.bands]) == ((337, 371), [False, True])
    zion = open_scene(test_data / "zion_landsat8_nlcd", bands={"red": "landsat_b4.tif"})
    assert zion.select(["red"]).dtype == "uint16"
