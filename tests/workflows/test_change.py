"""Two maps compared as users do it: figures others can check, grids and legends reconciled, what is refused."""

import csv
import json
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.core.area import PixelArea
from geoseg.core.window import Window
from geoseg.errors import GeosegError, ProductError, SettingsError
from geoseg.raster.classmap import read_classmap
from geoseg.workflows.areas import AreaRequest, measure_areas
from geoseg.workflows.change import ChangeRequest, Compared, compare
from geoseg.workflows.product import read_product
from geoseg.workflows.zones import ZoneFile
from tests.raster.factory import make_raster

UTM = "EPSG:32633"
PLACE = Affine(10, 0, 500_000, 0, -10, 5_400_000)


def write_map(path: Path, labels: Any, transform: Affine = PLACE, crs: str = UTM, **options: Any) -> Path:
    values = np.asarray(labels, np.uint8)[None]
    return make_raster(path, pixels=values, transform=transform, crs=crs, **{"nodata": "none", **options}).path


def write_legend(path: Path, names: Mapping[int, str]) -> Path:
    path.write_text("".join(f"{key}: {name}\n" for key, name in names.items()))
    return path


@pytest.fixture
def forest(tmp_path: Path) -> Path:
    return write_legend(tmp_path / "legend.yaml", {0: "other", 1: "forest"})


@pytest.fixture
def maps(tmp_path: Path) -> tuple[Path, Path]:
    """4 stay forest, 2 are lost, 1 is gained, 3 stay other, 1 is unobserved first, 1 second."""
    one = [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 255, 0]]
    two = [[1, 1, 1, 1], [0, 0, 1, 0], [0, 0, 0, 255]]
    return write_map(tmp_path / "one.tif", one), write_map(tmp_path / "two.tif", two)


Compare = Callable[..., Compared]


@pytest.fixture
def compared(maps: tuple[Path, Path], forest: Path, tmp_path: Path) -> Compare:
    def run(**chosen: Any) -> Compared:
        request = {"first": str(maps[0]), "second": str(maps[1]), "legend1": forest, "legend2": forest}
        return compare(ChangeRequest(**{**request, **chosen}), tmp_path / "out")

    return run


def test_guadeloupe_lost_460_hectares_a_year(test_data: Path, forest: Path, tmp_path: Path) -> None:
    """METHODS: 460.09 ha a year of 2010 to 2020 where pixel counting was published as 498.375, 8.3 % more."""
    folder = test_data / "area_reference" / "guadeloupe_forest"
    request = ChangeRequest(
        first=str(folder / "forest_t2.tif"),
        second=str(folder / "forest_t3.tif"),
        legend1=forest,
        legend2=forest,
        date1=date(2010, 1, 1),
        date2=date(2020, 1, 1),
    )
    done = compare(request, tmp_path / "out")
    of = {one.name: one for one in done.report.table.classes}["forest"]
    assert done.report.table.years == 10
    assert f"{of.annual_ha(of.loss_m2):.2f}" == "460.09"
    assert of.gain_m2 == 0
    assert (f"{of.area1_m2 / 1e4:.2f}", f"{of.area2_m2 / 1e4:.2f}") == ("77536.63", "72935.73")
    assert of.annual_rate_percent == pytest.approx(100 * ((72935.73 / 77536.63) ** 0.1 - 1), abs=1e-5)
    nominal = json.loads((tmp_path / "out" / "change.json").read_text())["nominal"]
    assert nominal["sentence"].endswith("the nominal figure (pixel count x nominal pixel area) is 8.3 % larger")
    assert nominal["total_m2"] / 1e4 / 10 == pytest.approx(498.375)
    assert "8.3 % larger" in done.report.summary()


def test_every_square_metre_is_told(compared: Compare, tmp_path: Path) -> None:
    done = compared(years=2.0)
    out = tmp_path / "out"
    document = json.loads((out / "change.json").read_text())
    pixels = {(one["from_name"], one["to_name"]): one["pixels"] for one in document["transitions"]}
    assert pixels == {
        ("other", "other"): 3,
        ("other", "forest"): 1,
        ("forest", "other"): 2,
        ("forest", "forest"): 4,
    }
    total = sum(one["area_m2"] for one in document["transitions"]) + document["unobserved"]["total_m2"]
    grid = GeoBox((3, 4), PLACE, UTM)
    footprint = float(PixelArea(grid).of(Window(row=0, col=0, height=3, width=4)).sum())
    assert total == pytest.approx(footprint, rel=1e-12)
    assert document["footprint_m2"] == pytest.approx(footprint, rel=1e-12)
    rows = list(csv.DictReader((out / "change.csv").read_text().splitlines()))
    assert [(row["from"], row["to"], row["pixels"]) for row in rows[-5:]] == [
        ("unobserved", "observed", "1"),
        ("observed", "unobserved", "1"),
        ("unobserved", "unobserved", "0"),
        ("unobserved in either", "", "2"),
        ("footprint", "", "12"),
    ]
    lost = next(row for row in rows if (row["from"], row["to"]) == ("forest", "other"))
    assert float(lost["ha_per_year"]) == pytest.approx(float(lost["area_ha"]) / 2, abs=1e-4)
    assert {row["ha_per_year"] for row in rows if row["from"] == row["to"]} == {""}
    assert done.report.table.years == 2


def test_the_product_is_whole_and_the_change_map_is_a_class_map(compared: Compare, tmp_path: Path) -> None:
    done = compared()
    out = tmp_path / "out"
    record = read_product(out, checksums=True)
    assert record == done.record
    assert record.format == "geoseg change 1"
    assert record.change == json.loads((out / "change.json").read_text())
    assert set(record.products) == {"change.tif", "change.json", "change.csv", "polygons.gpkg"}
    with rasterio.open(out / "change.tif") as file:
        assert file.read(1).tolist() == [[1, 1, 1, 1], [2, 2, 3, 0], [0, 0, 255, 255]]
    areas = {one.name: one.pixels for one in measure_areas(AreaRequest(source=str(out / "change.tif"))).report.classes}
    assert areas == {"stable other": 3, "stable forest": 4, "forest loss": 2, "forest gain": 1}
    polygons = pyogrio.read_dataframe(out / "polygons.gpkg", layer="polygons")
    assert dict(zip(polygons["class"], polygons["pixels"], strict=True)) == {"forest loss": 2, "forest gain": 1}


def test_every_transition_of_many_classes_has_a_label(tmp_path: Path) -> None:
    """A map of values nobody named: each pair that occurs is a class of the change map, only changes are polygons."""
    first, second = np.random.default_rng(0).integers(0, 4, (2, 30, 20))
    one, two = write_map(tmp_path / "one.tif", first), write_map(tmp_path / "two.tif", second)
    compare(ChangeRequest(first=str(one), second=str(two)), tmp_path / "out")
    classmap = read_classmap(tmp_path / "out" / "change.tif")
    with rasterio.open(classmap.path) as file:
        labels = file.read(1)
    names = {one.id: one.name for one in classmap.legend}
    told = [[names[int(one)] for one in row] for row in labels]
    expected = [
        [f"stable class {a}" if a == b else f"class {a} to class {b}" for a, b in zip(*rows, strict=True)]
        for rows in zip(first, second, strict=True)
    ]
    assert told == expected
    polygons = pyogrio.read_dataframe(tmp_path / "out" / "polygons.gpkg", layer="polygons")
    assert polygons["pixels"].sum() == (first != second).sum()


def test_maps_that_agree_have_no_polygons(maps: tuple[Path, Path], forest: Path, tmp_path: Path) -> None:
    request = ChangeRequest(first=str(maps[0]), second=str(maps[0]), legend1=forest, legend2=forest)
    done = compare(request, tmp_path / "out")
    assert done.report.warnings[0] == "both maps are the same file: there can be no change"
    assert done.report.nominal_sentence == "nothing changed on the ground that both maps observe"
    assert len(pyogrio.read_dataframe(tmp_path / "out" / "polygons.gpkg", layer="polygons")) == 0


def test_ids_may_differ_where_names_agree(compared: Compare, maps: tuple[Path, Path], tmp_path: Path) -> None:
    """The second map numbers its classes otherwise; the figures are the same."""
    plain = compared()
    with rasterio.open(maps[1]) as file:
        labels = file.read(1)
    swapped = np.choose(np.minimum(labels, 2), [np.uint8(9), np.uint8(4), np.uint8(255)])
    other = write_map(tmp_path / "swapped.tif", swapped)
    legend = write_legend(tmp_path / "other.yaml", {9: "Other", 4: "Forest"})
    done = compare(
        ChangeRequest(
            first=str(maps[0]), second=str(other), legend1=tmp_path / "legend.yaml", legend2=legend, target="forest"
        ),
        tmp_path / "again",
    )
    assert done.report.table.pairs == plain.report.table.pairs
    assert any("matched by name: Forest, Other" in note for note in done.report.notes)


def test_a_class_in_one_map_only_is_said(maps: tuple[Path, Path], forest: Path, tmp_path: Path) -> None:
    legend = write_legend(tmp_path / "two.yaml", {0: "bare", 1: "forest"})
    done = compare(
        ChangeRequest(first=str(maps[0]), second=str(maps[1]), legend1=forest, legend2=legend), tmp_path / "o"
    )
    said = [one for one in done.report.warnings if "does not know it" in one]
    assert said == [
        "only one.tif has other; two.tif does not know it, so it can only be gained or lost",
        "only two.tif has bare; one.tif does not know it, so it can only be gained or lost",
    ]


class TestGrids:
    """Maps on two grids: refused, or the second read on the first."""

    def test_another_grid_is_refused_with_the_remedy(self, compared: Compare, tmp_path: Path) -> None:
        shifted = write_map(tmp_path / "shifted.tif", np.zeros((3, 4)), PLACE * Affine.translation(0, 0.5))
        with pytest.raises(ProductError, match=r"shifted.tif is not on the grid of one.tif .*--align nearest"):
            compared(second=str(shifted))
        assert not (tmp_path / "out").exists()

    def test_another_extent_of_the_same_pixels_is_cut_exactly(self, forest: Path, tmp_path: Path) -> None:
        labels = np.random.default_rng(1).integers(0, 2, (40, 50)).astype(np.uint8)
        one = write_map(tmp_path / "one.tif", labels)
        part = write_map(tmp_path / "part.tif", labels[5:30, 7:60], PLACE * Affine.translation(7, 5))
        request = ChangeRequest(first=str(one), second=str(part), legend1=forest, legend2=forest, align="nearest")
        table = compare(request, tmp_path / "out").report.table
        assert table.pixels(table.observed) == 25 * 43
        assert all(one.pixels == 0 for one in table.transitions if one.first != one.second)
        assert table.pixels(table.unobserved(first=False, second=True)) == 40 * 50 - 25 * 43
        warnings = json.loads((tmp_path / "out" / "change.json").read_text())["warnings"]
        assert any("nothing is resampled" in one for one in warnings)
        assert any("observed in both" in one for one in warnings)


class TestRefused:
    """Bad input: one line, nothing is left."""

    @pytest.mark.parametrize(
        ("chosen", "words"),
        [
            ({"years": 3.0, "date1": date(2000, 1, 1)}, "give one of them"),
            ({"years": -1.0}, "--years -1 is not between"),
            ({"years": float("nan")}, "--years nan is not between"),
            ({"date1": date(2020, 1, 1), "date2": date(2010, 1, 1)}, "name the earlier map first"),
            ({"date1": date(2020, 1, 1), "date2": date(2020, 1, 1)}, "name the earlier map first"),
            ({"target": "wood"}, "--class wood: the maps have other, forest"),
            ({"second": "absent.tif"}, "does not exist"),
        ],
    )
    def test_in_one_line(self, compared: Compare, tmp_path: Path, chosen: dict[str, Any], words: str) -> None:
        with pytest.raises(GeosegError, match=words) as caught:
            compared(**chosen)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()

    def test_maps_without_a_common_pixel(self, forest: Path, tmp_path: Path) -> None:
        one, two = (write_map(tmp_path / f"{k}.tif", labels) for k, labels in enumerate(([[1, 255]], [[255, 0]])))
        with pytest.raises(ProductError, match="no ground in common"):
            compare(ChangeRequest(first=str(one), second=str(two), legend1=forest, legend2=forest), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_value_without_a_class_never_passes_for_unobserved(self, compared: Compare, tmp_path: Path) -> None:
        """A legend tag that does not name a value of its map."""
        compared()
        with rasterio.open(tmp_path / "out" / "change.tif") as file:
            tags, profile = file.tags(), file.profile
        bad = write_map(tmp_path / "bad.tif", [[1, 1, 1, 1], [2, 2, 3, 0], [0, 0, 7, 255]])
        with rasterio.open(bad, "r+") as file:
            file.update_tags(GEOSEG_LEGEND=tags["GEOSEG_LEGEND"])
        assert profile["count"] == 1
        with pytest.raises(ProductError, match=r"bad.tif holds value 7, which its legend does not name"):
            compare(ChangeRequest(first=str(tmp_path / "out/change.tif"), second=str(bad)), tmp_path / "again")

    def test_a_folder_that_is_no_run(self, compared: Compare, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(ProductError, match="holds no finished product"):
            compared(first=str(tmp_path / "empty"))

    def test_a_change_is_no_map_of_a_date(self, compared: Compare, tmp_path: Path) -> None:
        compared()
        with pytest.raises(ProductError, match=r"out holds no classes.tif: give the folder of a geoseg run"):
            compare(ChangeRequest(first=str(tmp_path / "out"), second=str(tmp_path / "out")), tmp_path / "again")

    def test_a_folder_that_is_taken(self, compared: Compare) -> None:
        compared()
        with pytest.raises(ProductError, match="already holds a product"):
            compared()


def test_a_wrong_legend_is_a_setting(compared: Compare, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not a legend"):
        compared(legend1=write_legend(tmp_path / "bad.yaml", {300: "x"}))


def test_zones_say_what_the_matrix_says(compared: Compare, tmp_path: Path) -> None:
    """Two zones that part the map in the middle of its second column, and one far away."""
    left, top = PLACE * (0, 0)
    boxes = [(left, 15), (left + 15, 25), (left + 5000, 10)]
    shapes = [
        {"type": "Polygon", "coordinates": [[[x, top], [x + w, top], [x + w, top - 30], [x, top - 30], [x, top]]]}
        for x, w in boxes
    ]
    named = zip(("west", "east", "far"), shapes, strict=True)
    features = [{"type": "Feature", "properties": {"name": name}, "geometry": shape} for name, shape in named]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    zones = tmp_path / "zones.geojson"
    zones.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    done = compared(zones=ZoneFile(path=zones), years=4)
    document = json.loads((tmp_path / "out" / "change.json").read_text())
    pixel = document["footprint_m2"] / 12
    west, east, far = document["zones"]
    (of_west,), (of_east,) = west["classes"], east["classes"]
    assert [one["zone"] for one in (west, east, far)] == ["west", "east", "far"]
    # [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, -, 0]] became [[1, 1, 1, 1], [0, 0, 1, 0], [0, 0, 0, -]]
    figures = [("area1_m2", 3, 3), ("area2_m2", 1.5, 3.5), ("loss_m2", 1.5, 0.5), ("gain_m2", 0, 1)]
    for key, there, here in figures:
        assert of_west[key] == pytest.approx(there * pixel, rel=1e-6)
        assert of_east[key] == pytest.approx(here * pixel, rel=1e-6)
    assert of_west["annual_loss_ha"] == pytest.approx(1.5 * pixel / 1e4 / 4, rel=1e-6)
    assert [one["unobserved_m2"] for one in (west, east)] == pytest.approx([0, 2 * pixel], rel=1e-6, abs=1e-3)
    assert far["classes"][0]["area1_m2"] == 0
    assert "west: forest loss 0.0" in done.report.summary()


def test_bad_zones_are_noticed_before_the_work(compared: Compare, tmp_path: Path) -> None:
    with pytest.raises(GeosegError, match=r"absent\.gpkg"):
        compared(zones=ZoneFile(path=tmp_path / "absent.gpkg"))
    assert not (tmp_path / "out").exists()


def test_no_word_of_forest_that_nobody_said(tmp_path: Path) -> None:
    one, two = write_map(tmp_path / "one.tif", [[0, 1, 1]]), write_map(tmp_path / "two.tif", [[0, 0, 1]])
    done = compare(ChangeRequest(first=str(one), second=str(two)), tmp_path / "out")
    for text in ((tmp_path / "out/change.json").read_text(), (tmp_path / "out/change.csv").read_text()):
        assert "forest" not in text.lower()
    assert "forest" not in done.report.summary().lower()
    assert done.report.nominal_sentence.startswith("what changed is 0.01 ha")


def test_a_table_runs_no_formula(maps: tuple[Path, Path], tmp_path: Path) -> None:
    legend = write_legend(tmp_path / "hostile.yaml", {0: "'=cmd|x'", 1: "'@SUM(1)'"})
    request = ChangeRequest(first=str(maps[0]), second=str(maps[1]), legend1=legend, legend2=legend)
    compare(request, tmp_path / "out")
    rows = list(csv.reader((tmp_path / "out/change.csv").read_text().splitlines()))
    assert [row[1] for row in rows[1:3]] == ["'=cmd|x", "'=cmd|x"]
    assert not [cell for row in rows for cell in row if cell[:1] in tuple("=+-@")]


def test_numbers_without_names_are_not_trusted_in_silence(
    maps: tuple[Path, Path], forest: Path, tmp_path: Path
) -> None:
    """Class 1 of one map may be class 2 of the other, if nobody said what they are."""
    first, second = (str(one) for one in maps)
    unnamed = compare(ChangeRequest(first=first, second=second, years=1, nodata=255), tmp_path / "numbers")
    assert any("have no names: equal numbers were taken" in one for one in unnamed.report.warnings)
    named = ChangeRequest(first=first, second=second, years=1, legend1=forest, legend2=forest, nodata=255)
    assert not any("have no names" in one for one in compare(named, tmp_path / "named").report.warnings)
