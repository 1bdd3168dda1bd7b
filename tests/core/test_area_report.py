"""The area report: stable keys, nothing lost, honest about pixel counting, harmless in a spreadsheet."""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.core.area import PixelArea
from geoseg.core.area_report import CSV_COLUMNS, AreaReport
from geoseg.core.legend import LandClass, Legend
from geoseg.core.patch import MASKED, NODATA, NOT_PROCESSED, OUTSIDE_AOI
from geoseg.core.rule_effect import RuleEffect
from geoseg.core.tally import AreaTally, tally_labels
from geoseg.core.window import Window
from geoseg.core.zone_table import ZoneArea, ZoneTable
from geoseg.errors import ProductError

LEGEND = Legend(
    classes=(
        LandClass(id=0, name="other", color="#cccccc"),
        LandClass(id=1, name="forest", color="#006400"),
        LandClass(id=4, name="=water", color="#0000ff"),
    )
)


def report_of(labels: np.ndarray, grid: GeoBox, legend: Legend = LEGEND) -> AreaReport:
    area = PixelArea(grid)
    window = Window(row=0, col=0, height=labels.shape[0], width=labels.shape[1])
    return AreaReport.from_tally(tally_labels(labels, window, area), legend, grid, area, "scene.tif")


def mercator(labels: np.ndarray) -> GeoBox:
    return GeoBox(labels.shape, Affine(10, 0, 1e6, 0, -10, 8_399_737), "EPSG:3857")  # 60 degrees north


@pytest.fixture
def report() -> AreaReport:
    labels = np.full((20, 30), 1, np.uint8)
    labels[:5] = 0
    labels[5, :7] = (NODATA, NODATA, OUTSIDE_AOI, MASKED, NOT_PROCESSED, NOT_PROCESSED, NOT_PROCESSED)
    return report_of(labels, mercator(labels))


def test_json_has_the_stable_keys(report: AreaReport) -> None:
    content = json.loads(json.dumps(report.to_json()))
    assert set(content) == {
        *("schema", "scene", "crs", "method", "ellipsoid", "footprint_m2", "nodata_m2", "outside_aoi_m2"),
        *("masked_m2", "not_processed_m2", "classes", "definition", "rules", "zones", "nominal"),
    }
    assert content["scene"] == "scene.tif"
    assert content["crs"] == "EPSG:3857"
    assert content["method"] == "Jacobian nodes"
    assert content["ellipsoid"] == "WGS 84"
    assert content["zones"] == []
    for one in content["classes"]:
        assert list(one) == ["id", "name", "pixels", "area_m2", "area_ha", "share"]
        assert one["area_ha"] == one["area_m2"] / 1e4
    assert [one["pixels"] for one in content["classes"]] == [150, 443, 0]


def test_parts_sum_to_the_footprint(report: AreaReport) -> None:
    content = report.to_json()
    parts = [one["area_m2"] for one in content["classes"]]
    assert sum(one["share"] for one in content["classes"]) == pytest.approx(1, abs=1e-15)
    parts += [content["nodata_m2"], content["outside_aoi_m2"], content["not_processed_m2"]]
    parts += content["masked_m2"].values()
    assert content["nodata_m2"] == pytest.approx(2 * content["masked_m2"]["mask"], rel=1e-5)
    assert content["not_processed_m2"] == pytest.approx(3 * content["outside_aoi_m2"], rel=1e-5)
    assert math.fsum(parts) == pytest.approx(content["footprint_m2"], rel=1e-15)
    assert sum(report.tally.units.values()) * report.tally.unit_m2 == content["footprint_m2"]


def test_csv_has_every_row_and_no_formula(report: AreaReport) -> None:
    rows = list(csv.DictReader(io.StringIO(report.to_csv())))
    assert tuple(rows[0]) == CSV_COLUMNS
    names = ["other", "forest", "'=water", "nodata", "outside aoi", "masked", "not processed", "footprint"]
    assert [row["class"] for row in rows] == names
    assert sum(int(row["pixels"]) for row in rows[:-1]) == int(rows[-1]["pixels"]) == 600
    assert sum(float(row["area_m2"]) for row in rows[:-1]) == pytest.approx(float(rows[-1]["area_m2"]), abs=0.05)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", " ="])
def test_a_class_name_never_runs_in_a_spreadsheet(start: str) -> None:
    legend = Legend(classes=(LandClass(id=0, name=start + 'HYPERLINK("x")', color="#000000"),))
    labels = np.zeros((2, 2), np.uint8)
    text = report_of(labels, mercator(labels), legend).to_csv()
    assert next(csv.DictReader(io.StringIO(text)))["class"] == "'" + start + 'HYPERLINK("x")'


def test_pixel_counting_is_called_by_its_size(report: AreaReport) -> None:
    assert report.nominal_sentence.endswith("is 298.7 % larger")
    assert "298.7 % larger" in report.summary()
    labels = np.ones((4, 4), np.uint8)
    utm = report_of(labels, GeoBox((4, 4), Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32632"))
    assert utm.nominal_sentence.endswith("is 0.080 % smaller")
    laea = report_of(labels, GeoBox((4, 4), Affine(10, 0, 4e6, 0, -10, 3e6), "EPSG:3035"))
    assert laea.nominal_sentence.endswith("is the same to 0.0001 %")


def test_guadeloupe_is_told_that_its_forest_is_counted_8_3_percent_too_large(test_data: Path) -> None:
    with rasterio.open(test_data / "area_reference" / "guadeloupe_forest" / "forest_t3.tif") as file:
        labels, grid = file.read(1), GeoBox(file.shape, file.transform, file.crs)
    labels[labels == 0] = NODATA
    forest = report_of(labels, grid)
    assert "72,935.73" in forest.summary()
    assert forest.nominal_sentence.endswith("is 8.3 % larger")
    assert forest.to_json()["nominal"]["total_m2"] == 790_155_000


def test_a_map_of_nothing_has_a_report() -> None:
    labels = np.full((3, 3), NODATA, np.uint8)
    empty = report_of(labels, mercator(labels))
    assert [one.share for one in empty.classes] == [0, 0, 0]
    assert empty.to_json()["nodata_m2"] == empty.footprint_m2 > 0
    assert "nodata" in empty.summary()


def test_a_label_without_a_class_is_refused() -> None:
    labels = np.full((3, 3), 9, np.uint8)
    with pytest.raises(ProductError, match=r"label 9 is not in the legend .*name it"):
        report_of(labels, mercator(labels))


def test_nothing_counted_is_no_area() -> None:
    grid = GeoBox((2, 2), Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32632")
    report = AreaReport.from_tally(AreaTally.zero(), LEGEND, grid, PixelArea(grid), "scene.tif")
    assert report.footprint_m2 == 0
    assert report.to_json()["nominal"]["difference_percent"] == 0


def test_zones_have_rows_of_their_own(report: AreaReport) -> None:
    """A zone that reaches beyond the map, with a name that a spreadsheet would run."""
    north = ZoneArea(name="=north", area_m2={0: 4e4, 1: 5e4, NODATA: 1e4}, zone_m2=20e4)
    table = ZoneTable(source="d.gpkg", field="name", zones=(north,), overlap_m2=0, outside_m2=3e4, notes=("a note",))
    zoned = report.with_zones(table)
    [zone] = zoned.to_json()["zones"]
    assert (zone["zone"], zone["zone_m2"], zone["footprint_m2"]) == ("=north", 20e4, 10e4)
    assert zone["coverage_share"] == pytest.approx(0.45)
    assert zone["not_observed_m2"] == pytest.approx(11e4)
    assert [one["share"] for one in zone["classes"]] == pytest.approx([4 / 9, 5 / 9, 0])
    assert zoned.to_json()["zones_summary"]["outside_m2"] == 3e4
    rows = [row for row in csv.DictReader(io.StringIO(zoned.to_csv())) if row["zone"]]
    assert {row["zone"] for row in rows} == {"'=north"}
    assert [row["class"] for row in rows] == ["other", "forest", "'=water", "not observed", "zone"]
    areas = [float(row["area_m2"]) for row in rows]
    assert sum(areas[:-1]) == areas[-1] == 20e4
    assert "45.00%" in zoned.summary()
    assert "a note" in zoned.summary()


def test_rules_are_told_in_hectares_before_and_after(report: AreaReport) -> None:
    rule = RuleEffect(
        rule="patches below 0.5 ha",
        before_m2={0: 5e4, 1: 6e4},
        after_m2={0: 4e4, 1: 7e4},
        changed=2,
        undetermined=1,
        undetermined_m2={0: 1e3},
    )
    told = report.with_definition({"name": "FAO"}, (rule,))
    content = json.loads(json.dumps(told.to_json()))
    assert content["definition"] == {"name": "FAO"}
    [only] = content["rules"]
    assert (only["changed"], only["undetermined"]) == (2, 1)
    assert only["classes"][0] == {
        "id": 0, "name": "other", "before_m2": 5e4, "after_m2": 4e4, "undetermined_m2": 1e3
    }  # fmt: skip
    assert "forest: 6.00 ha before, 7.00 ha after" in told.summary()
