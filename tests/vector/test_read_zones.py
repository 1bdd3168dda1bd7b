"""Files of zones: every format, what names them, what is repaired, what is refused in one line."""

import json
import shutil
import sqlite3
import struct
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely

from geoseg.errors import InputError
from geoseg.vector.read import Zones, read_zones

BOXES = [shapely.box(k, 50, k + 1, 51) for k in range(3)]
BOW = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])


def write(path: Path, columns: dict[str, Sequence[Any]], geometries: Sequence[Any] = BOXES, **given: Any) -> Path:
    frame = geopandas.GeoDataFrame(columns, geometry=list(geometries), crs=given.pop("crs", 4326))
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path, **given)
    return path


def read(path: Path, **given: Any) -> Zones:
    return read_zones(path, **given)


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".geojson", ".shp", ".parquet"])
@pytest.mark.parametrize("crs", [4326, 32633])
def test_every_format_reads_back(tmp_path: Path, suffix: str, crs: int) -> None:
    zones = read(write(tmp_path / f"Zonen, große{suffix}", {"name": ["Ä", "東", "c"]}, crs=crs))
    assert dict(zip(zones.names, (one.bounds for one in zones.geometries), strict=True)) == {
        name: box.bounds for name, box in zip(["Ä", "東", "c"], BOXES, strict=True)
    }
    assert (zones.field, zones.crs.to_epsg(), zones.notes) == ("name", crs, ())
    assert zones.source == f"Zonen, große{suffix}"


@pytest.mark.parametrize("name", ["a:b.gpkg", "a#b?c%20d.gpkg", "GeoJSON:x.geojson", "zip!x.geojson"])
def test_a_file_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    made = write(tmp_path / f"plain{Path(name).suffix}", {"name": list("abc")})
    shutil.copy(made, tmp_path / name)
    assert read(tmp_path / name).names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("columns", "field", "names"),
    [
        ({"id": [7, 8, 9], "NAME": ["x", "y", "z"]}, "NAME", ("x", "y", "z")),
        ({"NAME_1": ["x", "x", "x"], "NAME_2": ["k", "l", "m"]}, "NAME_2", ("k", "l", "m")),
        ({"name": ["x", "y", "x"], "id": [7, 8, 9]}, "id", ("7", "8", "9")),
        ({"id": [7.0, 8.0, 9.5]}, "id", ("7", "8", "9.5")),
        ({"unit_name": ["x", "y", "z"], "area": [1, 2, 3]}, "unit_name", ("x", "y", "z")),
        ({"name": ["x", None, "z"]}, "name", ("x", "feature 1 (no name)", "z")),
        ({"name": ["x", "y\n\x1b[31m\u202ered", " <b>z</b> "]}, "name", ("x", "y [31m red", "<b>z</b>")),
        ({"area": [1.0, 2.0, 3.0]}, "fid", ("0", "1", "2")),
        ({"name": [None, None, None], "code": list("abc")}, "code", ("a", "b", "c")),
    ],
)
def test_zones_are_named_by_the_likeliest_column(
    tmp_path: Path, columns: dict[str, Sequence[Any]], field: str, names: tuple[str, ...]
) -> None:
    zones = read(write(tmp_path / "zones.fgb", columns, SPATIAL_INDEX="NO"))
    assert (zones.field, zones.names) == (field, names)


def test_a_column_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "zones.gpkg", {"name": list("abc"), "Bezirk (alt)": list("xyz")})
    assert read(path, field="bezirk (alt)").names == ("x", "y", "z")
    assert read(path, field="fid").names == ("1", "2", "3")
    with pytest.raises(InputError, match=r"has no column 'area': it has name, Bezirk \(alt\)$"):
        read(path, field="area")


def test_features_of_one_name_are_one_zone_where_the_column_was_named(tmp_path: Path) -> None:
    path = write(tmp_path / "zones.gpkg", {"name": ["a", "b", "a"]}, [BOXES[0], BOXES[2], BOXES[0].buffer(0.5)])
    zones = read(path, field="name")
    assert zones.names == ("a", "b")
    assert zones.geometries[0].equals(BOXES[0].buffer(0.5))
    assert zones.naming == ("features of one name are one zone: a",)


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (
            {"NAME_0": ["X"] * 3, "NAME_1": list("PPQ"), "NAME_2": ["San Juan", "Lima", "San Juan"]},
            ("P / San Juan", "Lima", "Q / San Juan"),
        ),
        (
            {"NAME_0": list("XXY"), "NAME_1": list("PPP"), "NAME_2": ["San Juan", "Lima", "San Juan"]},
            ("X / P / San Juan", "Lima", "Y / P / San Juan"),
        ),
        (
            {"NAME_1": list("PPP"), "NAME_2": ["San Juan", "Lima", "San Juan"]},
            ("P / San Juan (feature 0)", "Lima", "P / San Juan (feature 2)"),
        ),
        ({"name": ["a", "b", " a"]}, ("a (feature 0)", "b", "a (feature 2)")),
        (
            {"name": ["a", "a (feature 0)", "a"]},
            ("a (feature 0) (feature 0)", "a (feature 0) (feature 1)", "a (feature 2)"),
        ),
    ],
)
def test_features_of_one_name_are_told_apart_where_the_column_was_guessed(
    tmp_path: Path, columns: dict[str, Sequence[Any]], names: tuple[str, ...]
) -> None:
    """Two places may have one name: nothing is joined that the user did not ask for."""
    zones = read(write(tmp_path / "zones.fgb", columns, SPATIAL_INDEX="NO"))
    assert zones.names == names
    assert [one.bounds for one in zones.geometries] == [one.bounds for one in BOXES]
    (note,) = zones.naming
    assert "of 3 features share a name in column 'N" in note or "column 'name'" in note
    assert "told apart" in note
    assert "--zone-field" in note


def test_what_is_no_polygon_is_left_out_and_said(tmp_path: Path) -> None:
    drawn = [
        BOXES[0],
        None,
        shapely.Polygon(),
        shapely.Point(0, 0),
        shapely.Polygon([(0, 0), (1, 1), (2, 2)]),
        BOW,
        shapely.MultiPolygon([shapely.box(0, 0, 2, 2), shapely.box(1, 0, 3, 2)]),
    ]
    names = ["fine", "null", "empty", "point", "line", "bow", "twice"]
    zones = read(write(tmp_path / "zones.gpkg", {"name": names}, drawn))
    assert dict(zip(zones.names, (one.area for one in zones.geometries), strict=True)) == {
        "fine": 1,
        "bow": 2,
        "twice": 6,  # the part drawn twice is inside, not a hole
    }
    assert zones.notes == (
        "2 of 7 features with an outline that crosses itself or is otherwise invalid, repaired: bow, twice",
        "2 of 7 features without geometry, left out: null, empty",
        "1 of 7 features with a geometry that is no polygon, left out: point",
        "1 of 7 features with an outline without area or beyond repair, left out: line",
    )


def test_what_gdal_says_is_a_note(tmp_path: Path) -> None:
    """A ring that does not close is closed; one line, no warning."""
    ring = [[0, 0], [1, 0], [1, 1], [0, 1]]
    feature = {"type": "Feature", "properties": {"name": "a"}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    (tmp_path / "open.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    zones = read(tmp_path / "open.geojson")
    assert zones.geometries[0].area == 1
    assert zones.notes == ("open.geojson: Non closed ring detected",)


def test_a_circle_of_arcs_is_a_circle(tmp_path: Path) -> None:
    """A CURVEPOLYGON of two arcs; the option of the process is as it was."""
    points = [(-1000, 0), (0, 1000), (1000, 0), (0, -1000), (-1000, 0)]
    arcs = struct.pack("<BII", 1, 8, 5) + b"".join(struct.pack("<dd", *one) for one in points)
    wkb = np.array([struct.pack("<BII", 1, 10, 1) + arcs], object)
    pyogrio.raw.write(
        tmp_path / "zones.gpkg",
        wkb,
        [np.array(["circle"], object)],
        ["name"],
        crs="EPSG:32633",
        geometry_type="Unknown",
    )
    zones = read(tmp_path / "zones.gpkg")
    assert zones.geometries[0].area == pytest.approx(np.pi * 1e6, rel=2e-7)
    assert pyogrio.get_gdal_config_option("OGR_ARC_STEPSIZE") is None


def test_infinite_coordinates_are_left_out(tmp_path: Path) -> None:
    bad = shapely.Polygon([(0, 0), (1, float("inf")), (2, 0)])
    zones = read(write(tmp_path / "zones.fgb", {"name": ["a", "b"]}, [BOXES[0], bad], SPATIAL_INDEX="NO"))
    assert zones.names == ("a",)
    assert "beyond repair, left out: b" in zones.notes[0]


def test_a_shapefile_that_states_no_encoding(tmp_path: Path) -> None:
    """UTF-8 without a .cpg is no ISO-8859-1; real ISO-8859-1 is."""
    path = write(tmp_path / "zones.shp", {"name": ["Ärö", "b", "c"]})
    path.with_suffix(".cpg").unlink()
    assert read(path).names == ("Ärö", "b", "c")
    path = write(tmp_path / "latin.shp", {"name": ["Ärö", "b", "c"]}, encoding="ISO-8859-1")
    path.with_suffix(".cpg").unlink()
    assert read(path).names == ("Ärö", "b", "c")
    path.with_suffix(".cpg").write_text("UTF-8")
    assert read(path).names[1:] == ("b", "c")


def test_layers(tmp_path: Path) -> None:
    path = write(tmp_path / "zones.gpkg", {"name": list("abc")}, layer="districts")
    write(path, {"name": ["p"]}, [shapely.Point(0, 0)], layer="towns")
    assert read(path).names == ("a", "b", "c")
    write(path, {"name": list("xyz")}, layer="parks")
    with pytest.raises(InputError, match=r"has 2 layers of polygons, districts .*: name one"):
        read(path)
    assert read(path, layer="parks").names == ("x", "y", "z")
    with pytest.raises(InputError, match=r"has no layer 'roads': it has districts \(Polygon\), towns \(Point\)"):
        read(path, layer="roads")
    with pytest.raises(InputError, match="has no layer of polygons"):
        read(write(tmp_path / "towns.gpkg", {"name": ["p"]}, [shapely.Point(0, 0)]))
    with pytest.raises(InputError, match="has no layers: name none"):
        read(write(tmp_path / "zones.parquet", {"name": list("abc")}), layer="a")


ENDLESS = (
    "CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT zones.* FROM zones, n"
)


def alter(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as base, base:
        for one in statements:
            base.execute(one)
    return path


def list_as(name: str) -> list[str]:
    """A view beside the table "zones", as a layer."""
    return [
        f"INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) SELECT '{name}', 'features', '{name}', "
        "srs_id FROM gpkg_contents",
        f"INSERT INTO gpkg_geometry_columns SELECT '{name}', column_name, geometry_type_name, srs_id, z, m FROM "
        "gpkg_geometry_columns",
    ]


def test_a_view_is_refused_before_it_runs(tmp_path: Path) -> None:
    """Its query may never end; the table beside it is read."""
    path = alter(write(tmp_path / "zones.gpkg", {"name": list("abc")}), ENDLESS, *list_as("endless"))
    assert read(path, layer="zones").names == ("a", "b", "c")
    with pytest.raises(InputError, match="its layer 'endless' is a view, a query that may never end: export it"):
        read(path, layer="endless")
    alter(
        path, *(f"DELETE FROM {one} WHERE table_name = 'zones'" for one in ("gpkg_contents", "gpkg_geometry_columns"))
    )
    with pytest.raises(InputError, match="its layer 'endless' is a view"):
        read(path)


def test_a_list_of_layers_that_is_a_view_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "zones.gpkg", {"name": list("abc")})
    alter(path, "ALTER TABLE gpkg_contents RENAME TO c", "CREATE VIEW gpkg_contents AS SELECT * FROM c")
    with pytest.raises(InputError, match=r"zones\.gpkg lists its layers by a query: make it again"):
        read(path)


@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".shp", ".parquet"])
@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_no_crs_is_refused(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"zones{suffix}", {"name": list("abc")}, crs=None)
    with pytest.raises(InputError, match=rf"zones{suffix} has no CRS: assign the one it was drawn in with ogr2ogr"):
        read(path)


def test_a_crs_of_a_building_site_is_refused(tmp_path: Path) -> None:
    local = 'ENGCRS["site",EDATUM["site"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
    path = write(tmp_path / "zones.gpkg", {"name": list("abc")}, crs=local)
    with pytest.raises(InputError, match="its CRS has no place on the Earth"):
        read(path)


VRT = b'<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>b.gpkg</SrcDataSource></OGRVRTLayer></OGRVRTDataSource>'


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.gpkg", b"", "is no GeoPackage, FlatGeobuf, GeoJSON, GeoParquet or shapefile"),
        ("a.gpkg", VRT, "is no GeoPackage"),
        ("a.kml", b"<kml/>", "convert it with ogr2ogr -f GPKG"),
        ("a.csv", b"WKT,name\n", "is no GeoPackage"),
        ("a.zip", b"PK\x03\x04zones", "is a zip archive: unpack it"),
        ("a.gpkg", b"SQLite format 3\0" + bytes(200), "cannot be read"),
        ("a.fgb", b"fgb\x03fgb\0" + bytes(200), "has no layer of polygons"),
        ("a.shp", b"\0\0\x27\x0a" + bytes(200), "has no .shx beside it: copy all files of the shapefile"),
        ("a.parquet", b"PAR1" + bytes(200) + b"PAR1", "is damaged or no GeoParquet"),
        ("a.geojson", b'{"type": "gdal_streamed_alg", "command_line": "gdal vector ! read b"}', "cannot be read"),
        ("a.geojson", b'{"type": "Topology", "objects": {}, "arcs": []}', "cannot be read"),
        ("a.geojson", b'{"type": "FeatureCollection", "features": []}', "holds no polygon"),
        ("a.geojson", b'{"type": "FeatureColl', "cannot be read"),
        ("a.geojson", b"[" * 5000, "is no GeoPackage"),
        ("a.geojson", b'{"a":' * 5000, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(tmp_path / name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_geopackage_opens_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver is bound wherever the first bytes fit several."""
    opened = []
    read_info = pyogrio.read_info

    def spy(path: str, **given: Any) -> Any:
        opened.append(path.partition(":")[0])
        return read_info(path, **given)

    monkeypatch.setattr(pyogrio, "read_info", spy)
    for suffix in (".gpkg", ".geojson"):
        read(write(tmp_path / f"zones{suffix}", {"name": list("abc")}))
    assert opened == ["GPKG", "GeoJSON"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda geo: geo["columns"]["geometry"].update(encoding="point"), "holds geometry as 'point'"),
        (lambda geo: geo.pop("columns"), "is damaged or no GeoParquet"),
        (lambda geo: geo.update(primary_column="gone"), "is damaged or no GeoParquet"),
        (lambda geo: geo["columns"]["geometry"].update(crs={"type": "nonsense"}), "its CRS has no place"),
    ],
)
def test_geoparquet_that_is_not_as_it_says(tmp_path: Path, change: Any, words: str) -> None:
    from pyarrow import parquet

    path = write(tmp_path / "zones.parquet", {"name": list("abc")})
    table = parquet.read_table(path)
    geo = json.loads(table.schema.metadata[b"geo"])
    change(geo)
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    with pytest.raises(InputError, match=words):
        read(path)
    parquet.write_table(table.replace_schema_metadata({}), path)
    with pytest.raises(InputError, match="is Parquet without geometry"):
        read(path)


def test_geoparquet_without_a_crs_key_is_longitude_and_latitude(tmp_path: Path) -> None:
    from pyarrow import parquet

    path = write(tmp_path / "zones.parquet", {"name": list("abc")})
    table = parquet.read_table(path)
    geo = json.loads(table.schema.metadata[b"geo"])
    del geo["columns"]["geometry"]["crs"]
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    assert read(path).crs.is_geographic
