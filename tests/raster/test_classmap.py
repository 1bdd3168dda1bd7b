"""The class map on disk: what is written is what is read, as a COG, or there is nothing."""

import json
import pickle
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rio_cogeo.cogeo import cog_validate

from geoseg.core.legend import LandClass, Legend
from geoseg.core.patch import LabelRows
from geoseg.core.window import Window
from geoseg.errors import GeosegError, ProductError, ResourceError, SceneError
from geoseg.raster import cog
from geoseg.raster.classmap import BLOCK, ClassMapWriter, read_classmap, read_rows
from tests.faults import run_with_fault

UTM = "EPSG:32632"
LEGEND = Legend(
    classes=(
        LandClass(id=0, name="water <&é>", color="#0000ff"),
        LandClass(id=3, name="forest", color="#00ff00"),
        LandClass(id=199, name="rock", color="#808080"),
    )
)
AFFINES = {
    "north up": Affine(10, 0, 500000, 0, -10, 5000000),
    "south up": Affine(10, 0, 500000, 0, 10, 5000000),
    "rotated": Affine.translation(500000, 5000000) * Affine.rotation(20) * Affine.scale(10, -7),
    "not square": Affine(0.1 + 0.2, 0, 500000.123456789, 0, -1 / 3, 5000000.987654321),
}
TWICE_ROUND = {"crs": "EPSG:4326", "transform": Affine(10, 0, -350, 0, -10, 20)}
"""70 columns of these are 700 degrees of longitude."""
MODIS = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"

Bytes = npt.NDArray[np.uint8]


def grid_of(height: int, width: int, affine: Affine = AFFINES["north up"], crs: str = UTM) -> GeoBox:
    return GeoBox((height, width), affine, crs)


def paint(height: int, width: int, seed: int = 0, side: int = 5) -> Bytes:
    """Labels in squares: classes, nodata and the three labels that become nodata."""
    choices = np.array([0, 3, 199, 252, 253, 254, 255], dtype=np.uint8)
    coarse = np.random.default_rng(seed).choice(choices, (height // side + 1, width // side + 1))
    return coarse.repeat(side, 0).repeat(side, 1)[:height, :width]


def surely(labels: Bytes, seed: int = 1) -> Bytes:
    values = np.random.default_rng(seed).integers(0, 101, labels.shape, dtype=np.uint8)
    return np.where(labels >= 252, np.uint8(255), values)


def panels(height: int, width: int, *, panel: int = 2, rows: int = 1) -> Iterator[Window]:
    """Column strips of `panel` blocks, each in bites of `rows` blocks."""
    for col in range(0, width, panel * BLOCK):
        for row in range(0, height, rows * BLOCK):
            yield Window(row=row, col=col, height=rows * BLOCK, width=panel * BLOCK).clip(height, width)


def bite(labels: Bytes, confidence: Bytes, window: Window) -> LabelRows:
    part = window.slices_in(Window(row=0, col=0, height=labels.shape[0], width=labels.shape[1]))
    return LabelRows(window=window, labels=labels[part], confidence=confidence[part])


def write(
    folder: Path,
    labels: Bytes,
    *,
    grid: GeoBox | None = None,
    panel: int = 2,
    rows: int = 1,
    confidence: bool = True,
    threads: int = 2,
) -> Path:
    grid = grid or grid_of(*labels.shape)
    sure = surely(labels)
    tags = {"GEOSEG_PIPELINE": "abc", "GEOSEG_SCENE": "scène <1>"}
    with ClassMapWriter(folder, grid=grid, legend=LEGEND, tags=tags, confidence=confidence, threads=threads) as out:
        for window in panels(*labels.shape, panel=panel, rows=rows):
            out.write(bite(labels, sure, window))
        out.finish()
    return folder / "classes.tif"


def as_stored(labels: Bytes) -> Bytes:
    return np.where(labels >= 252, np.uint8(255), labels)


def read_plain(path: Path) -> Any:
    with rasterio.open(path) as file:
        return file.read(1)


SHAPES = [
    (1, 1),
    (1, 2000),
    (500, 1),
    (2000, 3),
    (512, 512),
    (513, 512),
    (700, 300),
    (1100, 512),
    (2100, 1024),
    (1030, 2049),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("affine", AFFINES)
def test_what_is_written_is_read_as_a_valid_cog(tmp_path: Path, shape: tuple[int, int], affine: str) -> None:
    labels = paint(*shape)
    path = write(tmp_path, labels, grid=grid_of(*shape, affine=AFFINES[affine]))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["classes.tif", "confidence.tif"]
    np.testing.assert_array_equal(read_plain(path), as_stored(labels))
    np.testing.assert_array_equal(read_plain(tmp_path / "confidence.tif"), surely(labels))
    for name in ("classes.tif", "confidence.tif"):
        assert cog_validate(tmp_path / name, strict=True, quiet=True) == (True, [], [])
        with rasterio.open(tmp_path / name) as file:
            assert file.transform == AFFINES[affine]
            assert file.crs == rasterio.CRS.from_string(UTM)
            assert file.nodata == 255
            assert file.profile["compress"] == "zstd"


@settings(max_examples=25)
@given(
    height=st.integers(1, 1400),
    width=st.integers(1, 1400),
    panel=st.integers(1, 3),
    rows=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_pixels_do_not_depend_on_how_the_map_was_cut(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, panel: int, rows: int, seed: int
) -> None:
    labels = paint(height, width, seed, side=37)
    path = write(tmp_path_factory.mktemp("cut"), labels, panel=panel, rows=rows)
    np.testing.assert_array_equal(read_plain(path), as_stored(labels))
    np.testing.assert_array_equal(np.concatenate([one for _, one in read_rows(read_classmap(path))]), as_stored(labels))


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:3035", MODIS])
def test_a_map_is_read_with_its_grid_and_legend(tmp_path: Path, crs: str) -> None:
    affine = Affine(1e-4, 0, 7.1, 0, -1e-4, 46.3) if crs == "EPSG:4326" else AFFINES["rotated"]
    grid = grid_of(600, 700, affine=affine, crs=crs)
    found = read_classmap(write(tmp_path, paint(600, 700), grid=grid))
    assert found.legend == LEGEND
    assert found.nodata == 255
    assert found.grid.affine == affine
    assert rasterio.CRS.from_user_input(str(found.grid.crs)) == rasterio.CRS.from_user_input(crs)
    assert pickle.loads(pickle.dumps(found)) == found
    assert len(pickle.dumps(found)) < 10_000


def test_the_file_tells_its_colours_and_where_it_comes_from(tmp_path: Path) -> None:
    path = write(tmp_path, paint(600, 600))
    with rasterio.open(path) as file:
        assert {key: file.colormap(1)[key] for key in (0, 3, 199)} == {
            0: (0, 0, 255, 255),
            3: (0, 255, 0, 255),
            199: (128, 128, 128, 255),
        }
        assert file.tags()["GEOSEG_PIPELINE"] == "abc"
        assert file.tags()["GEOSEG_SCENE"] == "scène <1>"
        assert file.descriptions == ("class",)
    assert not list(tmp_path.glob("*.aux.xml"))


def test_overviews_show_the_commonest_class_and_the_mean_confidence(tmp_path: Path) -> None:
    """Blocks of 2 x 2 painted so that the winner is known and nodata never wins over a class."""
    cell = np.array([[[3, 3], [3, 0]], [[255, 255], [255, 199]], [[255, 255], [255, 255]]], dtype=np.uint8)
    sure = np.array([[[90, 70], [80, 40]], [[255, 255], [255, 60]], [[255] * 2] * 2], dtype=np.uint8)
    pick = np.random.default_rng(2).integers(0, 3, (300, 400))
    labels = cell[pick].transpose(0, 2, 1, 3).reshape(600, 800)
    confidence = sure[pick].transpose(0, 2, 1, 3).reshape(600, 800)
    grid = grid_of(600, 800)
    with ClassMapWriter(tmp_path, grid=grid, legend=LEGEND, tags={}, confidence=True, threads=1) as out:
        for window in panels(600, 800):
            out.write(bite(labels, confidence, window))
        assert out.histogram == {value: int((labels == value).sum()) for value in (0, 3, 199, 255)}
        out.finish()
    expected = {"classes.tif": [3, 199, 255], "confidence.tif": [70, 60, 255]}
    for name, values in expected.items():
        with rasterio.open(tmp_path / name, overview_level=0) as file:
            np.testing.assert_array_equal(file.read(1), np.array(values)[pick])


@pytest.mark.parametrize("value", [3, 255])
def test_a_map_of_one_value_works(tmp_path: Path, value: int) -> None:
    labels = np.full((1100, 1300), value, dtype=np.uint8)
    path = write(tmp_path, labels)
    assert cog_validate(path, strict=True, quiet=True)[0]
    np.testing.assert_array_equal(read_plain(path), labels)


def test_a_folder_without_confidence(tmp_path: Path) -> None:
    write(tmp_path, paint(10, 10), confidence=False)
    assert [one.name for one in tmp_path.iterdir()] == ["classes.tif"]


def test_each_block_is_written_exactly_once(tmp_path: Path) -> None:
    labels = paint(1100, 1100)
    sure = surely(labels)
    windows = list(panels(1100, 1100))

    def writer() -> ClassMapWriter:
        grid = grid_of(1100, 1100)
        return ClassMapWriter(tmp_path, grid=grid, legend=LEGEND, tags={}, confidence=True, threads=1)

    with writer() as out:
        out.write(bite(labels, sure, windows[0]))
        with pytest.raises(GeosegError, match="written before"):
            out.write(bite(labels, sure, windows[0]))
    with writer() as out:
        for window in windows[:-1]:
            out.write(bite(labels, sure, window))
        with pytest.raises(GeosegError, match="row 1024, column 1024 was never written"):
            out.finish()
    for place in ({"row": 1}, {"col": 16}, {"height": 500}, {"width": 511}):
        window = Window(**{"row": 0, "col": 0, "height": 512, "width": 512, **place})
        with pytest.raises(GeosegError, match="not of whole 512 px blocks"), writer() as out:
            out.write(bite(labels, sure, window))
    labels[0, 0] = 7
    with pytest.raises(GeosegError, match=r"label 7 .* not in the legend"), writer() as out:
        out.write(bite(labels, sure, windows[0]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["other value", "moved"])
def test_a_disk_that_gives_back_other_pixels_is_noticed(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = paint(600, 600)
    honest = cog.CogWriter._copy

    def copy(self: cog.CogWriter) -> None:
        with rasterio.open(self._part, "r+") as file:
            pixels = file.read(1)
            if damage == "other value":
                pixels[:5, :5] = 3 if pixels[0, 0] != 3 else 0
            else:
                pixels[100:500] = pixels[100:500][::-1].copy()
            file.write(pixels, 1)
        honest(self)

    monkeypatch.setattr(cog.CogWriter, "_copy", copy)
    words = "came back from" if damage == "other value" else "other pixels came back in the block at row 0, column 0"
    with pytest.raises(ResourceError, match=words):
        write(tmp_path, labels)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.alone
@pytest.mark.parametrize("limit", [200, 20_000, 300_000, 700_000])
def test_a_full_disk_is_one_line_that_names_the_folder(tmp_path: Path, limit: int) -> None:
    """A limit on file size stands for the full disk: writing fails at the start, in the middle or in the COG."""
    labels = np.random.default_rng(0).choice(np.array([0, 3, 199], dtype=np.uint8), (1400, 1400))

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            write(tmp_path, labels, threads=1)
        except ResourceError as error:
            text = str(error)
        assert str(tmp_path) in text
        assert "free space" in text
        assert "\n" not in text

    assert run_with_fault(fill, kill_at=None) == 0
    assert list(tmp_path.iterdir()) == []


def foreign(path: Path, pixels: Any, **profile: Any) -> Path:
    if pixels.ndim == 2:
        pixels = pixels[None]
    colors = profile.pop("colors", None)
    bands, height, width = pixels.shape
    profile = {"crs": UTM, "transform": AFFINES["north up"], **profile}
    with rasterio.open(
        path, "w", driver="GTiff", count=bands, height=height, width=width, dtype=pixels.dtype, **profile
    ) as file:
        file.write(pixels)
        if colors:
            file.write_colormap(1, colors)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint32"])
def test_a_map_of_another_tool_gets_a_class_for_each_value(tmp_path: Path, dtype: str) -> None:
    values = np.array([[1, 2, 0], [11, 95, 2]], dtype=dtype)
    found = read_classmap(foreign(tmp_path / "other.tif", values, nodata=0))
    assert [(one.id, one.name) for one in found.legend] == [(k, f"class {k}") for k in (1, 2, 11, 95)]
    assert len({one.color for one in found.legend}) == 4
    [(row, labels)] = read_rows(found)
    assert row == 0
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, np.where(values == 0, 255, values.astype(int)))


def test_nodata_legend_and_colours_of_a_map_of_another_tool(tmp_path: Path) -> None:
    values = np.array([[1, 2], [-9999, 2]], dtype=np.int16)
    path = foreign(tmp_path / "other.tif", values, nodata=-9999)
    assert read_classmap(path).legend.ids == (1, 2)
    legend = Legend(classes=tuple(LandClass(id=k, name=f"n{k}", color="#000000") for k in (1, 2)))
    assert read_classmap(path, legend=legend).legend == legend
    with pytest.raises(ProductError, match="holds value 2, which the legend does not name"):
        read_classmap(path, legend=Legend(classes=legend.classes[:1]))
    bare = foreign(tmp_path / "bare.tif", np.array([[0, 1], [9, 255]], dtype=np.uint8), colors={9: (1, 2, 3, 255)})
    found = read_classmap(bare, nodata=0)
    assert found.legend.ids == (1, 9)
    assert found.legend.classes[1].color == "#010203"
    np.testing.assert_array_equal(next(read_rows(found))[1], [[255, 1], [9, 255]])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16"])
def test_what_an_internal_mask_hides_is_no_class(tmp_path: Path, dtype: str) -> None:
    values = np.array([[1, 2], [125, 2]], dtype=dtype)
    seen = np.array([[True, True], [False, False]])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(foreign(tmp_path / "m.tif", values), "r+") as file:
        file.write_mask(seen)
    found = read_classmap(tmp_path / "m.tif")
    assert found.legend.ids == (1, 2)
    np.testing.assert_array_equal(next(read_rows(found))[1], [[1, 2], [255, 255]])


def test_a_legend_in_a_file_cannot_speak_to_the_terminal(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.tif", np.ones((2, 2), np.uint8))
    with rasterio.open(path, "r+") as file:
        file.update_tags(GEOSEG_LEGEND=json.dumps([{"id": 1, "name": "a\x1b]0;b\x07\nc", "color": "#000000"}]))
    assert read_classmap(path).legend.name_of(1) == "a ]0;b c"
    with rasterio.open(path, "r+") as file:
        file.update_tags(GEOSEG_LEGEND="[" * 100_000)
    with pytest.raises(ProductError, match="damaged GEOSEG_LEGEND"):
        read_classmap(path)


def test_a_mask_beside_a_map_is_never_dropped(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.tif", np.ones((2, 2), np.uint8))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(np.array([[True, False], [True, True]]))
    with pytest.raises(ProductError, match=r"m\.tif\.msk.*-dstnodata"):
        read_classmap(path)


@pytest.mark.parametrize(
    ("pixels", "profile", "words"),
    [
        (np.zeros((3, 4, 4), np.uint8), {}, "3 bands"),
        (np.zeros((4, 4), np.float32), {}, "float32"),
        (np.zeros((4, 4), np.uint8), {"crs": None}, "no georeference"),
        (np.full((4, 4), 200, np.uint8), {}, "value 200 at row 0, column 0"),
        (np.full((4, 4), -1, np.int16), {}, "value -1"),
        (np.full((4, 4), 300, np.int32), {}, "value 300"),
        (np.zeros((4, 4), np.uint8), {"transform": Affine(10, 10, 5, 10, 10, 5)}, "is singular, pixels have no area"),
        (np.zeros((4, 70), np.uint8), TWICE_ROUND, r"bad\.tif: it spans longitudes -350 to 350"),
        (np.zeros((4, 4), np.uint8), {"transform": Affine(1e7, 0, 5e5, 0, -1e7, 5e6)}, r"bad\.tif: .* off the Earth"),
    ],
)
def test_what_is_no_class_map_is_refused(tmp_path: Path, pixels: Any, profile: Any, words: str) -> None:
    with pytest.raises(ProductError, match=words):
        read_classmap(foreign(tmp_path / "bad.tif", pixels, **profile))


def test_a_damaged_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"does not exist|cannot be read"):
        read_classmap(tmp_path / "absent.tif")
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(SceneError, match="neither GeoTIFF"):
        read_classmap(tmp_path / "text.tif")
    path = write(tmp_path, np.random.default_rng(0).choice(np.array([0, 3], np.uint8), (1400, 1400)))
    path.write_bytes(path.read_bytes()[:-60_000])
    with pytest.raises((ProductError, SceneError), match=r"classes\.tif"):
        list(read_rows(read_classmap(path)))
    with rasterio.open(foreign(tmp_path / "tag.tif", np.zeros((4, 4), np.uint8)), "r+") as file:
        file.update_tags(GEOSEG_LEGEND='[{"id": 1}]')
    with pytest.raises(ProductError, match=r"tag\.tif has a damaged GEOSEG_LEGEND tag"):
        read_classmap(tmp_path / "tag.tif")
