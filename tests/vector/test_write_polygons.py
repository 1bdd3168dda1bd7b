"""Files of polygons, read back by other programs."""

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as Xml

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyogrio
import pytest
import shapely
from odc.geo.geobox import GeoBox
from pyarrow import parquet
from pyproj import CRS

from geoseg.core.area import PixelArea
from geoseg.core.tally import tally_labels
from geoseg.core.window import Window
from geoseg.errors import GeosegError, InterruptedRun, ResourceError, SettingsError
from geoseg.vector.trace import PolygonBatch
from geoseg.vector.write import SUFFIXES, PolygonSummary, _Counter, write_polygons
from tests.vector.maps import LEGEND, Labels, trace, utm_grid

COLUMNS = ["class_id", "class", "area_m2", "perimeter_m", "component_id", "pixels"]


def make_map() -> Labels:
    return np.random.default_rng(11).choice(np.array([0, 1, 3, 255], np.uint8), (50, 60), p=[0.5, 0.3, 0.1, 0.1])


def write(path: Path, labels: Labels, grid: GeoBox | None = None) -> PolygonSummary:
    grid = grid or utm_grid(labels)
    batches = trace(labels, grid=grid)
    return write_polygons(path, batches, crs=str(grid.crs), legend=LEGEND, metadata={"pipeline": "abc"})


def read(path: Path) -> gpd.GeoDataFrame:
    if path.suffix == ".parquet":
        return gpd.read_parquet(path).rename_geometry("geometry")
    return gpd.read_file(path, layer="polygons" if path.suffix == ".gpkg" else None)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_programs_read_what_was_written(tmp_path: Path, suffix: str) -> None:
    labels = make_map()
    summary = write(tmp_path / f"polygons{suffix}", labels)
    table = read(tmp_path / f"polygons{suffix}")
    (batch,) = trace(labels)
    assert list(table.columns) == [*COLUMNS, "geometry"]
    table = table.set_index("component_id", drop=False).loc[batch.component_id]  # .fgb has an order of its own
    assert summary.count == len(table) == len(batch.geometries)
    assert table.component_id.tolist() == batch.component_id.tolist()
    assert table.class_id.tolist() == batch.class_id.tolist()
    assert table.pixels.tolist() == batch.pixels.tolist()
    assert table.area_m2.tolist() == pytest.approx(batch.area_m2.tolist(), rel=1e-12)
    assert table.perimeter_m.tolist() == pytest.approx(batch.perimeter_m.tolist(), rel=1e-12)
    assert set(table["class"]) == {"other", "forest", 'water & "ice" <open>'}
    assert table.is_valid.all()
    assert os.listdir(tmp_path) == [f"polygons{suffix}"]
    if suffix == ".geojson":
        assert table.crs.to_epsg() == 4326
        back = table.to_crs(32632)
        assert back.area.to_numpy() == pytest.approx(batch.pixels * 100.0, rel=1e-4)
    else:
        assert table.crs.to_epsg() == 32632
        assert shapely.equals_exact(table.geometry.to_numpy(), batch.geometries).all()
        assert table.area.to_numpy() == pytest.approx(batch.pixels * 100.0)


def test_the_summary_is_the_tally_of_the_map(tmp_path: Path) -> None:
    labels = make_map()
    summary = write(tmp_path / "polygons.fgb", labels)
    grid = utm_grid(labels)
    whole = tally_labels(labels, Window(row=0, col=0, height=50, width=60), PixelArea(grid))
    assert dict(summary.pixels) == {k: n for k, n in whole.pixels.items() if k < 200}
    assert dict(summary.tally.units) == {k: n for k, n in whole.units.items() if k < 200}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_polygons_are_a_file_that_opens(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"empty{suffix}"
    summary = write(path, np.full((4, 4), 255, np.uint8))
    assert summary.count == 0
    assert len(read(path)) == 0


def test_a_grid_without_epsg_keeps_its_crs(tmp_path: Path) -> None:
    labels = np.ones((4, 4), np.uint8)
    crs = "+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84 +units=m +no_defs"
    grid = GeoBox(labels.shape, utm_grid(labels).affine, crs)
    for suffix in (".gpkg", ".parquet", ".fgb"):
        write(tmp_path / f"polygons{suffix}", labels, grid)
        assert read(tmp_path / f"polygons{suffix}").crs.equals(CRS(str(grid.crs)))


def test_geopackage_carries_its_style(tmp_path: Path) -> None:
    path = tmp_path / "polygons.gpkg"
    write(path, make_map())
    assert {name for name, _ in pyogrio.list_layers(path)} == {"polygons", "layer_styles"}
    with closing(sqlite3.connect(path)) as package:
        table, geometry, default, qml = package.execute(
            "SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles"
        ).fetchone()
        assert (table, default) == ("polygons", 1)
        assert package.execute("SELECT column_name FROM gpkg_geometry_columns").fetchone() == (geometry,)
        assert package.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    root = Xml.fromstring(qml.partition("\n")[2])
    categories = {one.get("value"): one.get("label") for one in root.iter("category")}
    assert categories == {"0": "other", "1": "forest", "3": 'water & "ice" <open>', "199": "town"}
    symbols = {one.get("name"): one for one in root.iter("symbol")}
    colors = [option.get("value") for option in symbols["2"].iter("Option") if option.get("name") == "color"]
    assert colors == ["0,0,255,255"]


@pytest.mark.skipif(shutil.which("ogrinfo") is None, reason="ogrinfo (Debian gdal-bin) is not installed")
def test_ogrinfo_sees_layer_and_style(tmp_path: Path) -> None:
    path = tmp_path / "polygons.gpkg"
    summary = write(path, make_map())
    layers = subprocess.run(["ogrinfo", "-ro", "-so", path, "polygons"], capture_output=True, text=True, check=True)
    assert f"Feature Count: {summary.count}" in layers.stdout
    styles = subprocess.run(["ogrinfo", "-ro", path, "layer_styles"], capture_output=True, text=True, check=True)
    assert "categorizedSymbol" in styles.stdout
    assert not layers.stderr + styles.stderr


def test_geoparquet_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "polygons.parquet"
    write(path, make_map())
    metadata = parquet.read_metadata(path).metadata
    geo = json.loads(metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    column = geo["columns"][geo["primary_column"]]
    assert (column["encoding"], column["geometry_types"], column["orientation"]) == (
        "WKB",
        ["Polygon"],
        "counterclockwise",
    )
    assert column["bbox"] == [500_000, 4_999_500, 500_600, 5_000_000]
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32632}
    assert metadata[b"pipeline"] == b"abc"


def test_provenance_is_in_the_geopackage(tmp_path: Path) -> None:
    path = tmp_path / "polygons.gpkg"
    write(path, make_map())
    assert pyogrio.read_info(path, layer="polygons")["layer_metadata"] == {"pipeline": "abc"}


def test_geojson_is_rfc_7946(tmp_path: Path) -> None:
    path = tmp_path / "polygons.geojson"
    write(path, make_map())
    content = json.loads(path.read_text())
    assert "crs" not in content
    first = content["features"][0]["geometry"]["coordinates"][0]
    assert first[0] == pytest.approx([9.0, 45.1535], abs=1e-3)


@pytest.mark.parametrize("name", ["polygons.shp", "polygons", "polygons.gpkg.zip"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"suffix must be one of .*\.gpkg"):
        write(tmp_path / name, make_map())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "polygons.gpkg").write_bytes(b"mine")
    with pytest.raises(SettingsError, match="exists already"):
        write(tmp_path / "polygons.gpkg", make_map())
    assert (tmp_path / "polygons.gpkg").read_bytes() == b"mine"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_on_the_way_leaves_no_file(tmp_path: Path, suffix: str) -> None:
    """The error of the tracer itself arrives, not what GDAL or Arrow make of it."""
    grid = utm_grid(make_map())

    def failing() -> object:
        yield from trace(make_map())
        raise GeosegError("internal error: polygons and pixels disagree")

    with pytest.raises(GeosegError, match="polygons and pixels disagree") as caught:
        write_polygons(tmp_path / f"p{suffix}", failing(), crs=str(grid.crs), legend=LEGEND)  # type: ignore[arg-type]
    assert type(caught.value) is GeosegError
    assert os.listdir(tmp_path) == []


def test_a_signal_before_the_first_batch_is_recorded_with_its_type() -> None:
    """Python raises what is pending where it next runs: here, at the point where the tables wait to be asked."""
    schema = pa.schema([pa.field("pixels", pa.int64())])
    counter = _Counter(trace(make_map()), LEGEND)
    with pytest.raises(InterruptedRun):
        counter.tables(schema).throw(InterruptedRun("stopped by SIGTERM"))  # type: ignore[attr-defined]
    assert type(counter.error) is InterruptedRun


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interruption_on_the_way_stays_one(tmp_path: Path, suffix: str) -> None:
    grid = utm_grid(make_map())

    def stopped() -> Iterator[PolygonBatch]:
        yield from trace(make_map())
        raise InterruptedRun("stopped by SIGTERM")

    with pytest.raises(InterruptedRun, match="stopped by SIGTERM"):
        write_polygons(tmp_path / f"p{suffix}", stopped(), crs=str(grid.crs), legend=LEGEND)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_that_is_not_there_is_said(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ResourceError, match="cannot be written"):
        write(tmp_path / "no" / "such" / f"p{suffix}", make_map())
