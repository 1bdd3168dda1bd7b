"""Patches are what rasterio reads as a whole, and each block is decoded once per panel."""

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.core.window import Window
from geoseg.errors import SceneError
from geoseg.raster import openfile, safety
from geoseg.raster.scene import SceneOptions, SceneReader, open_scene
from tests.raster.factory import Layout, NodataKind, Orientation, make_pixels, make_raster

LAYOUTS = st.sampled_from(["tiled", "strips", "tall strips", "one strip"])
NODATA = st.sampled_from(["none", "value", "nan", "mask", "alpha", "msk"])


def tiles(height: int, *, left: int, right: int, side: int, step: int) -> list[Window]:
    """Row-major windows over all rows and the columns left … right - 1, reaching beyond both ends."""
    return [
        Window(row=row, col=col, height=side, width=side)
        for row in range(0, height, step)
        for col in range(left, right, step)
    ]


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 200), st.integers(1, 150)),
    layout=LAYOUTS,
    nodata=NODATA,
    orientation=st.sampled_from(["north", "south", "mirrored", "rotated", "oblong"]),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32", "float64"]),
    interleave=st.sampled_from(["pixel", "band"]),
    side=st.integers(1, 90),
    cut=st.integers(1, 150),
    seed=st.integers(0, 1000),
)
def test_patches_are_the_whole_image_cut_up(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int],
    layout: Layout,
    nodata: NodataKind,
    orientation: Orientation,
    dtype: str,
    interleave: str,
    side: int,
    cut: int,
    seed: int,
) -> None:
    if nodata == "nan" and not dtype.startswith("float"):
        nodata = "value"
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    kind: dict[str, Any] = {"nodata": nodata, "orientation": orientation, "layout": layout, "interleave": interleave}
    made = make_raster(path, shape, dtype=dtype, seed=seed, **kind)
    scene = open_scene(path).select(["band_1", "band_2", "band_3"])
    with rasterio.open(path) as dataset:
        whole = dataset.read([1, 2, 3])
    np.testing.assert_array_equal(whole, made.pixels)
    padded = np.pad(whole, ((0, 0), (0, 300), (0, 300)))
    observed = np.pad(made.valid, (0, 300))
    with SceneReader(scene) as reader:
        for left in range(0, shape[1], cut):
            right = min(left + cut, shape[1])
            reader.start_panel(left, right)
            for window in tiles(shape[0], left=left, right=right, side=side, step=max(side // 2, 1)):
                # inside a panel a window may pass the scene's last column, never the panel's
                if window.col_stop > right and right < shape[1]:
                    continue
                patch = reader.read(window)
                where = window.slices_in(Window(row=0, col=0, height=1, width=1))
                np.testing.assert_array_equal(patch.pixels, padded[(slice(None), *where)])
                np.testing.assert_array_equal(patch.valid, observed[where])
                assert patch.pixels.dtype == whole.dtype


@pytest.mark.parametrize("layout", ["tiled", "strips", "tall strips", "one strip"])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_each_block_is_decoded_once_in_a_panel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Layout, interleave: str
) -> None:
    made = make_raster(tmp_path / "scene.tif", (300, 200), layout=layout, interleave=interleave, nodata="value")
    counted: Counter[tuple[int, int, int]] = Counter()
    opened = safety.open_raster

    class Counting:
        """A dataset that counts the blocks each read touches."""

        def __init__(self, dataset: Any) -> None:
            self._dataset = dataset

        def __getattr__(self, name: str) -> Any:
            return getattr(self._dataset, name)

        def read(self, indexes: list[int], window: Any) -> Any:
            height, width = self._dataset.block_shapes[0]
            for index in indexes:
                for row in range(window.row_off // height, -(-(window.row_off + window.height) // height)):
                    for col in range(window.col_off // width, -(-(window.col_off + window.width) // width)):
                        counted[index, row, col] += 1
            return self._dataset.read(indexes, window=window)

    monkeypatch.setattr(openfile, "open_raster", lambda path, **how: Counting(opened(path, **how)))
    with SceneReader(open_scene(made.path)) as reader:
        reader.start_panel(40, 150)
        for window in tiles(300, left=40, right=100, side=50, step=20):
            reader.read(window)
    assert set(counted.values()) == {1}
    with rasterio.open(made.path) as dataset:
        height, width = dataset.block_shapes[0]
    assert {(row, col) for _, row, col in counted} == {
        (row, col) for row in range(-(-300 // height)) for col in range(40 // width, -(-150 // width))
    }


def test_without_a_panel_each_read_stands_on_its_own(tmp_path: Path) -> None:
    made = make_raster(tmp_path / "scene.tif", (120, 100), nodata="mask")
    with SceneReader(open_scene(made.path)) as reader:
        for row, col in [(90, 0), (0, 60), (50, 20), (119, 99)]:
            window = Window(row=row, col=col, height=1, width=1)
            patch = reader.read(window)
            np.testing.assert_array_equal(patch.pixels[:, 0, 0], made.pixels[:, row, col])
            assert patch.valid[0, 0] == made.valid[row, col]


def test_a_panel_keeps_its_promises(tmp_path: Path) -> None:
    made = make_raster(tmp_path / "scene.tif", (400, 100))
    with SceneReader(open_scene(made.path)) as reader:
        reader.start_panel(0, 50)
        reader.read(Window(row=300, col=0, height=10, width=10))
        with pytest.raises(ValueError, match="start a new panel"):
            reader.read(Window(row=0, col=0, height=10, width=10))
        with pytest.raises(ValueError, match="outside the panel"):
            reader.read(Window(row=300, col=45, height=10, width=10))


def test_memory_of_a_panel_does_not_grow_with_the_scene(tmp_path: Path) -> None:
    held = []
    for height in (600, 3000):
        made = make_raster(tmp_path / f"{height}.tif", (height, 64), bands=1, layout="tiled")
        with SceneReader(open_scene(made.path)) as reader:
            reader.start_panel(0, 64)
            most = 0
            for row in range(0, height, 100):
                reader.read(Window(row=row, col=0, height=128, width=64))
                most = max(most, sum(chunk[1].nbytes for rows in reader._rows for chunk in rows._chunks))
        held.append(most)
    assert held[0] == held[1] <= 64 * 2 * (128 + 2 * 128)


@pytest.mark.parametrize("layout", ["strips", "tall strips", "one strip"])
def test_memory_of_a_panel_does_not_grow_with_the_width_of_strips(tmp_path: Path, layout: Layout) -> None:
    held = []
    for width in (1024, 4096):
        made = make_raster(tmp_path / f"{width}.tif", (100, width), bands=1, layout=layout)
        with SceneReader(open_scene(made.path)) as reader:
            reader.start_panel(512, 1024)
            patch = reader.read(Window(row=0, col=600, height=100, width=300))
            held.append(sum(chunk[1].nbytes for rows in reader._rows for chunk in rows._chunks))
        assert np.array_equal(patch.pixels, made.pixels[:, :100, 600:900])
    assert held[0] == held[1]


def test_a_scene_is_a_small_handle(tmp_path: Path) -> None:
    folder = tmp_path / "scene"
    folder.mkdir()
    for number in range(1, 14):
        make_raster(folder / f"T33UWP_20200101T100031_B{number:02}_10m.tif", bands=1, seed=number)
    scene = open_scene(folder)
    assert len(scene.bands) == 13
    assert len(pickle.dumps(scene)) < 10_000
    again = pickle.loads(pickle.dumps(scene))
    assert again == scene
    with SceneReader(again.select(["red"])) as reader:
        assert reader.read(Window(row=0, col=0, height=5, width=5)).valid.all()


def test_a_damaged_block_is_named(tmp_path: Path) -> None:
    made = make_raster(tmp_path / "scene.tif", (300, 64), bands=1, compress="deflate")
    with rasterio.open(made.path) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_1_10", "TIFF", 1))
    with made.path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 16)
    with (
        SceneReader(open_scene(made.path)) as reader,
        pytest.raises(SceneError, match=r"scene\.tif: the block at rows 160-175, columns 32-63 cannot be read"),
    ):
        reader.read(Window(row=0, col=0, height=300, width=64))


def test_a_file_that_changed_since_is_refused(tmp_path: Path) -> None:
    made = make_raster(tmp_path / "scene.tif", bands=1)
    scene = open_scene(made.path)
    make_raster(made.path, (91, 70), bands=1)
    with pytest.raises(SceneError, match="changed"), SceneReader(scene):
        pass
    made.path.unlink()
    with pytest.raises(SceneError, match="no longer there"), SceneReader(scene):
        pass


def test_collar_needs_every_band_nodata_any(tmp_path: Path) -> None:
    pixels = make_pixels((40, 40), dtype="uint8")
    pixels[:, :10] = 255
    pixels[0, 20] = 255
    made = make_raster(tmp_path / "scene.tif", (40, 40), pixels=pixels)
    with SceneReader(open_scene(made.path, options=SceneOptions(collar=255))) as reader:
        valid = reader.read(Window(row=0, col=0, height=40, width=40)).valid
    assert not valid[:10].any()
    assert valid[10:].all()
    make_raster(made.path, (40, 40), pixels=pixels)
    with rasterio.open(made.path, "r+") as dataset:
        dataset.nodata = 255
    with SceneReader(open_scene(made.path)) as reader:
        valid = reader.read(Window(row=0, col=0, height=40, width=40)).valid
    assert not valid[:10].any()
    assert not valid[20].any()
    assert valid[30:].all()


def test_nan_and_infinity_are_not_observed(tmp_path: Path) -> None:
    pixels = make_pixels((8, 8), dtype="float32")
    pixels[0, 0, 0], pixels[1, 1, 1], pixels[2, 2, 2] = np.nan, np.inf, -np.inf
    made = make_raster(tmp_path / "scene.tif", (8, 8), pixels=pixels)
    with SceneReader(open_scene(made.path)) as reader:
        valid = reader.read(Window(row=0, col=0, height=8, width=8)).valid
    assert np.argwhere(~valid).tolist() == [[0, 0], [1, 1], [2, 2]]


def test_a_block_that_a_sparse_file_never_held_is_not_observed(tmp_path: Path) -> None:
    pixels = make_pixels((48, 64), bands=2)
    pixels[:, 16:32, 32:] = 0
    made = make_raster(tmp_path / "scene.tif", (48, 64), pixels=pixels, SPARSE_OK=True)
    with SceneReader(open_scene(made.path)) as reader:
        valid = reader.read(Window(row=0, col=0, height=48, width=64)).valid
    expected = np.ones((48, 64), bool)
    expected[16:32, 32:] = False
    np.testing.assert_array_equal(valid, expected)


def test_an_external_mask_excludes_where_it_is_zero_or_absent(tmp_path: Path) -> None:
    made = make_raster(tmp_path / "scene.tif", (80, 60))
    clear = np.ones((1, 40, 30), np.uint8)
    clear[0, 5:10, 3:9] = 0
    coarse = made.transform * rasterio.Affine.scale(2)
    mask = make_raster(tmp_path / "mask.tif", (40, 30), pixels=clear, transform=coarse)
    with SceneReader(open_scene(made.path, options=SceneOptions(mask=str(mask.path)))) as reader:
        valid = reader.read(Window(row=0, col=0, height=80, width=60)).valid
    np.testing.assert_array_equal(valid, clear[0].repeat(2, axis=0).repeat(2, axis=1) == 1)
    half = make_raster(tmp_path / "half.tif", (80, 30), pixels=np.ones((1, 80, 30), np.uint8))
    with SceneReader(open_scene(made.path, options=SceneOptions(mask=str(half.path)))) as reader:
        valid = reader.read(Window(row=0, col=0, height=80, width=60)).valid
    assert valid[:, :30].all()
    assert not valid[:, 30:].any()
