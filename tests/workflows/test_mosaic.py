"""One map of many: each pixel as painted alone, read by GDAL and by geoseg; its area is that of the union."""

import json
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.core.claimed import RULES, Rule
from geoseg.errors import InputError, ProductError, SettingsError
from geoseg.raster.classmap import read_classmap
from geoseg.workflows.areas import AreaRequest, measure_areas
from geoseg.workflows.mosaic import MosaicRequest, make_mosaic
from geoseg.workflows.mosaic_grid import GridChoice
from geoseg.workflows.mosaic_input import KnownLayer
from geoseg.workflows.union import measure_union
from tests.workflows.stacks import LEGEND, PLACE, UTM, make_map, paint, random_labels, random_stack


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    rule=st.sampled_from(RULES),
    count=st.integers(1, 5),
    crs=st.sampled_from([UTM, "EPSG:4326"]),
)
def test_each_pixel_is_that_of_the_map_which_has_it(
    seed: int, rule: Rule, count: int, crs: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """COG and VRT alike, in the place that the maps say; and its areas are those of the union."""
    folder = tmp_path_factory.mktemp("mosaic")
    maps, painted = random_stack(folder, seed, count=count, crs=crs)
    ground = paint(painted, rule)
    made = make_mosaic(maps, folder / "mosaic.tif", MosaicRequest(rule=rule))
    assert made.resampled == 0
    top, left = min(row for row, _ in ground), min(col for _, col in ground)
    expected = np.full((max(row for row, _ in ground) - top + 1, max(col for _, col in ground) - left + 1), 255)
    for (row, col), label in ground.items():
        expected[row - top, col - left] = label
    files = [made.path]
    if rule != "confident":
        files.append(make_mosaic(maps, folder / "mosaic.vrt", MosaicRequest(rule=rule)).path)
    place = PLACE if crs == UTM else Affine(1e-4, 0, 14, 0, -1e-4, 48.5)
    for path in files:
        with rasterio.open(path) as file:
            assert np.array_equal(file.read(1), expected)
            assert file.transform.almost_equals(place * Affine.translation(left, top), 1e-9)
            assert (file.crs, file.nodata, file.dtypes) == (rasterio.CRS.from_string(crs), 255, ("uint8",))
            assert file.colormap(1)[3] == (0, 255, 0, 255)
            assert "forest" in file.tags()["GEOSEG_LEGEND"]
    areas = measure_areas(AreaRequest(source=str(made.path))).report
    union = measure_union(maps, rule)
    counts = Counter(ground.values())
    assert {one.id: one.pixels for one in areas.classes} == union.pixels == {0: counts[0], 3: counts[3]}
    for one in areas.classes:  # areas of pixels are interpolated between nodes that begin at each map's origin
        assert one.area_m2 == pytest.approx(union.area_m2[one.id], rel=3e-7)


def test_it_is_a_cog_that_geoseg_reads(tmp_path: Path) -> None:
    """Blocks of several panels and overviews; the legend and the provenance are with it."""
    rng = np.random.default_rng(2)
    maps = []
    for k, col in enumerate((0, 900, 4000)):
        grid = GeoBox((700, 1100), PLACE * Affine.translation(col, 300 * k), UTM)
        maps.append(make_map(tmp_path / str(k), *random_labels(rng, (700, 1100)), grid, acquired=f"2020-01-0{k + 1}"))
    maps[1] = replace(maps[1], sha256="ab" * 32)
    made = make_mosaic(maps, tmp_path / "mosaic.tif", MosaicRequest(rule="latest"))
    classmap = read_classmap(made.path)
    assert (classmap.legend, classmap.named, tuple(classmap.grid.shape)) == (LEGEND, True, (1300, 5100))
    with rasterio.open(made.path) as file:
        assert file.overviews(1)
        whole = file.read(1)
        assert (file.tags()["GEOSEG_MOSAIC_RULE"], file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"]) == ("latest", "COG")
    with rasterio.open(maps[2].layer.classmap.path) as file:
        assert np.array_equal(whole[600:1300, 4000:5100][file.read(1) != 255], file.read(1)[file.read(1) != 255])
    document = json.loads((tmp_path / "mosaic.tif.json").read_text())
    assert [one["name"] for one in document["maps"]] == ["2", "1", "0"]
    assert (document["maps"][1]["sha256"], document["width"], document["schema"]) == (
        "ab" * 32,
        5100,
        "geoseg/mosaic/1",
    )
    left = {one.name for one in tmp_path.iterdir()}
    assert left == {"0", "1", "2", "mosaic.tif", "mosaic.tif.json"}


def test_a_vrt_moves_with_its_maps(tmp_path: Path) -> None:
    """Its paths are relative to itself; GDAL's own tools open it."""
    (tmp_path / "before" / "maps & <more>").mkdir(parents=True)
    maps, painted = random_stack(tmp_path / "before" / "maps & <more>", 11, count=4)
    make_mosaic(maps, tmp_path / "before" / "all.vrt", MosaicRequest())
    (tmp_path / "before").rename(tmp_path / "after")
    moved = tmp_path / "after" / "all.vrt"
    assert str(tmp_path) not in moved.read_text()
    counts = Counter(paint(painted, "first").values())
    with rasterio.open(moved) as file:
        assert (int((file.read(1) == 0).sum()), int((file.read(1) == 3).sum())) == (counts[0], counts[3])
    if which("gdalinfo"):
        done = subprocess.run(["gdalinfo", "-checksum", str(moved)], capture_output=True, text=True, check=True)
        assert "Color Table" in done.stdout
        assert "ERROR" not in done.stderr


def test_maps_of_other_grids_are_read_at_the_centres_of_a_chosen_one(tmp_path: Path) -> None:
    """Each pixel of the mosaic asks the maps one by one; the maps are of two zones, the grid of neither or of one."""
    rng = np.random.default_rng(7)
    looked, maps = [], []
    for k, crs in enumerate(("EPSG:32632", "EPSG:32633")):
        x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(11.999 + 0.002 * k, 48.001)
        labels, confidence = random_labels(rng, (30, 40))
        grid = GeoBox(labels.shape, Affine(10, 0, x, 0, -10, y), crs)
        maps.append(make_map(tmp_path / str(k), labels, confidence, grid))
        looked.append((labels, grid, crs))
    choices = [GridChoice(target="EPSG:3035", res=9.0), GridChoice(target=str(tmp_path / "1" / "classes.tif"))]
    for k, choice in enumerate(choices):
        made = make_mosaic(maps, tmp_path / f"mosaic{k}.tif", MosaicRequest(grid=choice))
        assert made.resampled == 2 - k
        with rasterio.open(made.path) as file:
            got, transform, crs = file.read(1), file.transform, str(file.crs)
        if k == 0:
            assert (transform.c % 9, transform.f % 9, transform.a) == (0, 0, 9)
        rows, cols = np.indices(got.shape) + 0.5
        xs, ys = transform * (cols, rows)
        expected = np.full(got.shape, 255, np.uint8)
        doubtful = np.zeros(got.shape, bool)
        for labels, grid, own in reversed(looked):
            col, row = ~grid.affine * Transformer.from_crs(crs, own, always_xy=True).transform(xs, ys)
            inside = (row >= 0) & (row < 30) & (col >= 0) & (col < 40)
            label = labels[np.where(inside, row, 0).astype(int), np.where(inside, col, 0).astype(int)]
            expected = np.where(inside & (label != 255), label, expected).astype(np.uint8)
            doubtful |= (np.abs(row - np.rint(row)) < 1e-5) | (np.abs(col - np.rint(col)) < 1e-5)
        assert np.array_equal(got[~doubtful], expected[~doubtful])
        assert doubtful.mean() < 0.01
        assert (got[[0, 1, -2, -1]] != 255).any()
        assert (got[:, [0, 1, -2, -1]] != 255).any()
        share = (got != 255).sum() / sum((labels != 255).sum() for labels, _, _ in looked)
        assert share > 0.5


def test_zones_on_both_sides_of_the_antimeridian_make_a_narrow_map(tmp_path: Path) -> None:
    maps = []
    for k, (crs, lon) in enumerate((("EPSG:32660", 179.99), ("EPSG:32601", -179.997))):
        x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, 10)
        labels = np.full((40, 60), 3 * k, np.uint8)
        maps.append(make_map(tmp_path / str(k), labels, labels, GeoBox(labels.shape, Affine(10, 0, x, 0, -10, y), crs)))
    choice = GridChoice(target="EPSG:4326", res=1e-4)
    made = make_mosaic(maps, tmp_path / "mosaic.tif", MosaicRequest(grid=choice))
    assert made.grid.shape[1] < 220
    areas = measure_areas(AreaRequest(source=str(made.path))).report
    assert [one.area_m2 for one in areas.classes] == pytest.approx([240_000] * 2, rel=0.02)


def test_what_cannot_be_one_map_is_refused(tmp_path: Path) -> None:
    """In one line, and nothing is left."""
    rng = np.random.default_rng(1)
    grid = GeoBox((20, 20), PLACE, UTM)
    one = make_map(tmp_path / "one", *random_labels(rng, (20, 20)), grid)
    half = make_map(
        tmp_path / "half", *random_labels(rng, (20, 20)), GeoBox((20, 20), PLACE * Affine.translation(0.5, 0), UTM)
    )
    water = replace(one.layer.classmap.legend.classes[0], name="water")
    legend = replace(LEGEND, classes=(water, LEGEND.classes[1]))
    renamed = replace(one, layer=replace(one.layer, classmap=replace(one.layer.classmap, legend=legend)))
    (tmp_path / "taken.tif").write_text("here")
    before = sorted(path.name for path in tmp_path.iterdir())
    cases: list[tuple[list[KnownLayer], str, MosaicRequest, str]] = [
        ([one, half], "x.tif", MosaicRequest(), "half is not on the lattice of one .*choose a grid"),
        ([one, renamed], "x.tif", MosaicRequest(), "other classes .0 water, 3 forest. than one"),
        ([one], "x.vrt", MosaicRequest(rule="confident"), "a VRT cannot choose by confidence"),
        ([one], "x.vrt", MosaicRequest(grid=GridChoice(target=UTM, res=10)), "a VRT resamples nothing"),
        ([one], "x.png", MosaicRequest(), "suffix .png is not one of .tif, .vrt"),
        ([one], "taken.tif", MosaicRequest(), "already exists"),
        ([one], "one/classes.tif", MosaicRequest(overwrite=True), "is read to make it"),
        ([one], "x.tif", MosaicRequest(grid=GridChoice(target="EPSG:3035")), "needs --res"),
        (
            [one],
            "x.tif",
            MosaicRequest(grid=GridChoice(target="no such thing", res=1)),
            "neither a class map nor a CRS",
        ),
    ]
    for maps, name, request, words in cases:
        with pytest.raises(InputError, match=words) as refused:
            make_mosaic(maps, tmp_path / name, request)
        assert "\n" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    with pytest.raises(SettingsError, match="larger --res"):
        make_mosaic([one], tmp_path / "x.tif", MosaicRequest(grid=GridChoice(target=UTM, res=1e-8)))


def test_a_block_that_cannot_be_read_names_its_map(tmp_path: Path) -> None:
    """And leaves neither a mosaic nor what it was made of."""
    maps, _ = random_stack(tmp_path, 3, count=2)
    path = Path(maps[1].layer.classmap.path)
    with rasterio.open(path) as file:
        offset, size = (int(file.get_tag_item(f"BLOCK_{key}_0_0", "TIFF", bidx=1)) for key in ("OFFSET", "SIZE"))
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = bytes(size)
    path.write_bytes(content)
    before = sorted(one.name for one in tmp_path.iterdir())
    with pytest.raises(ProductError, match=r"^1: classes\.tif is damaged in rows 0 to \d+ .*: make it again$"):
        make_mosaic(maps, tmp_path / "x.tif", MosaicRequest(rule="confident"))
    assert sorted(one.name for one in tmp_path.iterdir()) == before
