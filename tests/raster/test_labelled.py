"""Labels on a scene's grid: rasters of any grid by nearest, polygons by pixel centres; windows anywhere."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from geoseg.core.patch_source import IGNORE
from geoseg.core.window import Window
from geoseg.errors import InputError
from geoseg.raster.labelled import BLOCK, BlockStore, LabelledRaster
from geoseg.raster.labels import PolygonLabels, open_label_raster, values_in
from geoseg.raster.scene import open_scene
from tests.raster.factory import Made, make_raster

SHAPE = (700, 600)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_raster(tmp_path_factory.mktemp("scene") / "scene.tif", SHAPE, bands=4, nodata="value", seed=3)


def checker(shape: tuple[int, int]) -> Any:
    """Values 3, 7, 40 and 255 in squares of 25."""
    places = np.indices(shape) // 25
    return np.array([3, 7, 40, 255], np.uint8)[(places[0] + 2 * places[1]) % 4]


@pytest.fixture(scope="module")
def labelled(scene: Made, tmp_path_factory: pytest.TempPathFactory) -> LabelledRaster:
    file = tmp_path_factory.mktemp("labels") / "labels.tif"
    make_raster(file, pixels=checker(SHAPE)[None], transform=scene.transform)
    opened = open_scene(scene.path)
    labels = open_label_raster(file, opened.grid, remap={3: 0, 7: 1, 40: 2})
    return LabelledRaster(opened, labels, name="a", store=BlockStore(1))


@settings(max_examples=30)
@given(st.integers(-80, 700), st.integers(-80, 600), st.integers(1, 300), st.integers(1, 300))
def test_a_window_anywhere_is_the_files_own(
    labelled: LabelledRaster, scene: Made, row: int, col: int, height: int, width: int
) -> None:
    """Against the whole arrays, padded."""
    patch = labelled.read(Window(row=row, col=col, height=height, width=width))
    ids = np.select([checker(SHAPE) == one for one in (3, 7, 40)], [0, 1, 2], IGNORE)
    rows, cols = np.arange(row, row + height), np.arange(col, col + width)
    inside = ((rows >= 0) & (rows < 700))[:, None] & ((cols >= 0) & (cols < 600))[None]
    where = np.ix_(rows.clip(0, 699), cols.clip(0, 599))
    valid = scene.valid[where] & inside
    assert patch.pixels.dtype == np.uint16
    assert np.array_equal(patch.valid, valid)
    assert np.array_equal(patch.pixels * valid, np.stack([band[where] for band in scene.pixels]) * valid)
    assert np.array_equal(patch.labels, np.where(valid, ids[where], IGNORE))


def test_labels_of_another_crs_are_the_nearest_ones(scene: Made, tmp_path: Path) -> None:
    """Against pyproj: the label of each pixel's centre."""
    west, north = Transformer.from_crs(32633, 4326, always_xy=True).transform(*(scene.transform * (0, 0)))
    degrees = Affine.translation(west + 0.01, north - 0.01) * Affine.scale(0.0004, -0.0003)
    values = np.random.default_rng(0).integers(0, 5, (80, 90)).astype(np.int16)
    values[10:20, 10:20] = -3
    make_raster(tmp_path / "ids.tif", pixels=values[None], crs="EPSG:4326", transform=degrees)
    opened = open_scene(scene.path)
    source = open_label_raster(tmp_path / "ids.tif", opened.grid, remap={0: 0, 1: 1, 2: 2, 3: 3, 4: 4})
    found = LabelledRaster(opened, source, name="a", store=BlockStore()).labels(
        Window(row=0, col=0, height=700, width=600)
    )

    rows, cols = np.indices(SHAPE)
    a, b, c, d, e, f = tuple(scene.transform)[:6]
    xs, ys = a * (cols + 0.5) + b * (rows + 0.5) + c, d * (cols + 0.5) + e * (rows + 0.5) + f
    lons, lats = Transformer.from_crs(32633, 4326, always_xy=True).transform(xs, ys)
    their_cols, their_rows = (lons - degrees.c) / degrees.a, (lats - degrees.f) / degrees.e
    inside = (their_rows >= 0) & (their_rows < 80) & (their_cols >= 0) & (their_cols < 90)
    near = values[np.clip(their_rows, 0, 79).astype(int), np.clip(their_cols, 0, 89).astype(int)]
    expected = np.where(inside & (near >= 0), near, IGNORE)
    edge = np.abs(their_rows - np.rint(their_rows)) < 1e-3
    edge |= np.abs(their_cols - np.rint(their_cols)) < 1e-3
    assert inside.mean() > 0.1
    assert np.array_equal(found[~edge], expected[~edge])


def box(left: float, top: float, right: float, bottom: float) -> Any:
    ring = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return (left, top, right, bottom), {"type": "Polygon", "coordinates": [ring]}


def test_polygons_label_the_pixels_whose_centre_they_hold_and_none_where_two_classes_claim_one() -> None:
    labels = PolygonLabels(shapes={0: (box(2.4, 1, 6.6, 5), box(8, 8, 9, 9)), 4: (box(5, 3, 10, 7),)})
    found, twice = labels.burn(Window(row=0, col=0, height=10, width=10))
    expected = np.full((10, 10), IGNORE)
    expected[1:5, 2:7] = 0
    expected[3:7, 5:10] = 4
    expected[8, 8] = 0
    expected[3:5, 5:7] = IGNORE
    assert np.array_equal(found, expected)
    assert int(twice.sum()) == 4
    part = labels.burn(Window(row=2, col=4, height=5, width=3))[0]
    assert np.array_equal(part, expected[2:7, 4:7])


def test_a_closed_handle_pickles_and_reads_the_same(labelled: LabelledRaster) -> None:
    window = Window(row=480, col=490, height=64, width=64)
    before = labelled.read(window)
    data = pickle.dumps(labelled)
    again = pickle.loads(data)
    assert len(data) < 20_000
    for patch in (again.read(window), labelled.read(window)):
        assert np.array_equal(patch.pixels, before.pixels)
        assert np.array_equal(patch.labels, before.labels)


def test_scenes_share_what_they_may_hold(scene: Made, tmp_path: Path) -> None:
    """Blocks of at most so many bytes, files of at most so many scenes, whoever reads; pickled, they share it too."""
    make_raster(tmp_path / "ids.tif", pixels=checker(SHAPE)[None], transform=scene.transform)
    opened = open_scene(scene.path)
    labels = open_label_raster(tmp_path / "ids.tif", opened.grid, remap={3: 0})
    room = 3 * BLOCK * BLOCK * 9
    store = BlockStore(room, most_open=2)
    scenes = [LabelledRaster(opened, labels, name=str(k), store=store) for k in range(5)]
    whole = Window(row=0, col=0, height=700, width=600)
    first = scenes[0].read(whole)
    for rasters in (scenes, pickle.loads(pickle.dumps(scenes))):
        for one in rasters:
            assert np.array_equal(one.read(whole).pixels, first.pixels)
            assert one._store is rasters[0]._store
            assert 0 < one._store.used_bytes <= room
            assert one._store.open_count <= 2
        rasters[0]._store.clear()
        assert rasters[0]._store.open_count == 0


def test_what_is_no_raster_of_classes_is_refused(scene: Made, tmp_path: Path) -> None:
    grid = open_scene(scene.path).grid
    make_raster(tmp_path / "two.tif", (20, 20), bands=2, dtype="uint8")
    with pytest.raises(InputError, match="has 2 bands of uint8: labels are one band of whole numbers"):
        open_label_raster(tmp_path / "two.tif", grid, remap={})
    make_raster(tmp_path / "real.tif", (20, 20), bands=1, dtype="float32")
    with pytest.raises(InputError, match="1 bands of float32"):
        open_label_raster(tmp_path / "real.tif", grid, remap={})
    make_raster(tmp_path / "high.tif", pixels=np.full((1, 20, 20), 9, np.uint8), transform=scene.transform)
    source = LabelledRaster(
        open_scene(scene.path),
        open_label_raster(tmp_path / "high.tif", grid, remap={}, classes=3),
        name="a",
        store=BlockStore(),
    )
    with pytest.raises(InputError, match=r"high.tif holds the value 9, which is no class: give it one \(remap\)"):
        source.labels(Window(row=0, col=0, height=10, width=10))
    wide = np.arange(2000, dtype=np.uint16).reshape(1, 40, 50)
    make_raster(tmp_path / "wide.tif", pixels=wide, transform=scene.transform)
    with pytest.raises(InputError, match="holds over 1000 values: that is no raster of classes"):
        values_in(open_label_raster(tmp_path / "wide.tif", grid, remap={}))


def test_values_are_what_is_stored_where_it_is_observed(tmp_path: Path, scene: Made) -> None:
    values = np.array([[[1, 9, 9], [4, 255, 255]]], np.uint8)
    make_raster(tmp_path / "few.tif", pixels=values, transform=scene.transform)
    with rasterio.open(tmp_path / "few.tif", "r+") as file:
        file.nodata = 255
    labels = open_label_raster(tmp_path / "few.tif", open_scene(scene.path).grid, remap={})
    assert values_in(labels) == (1, 4, 9)
