"""The STAC item: a footprint that is right on the Earth, dates that do not pretend, checksums that fit."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import shapely
import shapely.geometry
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from geoseg.core.area import PixelArea
from geoseg.core.tally import AreaTally, tally_labels
from geoseg.core.window import Window
from geoseg.outcome import ProductFile, RunRecord
from geoseg.report.footprint import find_footprint
from geoseg.report.stac import make_item
from geoseg.workflows.product import read_product
from tests.report.products import GRID, a_legend, a_record, make_run

FILES = {"classes.tif": ProductFile(sha256="ab" * 32, bytes=12), "notes.txt": ProductFile(sha256="cd" * 32, bytes=1)}


def item_of(record: RunRecord, grid: GeoBox = GRID) -> dict[str, Any]:
    return make_item(record, grid, a_legend("other land", "forêt", "水"), FILES)


@given(west=st.floats(-180, 179), south=st.floats(-80, 70), size=st.floats(0.01, 8), turn=st.sampled_from([0, 1]))
def test_a_footprint_is_valid_wherever_it_lies(west: float, south: float, size: float, turn: int) -> None:
    """Pieces are valid, within the globe, counterclockwise, and add up to the grid's own size in degrees."""
    grid = GeoBox((50, 100), Affine(size / 100, 0, west + 360 * turn, 0, -size / 50, south + size), "EPSG:4326")
    found = find_footprint(grid)
    shape = shapely.geometry.shape(found.geometry)
    assert shape.is_valid
    assert shape.area == pytest.approx(size * size, rel=1e-4)
    lon_min, lat_min, lon_max, lat_max = shape.bounds
    assert -180 <= lon_min <= lon_max <= 180
    for piece in getattr(shape, "geoms", [shape]):
        assert shapely.is_ccw(piece.exterior)
    crosses = west + size > 180 + 1e-6
    assert (found.geometry["type"] == "MultiPolygon") == crosses or abs(west + size - 180) < 1e-4
    left, bottom, right, top = found.bbox
    assert (bottom, top) == pytest.approx((lat_min, lat_max), abs=1e-6)
    assert (right - left) % 360 == pytest.approx(size, abs=1e-5)


@pytest.mark.parametrize("west", [-180.0, 0.0, 100.0, -180.5])
def test_the_whole_earth_is_one_valid_box(west: float) -> None:
    """Pieces that meet where the grid begins would be an invalid MultiPolygon; latitudes end at the poles."""
    found = find_footprint(GeoBox((181, 360), Affine(1, 0, west, 0, -1, 90.5), "EPSG:4326"))
    shape = shapely.geometry.shape(found.geometry)
    assert shape.is_valid
    assert shape.equals(shapely.box(-180, -90, 180, 90))
    assert shapely.is_ccw(shape.exterior)
    assert found.bbox == (-180, -90, 180, 90)


def test_a_projected_grid_across_180_degrees() -> None:
    """The pieces' area on the ellipsoid is that of the grid's pixels; every corner is on the outline."""
    grid = GeoBox((100, 120), Affine(1000, 0, 700_000, 0, -1000, 5_000_000), "EPSG:32660")
    found = find_footprint(grid)
    shape = shapely.geometry.shape(found.geometry)
    assert found.geometry["type"] == "MultiPolygon"
    assert shape.is_valid
    assert found.bbox[0] > 0 > found.bbox[2]
    geodesic = sum(abs(Geod(ellps="WGS84").geometry_area_perimeter(piece)[0]) for piece in shape.geoms)
    assert geodesic == pytest.approx(_whole(grid), rel=1e-4)
    to_lonlat = Transformer.from_crs("EPSG:32660", "EPSG:4326", always_xy=True)
    for col, row in [(0, 0), (120, 0), (0, 100), (120, 100)]:
        lon, lat = to_lonlat.transform(700_000 + 1000 * col, 5_000_000 - 1000 * row)
        assert shape.boundary.distance(shapely.Point(lon, lat)) < 1e-5


def _whole(grid: GeoBox) -> float:
    height, width = grid.shape
    window = Window(row=0, col=0, height=height, width=width)
    tally: AreaTally = tally_labels(np.zeros((height, width), np.uint8), window, PixelArea(grid))
    return tally.area_m2()


def test_a_pole_is_inside() -> None:
    grid = GeoBox((100, 100), Affine(20_000, 0, -1e6, 0, -20_000, 1e6), "EPSG:3031")
    found = find_footprint(grid)
    shape = shapely.geometry.shape(found.geometry)
    assert shape.is_valid
    assert found.bbox == pytest.approx((-180, -90, 180, shape.bounds[3]))
    for lon in (-179.0, -90.0, 0.0, 45.0, 179.0):
        assert shape.contains(shapely.Point(lon, -89.0))
        assert not shape.contains(shapely.Point(lon, -70.0))


@pytest.mark.parametrize(
    ("acquired", "expected"),
    [
        ("2018-10-13T10:11:12Z", ("2018-10-13T10:11:12Z", None, None)),
        ("2018-10-13", (None, "2018-10-13T00:00:00Z", "2018-10-13T23:59:59Z")),
        (None, (None, "1972-07-23T00:00:00Z", "2026-01-02T03:05:06Z")),
    ],
)
def test_a_date_does_not_pretend(acquired: str | None, expected: tuple[str | None, ...]) -> None:
    """A moment, a day as its range, or all that is certain: between the first Landsat and the run."""
    found = item_of(a_record(acquired=acquired))["properties"]
    assert (found["datetime"], found.get("start_datetime"), found.get("end_datetime")) == expected


def test_an_item_is_read_back_and_says_what_was_made(tmp_path: Path) -> None:
    """pystac reads it; checksums are multihashes of the files; classes have allowed names and their own titles."""
    record = make_run(tmp_path / "out", legend=a_legend("other land", "forêt", "水"), platform="Sentinel-2B")
    files = read_product(tmp_path / "out").products
    document = json.loads(json.dumps(make_item(record, GRID, a_legend("other land", "forêt", "水"), files)))
    item = pystac.Item.from_dict(document)
    assert document["stac_version"] == "1.1.0"
    assert item.properties["proj:code"] == "EPSG:32633"
    assert item.properties["proj:transform"] == [10, 0, 500_000, 0, -10, 5_400_000]
    classes = item.assets["classes"].extra_fields
    content = (tmp_path / "out" / "classes.tif").read_bytes()
    assert classes["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
    assert classes["file:size"] == len(content)
    assert [one["title"] for one in classes["classification:classes"]] == ["other land", "forêt", "水"]
    assert [one["value"] for one in classes["classification:classes"]] == [0, 1, 2]
    assert all(one["name"].replace("-", "").replace("_", "").isalnum() for one in classes["classification:classes"])
    assert all(one["name"].isascii() for one in classes["classification:classes"])
    assert item.properties["platform"] == "sentinel-2b"
    (link,) = item.get_links("derived_from")
    assert link.extra_fields["mlm:name"] == record.bundle
    assert record.bundle_sha256 in str(link.target)
    assert set(item.assets) == {"classes", "confidence", "areas"}


@pytest.mark.parametrize("acquired", [None, "2018-10-13", "2018-10-13T10:11:12Z"])
def test_an_item_fits_the_schema(acquired: str | None) -> None:
    """The schemas that come with pystac; those of extensions would need a network."""
    jsonschema: Any = pytest.importorskip("jsonschema")
    referencing: Any = pytest.importorskip("referencing")
    from pystac.validation.local_validator import get_local_schema_cache

    schemas = get_local_schema_cache()
    known = [(uri, referencing.Resource.from_contents(one)) for uri, one in schemas.items()]
    (item_schema,) = (one for uri, one in schemas.items() if uri.endswith("/item.json"))
    validator = jsonschema.Draft7Validator(item_schema, registry=referencing.Registry().with_resources(known))
    dateline = GeoBox((100, 120), Affine(1000, 0, 700_000, 0, -1000, 5_000_000), "EPSG:32660")
    for grid in (GRID, dateline):
        document = item_of(a_record(acquired=acquired), grid)
        assert [one.message for one in validator.iter_errors(document)] == []
        broken = {**document, "geometry": None}
        assert list(validator.iter_errors(broken))
