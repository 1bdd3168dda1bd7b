"""A run that is to be defended: area of interest, definition, zones and report, all about the same final map."""

import json
import pickle
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely

from geoseg.core.patch import NODATA
from geoseg.pipeline import Pipeline
from geoseg.workflows.areas import AreaRequest, measure_areas
from geoseg.workflows.plan import Request, ScenePlan, plan_scene
from geoseg.workflows.segment import segment
from geoseg.workflows.zones import ZoneFile
from tests.cli.test_run import geoseg
from tests.model.bundles import tiny_bundle
from tests.workflows.test_segment import NORTH_UP, RGB, read, write_scene

DEFINITION = {
    "name": "drawn",
    "term": "wood",
    "source": "this test",
    "classes": [1],
    "min_area_m2": 20_000,
    "min_gap_area_m2": 10_000,
    "min_width_m": 30,
}


@pytest.fixture
def case(tmp_path: Path) -> Path:
    write_scene(tmp_path / "scene.tif")
    tiny_bundle(tmp_path / "bundle", bands=RGB)
    left, top = NORTH_UP * (0, 0)
    shape = shapely.box(left + 557, top - 2003, left + 3003, top - 337).difference(
        shapely.Point(left + 1500, top - 1000).buffer(303)
    )
    frame = geopandas.GeoDataFrame({"name": ["a & b"]}, geometry=[shape], crs="EPSG:32633")
    frame.to_crs(4326).to_file(tmp_path / "area.gpkg")
    return tmp_path


def plan_of(case: Path, *, definition: dict[str, Any] | None = None, **request: Any) -> ScenePlan:
    pipeline = Pipeline.model_validate(
        {
            "name": "test",
            "model": str(case / "bundle"),
            "definition": definition,
            "tiling": {"tile": 64, "margin": 0, "ramp": 16},
            "inference": {"engine": "torch-cpu", "precision": "fp32"},
        }
    )
    return plan_scene(Request(source=str(case / "scene.tif"), pipeline=pipeline, **request))


def test_an_area_of_interest_changes_nothing_inside_and_is_counted_outside(case: Path) -> None:
    """Its holes too; tiles that do not touch it are never read."""
    whole = segment(plan_of(case), case / "whole")
    part = segment(plan_of(case, aoi=case / "area.gpkg"), case / "part")
    every, inside = read(case / "whole/classes.tif"), read(case / "part/classes.tif")
    outline = geopandas.read_file(case / "area.gpkg").to_crs(32633).geometry[0]
    rows, cols = np.indices(every.shape)
    x, y = NORTH_UP * (cols + 0.5, rows + 0.5)
    wanted = shapely.contains_xy(outline, x, y)
    assert wanted.any()
    assert not wanted.all()
    np.testing.assert_array_equal(inside, np.where(wanted, every, NODATA))
    np.testing.assert_array_equal(
        read(case / "part/confidence.tif"), np.where(wanted, read(case / "whole/confidence.tif"), NODATA)
    )
    areas = part.report.to_json()
    assert areas["footprint_m2"] == whole.report.footprint_m2
    assert areas["outside_aoi_m2"] == pytest.approx(np.count_nonzero(~wanted) * 100, rel=3e-3)
    parts = [areas["nodata_m2"], areas["outside_aoi_m2"], *(one["area_m2"] for one in areas["classes"])]
    assert sum(parts) == pytest.approx(areas["footprint_m2"], rel=1e-12)
    assert part.record.job != whole.record.job
    assert part.record.aoi == "area.gpkg"


def test_everything_describes_the_final_map(case: Path) -> None:
    """Areas, polygons and zones of the map after the rules; what is no class is told apart as before them."""
    draft = segment(plan_of(case, aoi=case / "area.gpkg"), case / "draft")
    plan = plan_of(case, aoi=case / "area.gpkg", definition=DEFINITION, zones=ZoneFile(path=case / "area.gpkg"))
    final = segment(plan, case / "final")
    labels = read(case / "final/classes.tif")
    before = read(case / "draft/classes.tif")
    assert (labels != before).any()
    np.testing.assert_array_equal(labels == NODATA, before == NODATA)
    areas = json.loads((case / "final/areas.json").read_text())
    for one in areas["classes"]:
        assert one["pixels"] == np.count_nonzero(labels == one["id"])
    assert areas["outside_aoi_m2"] == draft.report.to_json()["outside_aoi_m2"] > 0
    confidence, percent = read(case / "draft/confidence.tif"), read(case / "final/confidence.tif")
    np.testing.assert_array_equal(percent, np.where(labels == before, confidence, NODATA))
    polygons = geopandas.read_file(case / "final/polygons.gpkg", layer="polygons")
    assert polygons["area_m2"].sum() == pytest.approx(sum(one["area_m2"] for one in areas["classes"]), rel=1e-12)
    rules = areas["rules"]
    assert rules[0]["classes"][1]["before_m2"] == draft.report.to_json()["classes"][1]["area_m2"]
    for one, after in zip(rules, [*rules[1:], None], strict=True):
        following = {k["id"]: k["before_m2"] for k in after["classes"]} if after else None
        for row in one["classes"]:
            assert row["after_m2"] == (following or {k["id"]: k["area_m2"] for k in areas["classes"]})[row["id"]]
    [zone] = areas["zones"]
    assert sum(one["area_m2"] for one in zone["classes"]) == pytest.approx(
        sum(one["area_m2"] for one in areas["classes"]), rel=0.02
    )
    assert not [one for one in (case / "final").iterdir() if one.is_dir()]
    assert final.record.pipeline["definition"]["name"] == "drawn"  # type: ignore[call-overload, index]


def test_a_run_and_its_parts_give_the_same_final_map(case: Path) -> None:
    """`geoseg area --definition` on the draft is what `geoseg run --definition` makes."""
    segment(plan_of(case), case / "draft")
    segment(plan_of(case, definition=DEFINITION), case / "final")
    definition = plan_of(case, definition=DEFINITION).pipeline.definition
    request = AreaRequest(source=str(case / "draft/classes.tif"), definition=definition, final_map=case / "brought.tif")
    measured = measure_areas(request)
    np.testing.assert_array_equal(read(case / "brought.tif"), read(case / "final/classes.tif"))
    areas = json.loads((case / "final/areas.json").read_text())
    assert measured.to_json()["rules"] == areas["rules"]
    assert measured.to_json()["classes"] == areas["classes"]


def outlines(case: Path, name: str, geometry: Any, crs: str = "EPSG:32633") -> ZoneFile:
    path = case / "zones.gpkg"
    path.unlink(missing_ok=True)
    geopandas.GeoDataFrame({"name": [name]}, geometry=[geometry], crs=crs).to_file(path)
    return ZoneFile(path=path)


@pytest.mark.parametrize("fate", ["deleted", "replaced"])
def test_the_zones_of_the_plan_are_measured_whatever_becomes_of_their_file(case: Path, fate: str) -> None:
    left, top = NORTH_UP * (0, 0)
    zones = outlines(case, "planned", shapely.box(left, top - 1000, left + 1000, top))
    plan = pickle.loads(pickle.dumps(plan_of(case, zones=zones)))
    zones.path.unlink()
    if fate == "replaced":
        outlines(case, "other", shapely.box(left, top - 2000, left + 1000, top))
    done = segment(plan, case / "out")
    [zone] = json.loads((case / "out/areas.json").read_text())["zones"]
    assert zone["zone"] == "planned"
    assert zone["footprint_m2"] == pytest.approx(1e6, rel=2e-3)  # UTM's scale on the ground
    assert done.record.job == plan.job


def test_the_plan_says_what_is_wrong_with_the_zones(case: Path) -> None:
    """What was repaired, what reaches beyond the scene; a file without one on it is refused."""
    left, top = NORTH_UP * (0, 0)
    bow = shapely.Polygon([(left, top), (left + 900, top - 900), (left + 900, top), (left, top - 900)])
    notes = plan_of(case, zones=outlines(case, "bow", bow)).notes
    assert any(one.startswith("zones: 1 of 1 features") and one.endswith("repaired: bow") for one in notes)
    notes = plan_of(case, zones=outlines(case, "half", shapely.box(left - 900, top - 900, left + 900, top))).notes
    assert "zones: 1 of 1 zones only in part on the map, measured there: half" in notes


@pytest.mark.parametrize(
    ("crs", "box", "why"),
    [
        ("EPSG:32633", (0, 0, 1000, 1000), "1 of 1 zones wholly outside the map, measured as 0: z"),
        ("EPSG:4326", (399_000, 5_000_000, 900_000, 6_000_000), "1 of 1 zones not on the Earth, left out: z"),
        ("EPSG:4326", (50, 13, 51, 14), "1 of 1 zones wholly outside the map, measured as 0: z"),
    ],
)
def test_zones_off_the_map_are_refused_before_a_pixel_is_read(
    case: Path, crs: str, box: tuple[float, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    zones = outlines(case, "z", shapely.box(*box), crs)
    assert geoseg("run", case / "scene.tif", case / "out", "--model", case / "bundle", "--zones", zones.path) == 2
    err = capsys.readouterr().err
    assert f"no zone of zones.gpkg lies on the map ({why}): is its CRS (W" in err
    assert err.endswith("Assign the one it was drawn in with ogr2ogr -a_srs\n")
    assert err.count("\n") == 1
    assert not (case / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--aoi", "absent.gpkg"], "absent.gpkg"),
        (["--zones", "scene.tif"], "scene.tif is no GeoPackage"),
        (["--zones", "area.gpkg", "--zone-field", "nam"], "no column 'nam'"),
        (["--definition", "fa"], "did you mean fao?"),
        (["--definition", "fao"], "class 'forest' is not in the map's legend"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_a_pixel_is_read(
    case: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(case)
    assert geoseg("run", "scene.tif", "out", "--model", "bundle", *words) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.slow
def test_a_shared_scene_ends_in_one_folder(test_data: Path, tmp_path: Path) -> None:
    """With zones, definition and report: every file is there, and zones add up to the map."""
    scene = test_data / "amazon_s2_forest/images/Amazon_408.tiff_5.tiff"
    with rasterio.open(scene) as file:
        (left, bottom, right, top), crs = file.bounds, file.crs
    middle = (left + right) / 2
    halves = [shapely.box(left, bottom, middle, top), shapely.box(middle, bottom, right, top)]
    geopandas.GeoDataFrame({"name": ["<West>", "East"]}, geometry=halves, crs=crs).to_file(tmp_path / "d.gpkg")
    words = ["--zones", tmp_path / "d.gpkg", "--definition", "fao", "--set-config", "threads=1", "--quiet"]
    assert geoseg("run", scene, tmp_path / "out", *words) == 0
    names = {one.name for one in (tmp_path / "out").iterdir() if not one.name.startswith(".")}
    assert names == {
        *("classes.tif", "confidence.tif", "polygons.gpkg", "areas.csv", "areas.json"),
        *("report.html", "classes.qml", "item.json", "run.json"),
    }
    areas = json.loads((tmp_path / "out/areas.json").read_text())
    for k, one in enumerate(areas["classes"]):
        zones = sum(zone["classes"][k]["area_m2"] for zone in areas["zones"])
        assert zones == pytest.approx(one["area_m2"], rel=1e-9)
    page = (tmp_path / "out/report.html").read_text()
    assert "&lt;West&gt;" in page
    assert "<West>" not in page
    item = json.loads((tmp_path / "out/item.json").read_text())
    assert {asset["href"] for asset in item["assets"].values()} == {
        f"./{name}" for name in names - {"run.json", "item.json", "report.html"}
    }
