"""No file is ever opened but the one that was named: VRTs, sidecars, prefixes, bombs."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio

from geoseg.core.window import Window
from geoseg.errors import ResourceError, SceneError
from geoseg.raster.safety import raster_env
from geoseg.raster.scene import Scene, SceneOptions, SceneReader, open_scene
from tests.raster.factory import make_pixels, make_raster, write_leaking_vrt

SECRET = bytes(range(64)) * 64


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file whose bytes must never be seen."""
    path = tmp_path / "secret.bin"
    path.write_bytes(SECRET)
    return path


def read_all(scene: Scene) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    height, width = scene.grid.shape
    with SceneReader(scene) as reader:
        patch = reader.read(Window(row=0, col=0, height=height, width=width))
    return patch.pixels, patch.valid


def test_the_secret_would_leak_without_care(tmp_path: Path, secret: Path) -> None:
    """The attack is real: without this the tests below would prove nothing."""
    write_leaking_vrt(tmp_path / "scene.tif", secret, (64, 64))
    with rasterio.open(tmp_path / "scene.tif") as dataset:
        assert dataset.read(1).tobytes() == SECRET


def test_a_vrt_dressed_as_tif_is_refused(tmp_path: Path, secret: Path) -> None:
    write_leaking_vrt(tmp_path / "scene.tif", secret, (64, 64))
    with pytest.raises(SceneError, match="VRT"):
        open_scene(tmp_path / "scene.tif")
    (tmp_path / "scene.txt").write_text("scene.tif\n")
    with pytest.raises(SceneError, match="VRT"):
        open_scene(tmp_path / "scene.txt")
    (tmp_path / "hidden.tif").write_bytes(b" " * 600 + (tmp_path / "scene.tif").read_bytes())
    with pytest.raises(SceneError, match="neither"):
        open_scene(tmp_path / "hidden.tif")


def test_a_vrt_mask_beside_the_scene_is_refused(tmp_path: Path, secret: Path) -> None:
    made = make_raster(tmp_path / "scene.tif", (64, 64), dtype="uint8")
    write_leaking_vrt(tmp_path / "scene.tif.msk", secret, (64, 64))
    with pytest.raises(SceneError, match=r"mask beside the scene .* VRT"):
        open_scene(made.path)


@pytest.mark.parametrize("suffix", [".ovr", ".aux.xml"])
def test_other_sidecars_are_named_once_and_not_read(tmp_path: Path, secret: Path, suffix: str) -> None:
    made = make_raster(tmp_path / "scene.tif", (64, 64), dtype="uint8")
    sidecar = tmp_path / f"scene.tif{suffix}"
    write_leaking_vrt(sidecar, secret, (32, 32))
    if suffix == ".aux.xml":
        sidecar.write_text(
            "<PAMDataset><SRS>EPSG:3857</SRS><GeoTransform>0, 1, 0, 0, 0, -1</GeoTransform>"
            '<PAMRasterBand band="1"><Description>nir</Description></PAMRasterBand></PAMDataset>'
        )
    with raster_env():
        scene = open_scene(made.path)
        pixels, _ = read_all(scene)
    assert scene.notes == (f"scene.tif{suffix} is not read",)
    assert scene.grid.crs == "EPSG:32633"
    assert [band.description for band in scene.bands] == ["", "", ""]
    assert scene.grid.transform == made.transform
    np.testing.assert_array_equal(pixels, made.pixels)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"not a mask", "neither"), (b"", "empty"), (b"\0\0\0\x0cjP  \r\n\x87\n....", "not a GeoTIFF")],
)
def test_a_mask_that_cannot_be_read_is_refused_not_dropped(tmp_path: Path, content: bytes, words: str) -> None:
    made = make_raster(tmp_path / "scene.tif", (64, 64))
    (tmp_path / "scene.tif.msk").write_bytes(content)
    with pytest.raises(SceneError, match=words):
        open_scene(made.path)


def test_a_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    made = make_raster(tmp_path / "scene.tif", (64, 64))
    make_raster(tmp_path / "scene.tif.msk", (64, 63), bands=1, dtype="uint8")
    with pytest.raises(SceneError, match=r"64 x 63 pixels, its scene 64 x 64"):
        open_scene(made.path)


@pytest.mark.parametrize(
    "source",
    [
        "https://example.com/scene.tif",
        "s3://bucket/scene.tif",
        "/vsicurl/http://127.0.0.1:9/scene.tif",
        "/vsizip/scene.zip/scene.tif",
        "/VSImem/scene.tif",
        "vrt://scene.tif?bands=1",
        "GTIFF_DIR:1:{path}",
        "NETCDF:{path}:band",
        "zip+https://example.com/a.zip!scene.tif",
        "{path}\0.tif",
        "{path}.gone",
        "/dev/zero",
    ],
)
def test_only_plain_local_files_are_opened(tmp_path: Path, source: str) -> None:
    made = make_raster(tmp_path / "scene.tif")
    with pytest.raises(SceneError, match=r"local|exist|zero byte|regular|allow-remote"):
        open_scene(source.format(path=made.path))
    listing = tmp_path / "list.txt"
    listing.write_text(source.format(path=made.path), encoding="utf-8")
    with pytest.raises(SceneError):
        open_scene(listing)


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "scene.tif")
    with pytest.raises(SceneError, match="not a regular file"):
        open_scene(tmp_path / "scene.tif")


@pytest.mark.parametrize("name", ["a, b (1).tif", "a#b?c=d&e.tif", "a:b.tif", "ü 日本.tif", "a%20b.tif", "-red.tif"])
def test_strange_but_plain_names_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    made = make_raster(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    pixels, _ = read_all(open_scene(name))
    np.testing.assert_array_equal(pixels, made.pixels)


def test_a_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    profile = {"width": 40_000, "height": 30_000, "count": 2, "dtype": "uint8", "crs": "EPSG:32633"}
    with rasterio.open(
        path, "w", driver="GTiff", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5.4e6), sparse_ok=True, tiled=True,
        blockxsize=4096, blockysize=4096, compress="deflate", **profile
    ):  # fmt: skip
        pass
    with pytest.raises(SceneError, match="--allow-large"):
        open_scene(path)
    scene = open_scene(path, options=SceneOptions(allow_large=True))
    assert scene.grid.shape == (30_000, 40_000)


def test_a_block_too_large_to_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "block.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=40_000, height=30_000, count=1, dtype="uint8", crs="EPSG:32633", tiled=True,
        transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5.4e6), sparse_ok=True, blockxsize=32768, blockysize=32768,
    ):  # fmt: skip
        pass
    with pytest.raises(SceneError, match="smaller blocks"):
        open_scene(path)


@pytest.mark.parametrize("value", ["YES", "TRUSTED_MODULES", "1"])
def test_python_in_rasters_is_never_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    made = make_raster(tmp_path / "scene.tif")
    monkeypatch.setenv("GDAL_VRT_ENABLE_PYTHON", value)
    with pytest.raises(ResourceError, match="unset it"), raster_env():
        pass
    with pytest.raises(ResourceError, match="unset it"):
        open_scene(made.path)
    monkeypatch.setenv("GDAL_VRT_ENABLE_PYTHON", "NO")
    assert len(open_scene(made.path).bands) == 3


@pytest.mark.parametrize(("text", "said"), [("none", "taken as"), ("-9999", "cannot occur"), ("0.5", "cannot occur")])
def test_a_nodata_tag_that_marks_nothing_is_said(tmp_path: Path, text: str, said: str) -> None:
    """GDAL would read "none" as 0, and here a fifth of the pixels would be lost."""
    pixels = make_pixels((40, 40), dtype="uint8")
    pixels[:, ::5] = 0
    path = tmp_path / "scene.tif"
    _write_nodata_text(path, pixels, text)
    scene = open_scene(path)
    assert any(said in note for note in scene.notes)
    assert read_all(scene)[1].all()


@pytest.mark.parametrize("text", ["0,5", "zero", "|1", "0 0"])
def test_a_nodata_tag_that_is_no_number_is_refused(tmp_path: Path, text: str) -> None:
    _write_nodata_text(tmp_path / "scene.tif", make_pixels((40, 40), dtype="uint8"), text)
    with pytest.raises(SceneError, match="nodata tag"):
        open_scene(tmp_path / "scene.tif")


def _write_nodata_text(path: Path, pixels: npt.NDArray[np.uint8], text: str) -> None:
    """A GeoTIFF whose GDAL_NODATA holds any text: written with a number, then changed."""
    make_raster(path, pixels=pixels)
    with rasterio.open(path, "r+") as dataset:
        dataset.nodata = 77
    content = path.read_bytes()
    tag = content.index((42113).to_bytes(2, "little") + (2).to_bytes(2, "little"))
    raw = text.encode() + b"\0"
    inline = raw.ljust(4, b"\0") if len(raw) <= 4 else len(content).to_bytes(4, "little")
    content = content[: tag + 4] + len(raw).to_bytes(4, "little") + inline + content[tag + 12 :]
    path.write_bytes(content + (raw if len(raw) > 4 else b""))
