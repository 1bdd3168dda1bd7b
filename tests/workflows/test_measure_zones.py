"""Zones of a file over a class map of a file: the figures of areas.json, and what is refused."""

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine

from geoseg.core.area import PixelArea
from geoseg.core.legend import LandClass, Legend
from geoseg.core.tally import AreaTally, tally_labels
from geoseg.core.window import Window
from geoseg.errors import GeosegError, InputError
from geoseg.raster.classmap import ClassMap, read_classmap, read_rows
from geoseg.workflows.zones import ZoneFile
from tests.raster.factory import make_raster

LEGEND = Legend(
    classes=(LandClass(id=0, name="open", color="#eeeeaa"), LandClass(id=1, name="tree cover", color="#005500"))
)
TRANSFORM = Affine(10, 0, 500_000, 0, -10, 5_400_000)


@pytest.fixture
def classmap(tmp_path: Path) -> ClassMap:
    values = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), (1, 700, 600))
    path = make_raster(tmp_path / "map.tif", pixels=values, crs="EPSG:32633", transform=TRANSFORM).path
    return read_classmap(path, legend=LEGEND)


def write(path: Path, names: list[Any], geometries: list[Any], crs: int = 32633) -> Path:
    geopandas.GeoDataFrame({"name": names}, geometry=geometries, crs=crs).to_file(path)
    return path


def test_halves_of_a_map_are_its_areas(classmap: ClassMap, tmp_path: Path) -> None:
    """What areas.json says of the whole is the sum of its zones; nodata in a zone is not observed."""
    left, right, bottom, top = 500_000, 506_000, 5_393_000, 5_400_000
    zones = write(
        tmp_path / "zones.gpkg",
        ["west <b>", "east"],
        [shapely.box(left, bottom, 503_003, top), shapely.box(503_003, bottom, right, top)],
    )
    table = ZoneFile(path=zones).read().measure(classmap)
    document = json.loads(json.dumps(table.to_json(LEGEND)))
    whole = _tally(classmap)
    assert [one["zone"] for one in document["zones"]] == ["west <b>", "east"]
    for k in (0, 1):
        found = sum(zone["classes"][k]["area_m2"] for zone in document["zones"])
        assert found == pytest.approx(whole.area_m2(k), rel=1e-9)
    not_observed = sum(zone["not_observed_m2"] for zone in document["zones"])
    assert not_observed == pytest.approx(whole.area_m2(255), rel=1e-9)
    assert document["zones_summary"] == {
        "source": "zones.gpkg",
        "field": "name",
        "overlap_m2": 0.0,
        "outside_m2": pytest.approx(0.0, abs=1e-9 * whole.area_m2()),
        "notes": [],
    }


def test_a_zone_half_on_the_map_is_half_covered(classmap: ClassMap, tmp_path: Path) -> None:
    zones = write(tmp_path / "zones.gpkg", ["half"], [shapely.box(503_000, 5_394_000, 509_000, 5_399_000)])
    (zone,) = ZoneFile(path=zones).read().measure(classmap).to_json(LEGEND)["zones"]
    assert zone["footprint_m2"] / zone["zone_m2"] == pytest.approx(0.5, rel=1e-5)
    assert zone["coverage_share"] == pytest.approx(0.5 * 2 / 3, abs=0.005)


def test_the_same_zones_in_another_crs(classmap: ClassMap, tmp_path: Path) -> None:
    box = shapely.segmentize(shapely.box(500_503, 5_393_333, 505_555, 5_399_111), 10)
    frame = geopandas.GeoDataFrame({"name": ["a"]}, geometry=[box], crs=32633)
    frame.to_file(tmp_path / "utm.gpkg")
    frame.to_crs(3035).to_parquet(tmp_path / "laea.parquet")
    first, second = (ZoneFile(path=tmp_path / name).read().measure(classmap) for name in ("utm.gpkg", "laea.parquet"))
    assert second.zones[0].area_m2 == pytest.approx(dict(first.zones[0].area_m2), rel=1e-7)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "zones: an empty path was given"),
        ("https://host/zones.gpkg", "zones: https://host/zones.gpkg is not a local file"),
        ("/vsizip/zones.zip", "is not a local file"),
        ("absent.gpkg", "does not exist"),
        (".", "is not a regular file: give a file of polygons"),
    ],
)
def test_what_is_no_local_file_is_refused(classmap: ClassMap, source: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        ZoneFile(path=source).read().measure(classmap)  # type: ignore[arg-type]  # Path would bend the text
    assert caught.value.exit_code == 2


def test_two_places_of_one_name_are_two_zones(classmap: ClassMap, tmp_path: Path) -> None:
    boxes = [shapely.box(500_000, 5_393_000, 501_000, 5_394_000), shapely.box(502_000, 5_393_000, 503_000, 5_394_000)]
    path = write(tmp_path / "zones.gpkg", ["San Juan", "San Juan"], boxes)
    guessed, named = (
        ZoneFile(path=path).read().measure(classmap),
        ZoneFile(path=path, field="name").read().measure(classmap),
    )
    assert [one.name for one in guessed.zones] == ["San Juan (feature 1)", "San Juan (feature 2)"]
    assert "2 of 2 features share a name in column 'name'" in guessed.notes[0]
    assert [one.name for one in named.zones] == ["San Juan"]
    assert named.notes == ("features of one name are one zone: San Juan",)
    assert sum(one.footprint_m2 for one in guessed.zones) == pytest.approx(named.zones[0].footprint_m2, rel=1e-9)


def test_a_damaged_block_is_said(classmap: ClassMap, tmp_path: Path) -> None:
    zones = write(tmp_path / "zones.gpkg", ["a"], [shapely.box(500_000, 5_393_000, 506_000, 5_400_000)])
    path = Path(classmap.path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(GeosegError, match=r"map\.tif"):
        ZoneFile(path=zones).read().measure(classmap)


def test_parts_of_a_real_park(test_data: Path) -> None:
    """Its 8 land cover classes; the park's outline is in UTM on GRS80, the raster in its own CRS."""
    folder = test_data / "zion_landsat8_nlcd"
    table = ZoneFile(path=folder / "zion.gpkg").read().measure(read_classmap(folder / "nlcd.tif"))
    (zone,) = table.zones
    assert zone.footprint_m2 == pytest.approx(zone.zone_m2, rel=1e-6)
    assert 550e6 < zone.zone_m2 < 650e6  # the park has 593 km2


def _tally(classmap: ClassMap) -> AreaTally:
    ((_, labels),) = read_rows(classmap, rows=700)
    return tally_labels(labels, Window(row=0, col=0, height=700, width=600), PixelArea(classmap.grid))
