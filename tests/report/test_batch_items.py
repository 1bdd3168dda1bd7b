"""Items of an archive in one file: what only a late one has is kept, too."""

from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely

from geoseg.report.item_table import ItemTable

LATE = 4100
"""Beyond the items that the columns are looked for in, unless each shape is known."""


def an_item(number: int, **more: Any) -> dict[str, Any]:
    box = [10.0, 50.0, 11.0, 51.0]
    ring = [[10.0, 50.0], [11.0, 50.0], [11.0, 51.0], [10.0, 50.0]]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": str(number),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": box,
        "properties": {"datetime": "2020-01-01T00:00:00Z", "number": number, **more},
        "links": [],
        "assets": {"classes": {"href": "./classes.tif"}},
        "collection": "c",
    }


def test_what_only_a_late_item_has_is_kept(tmp_path: Path) -> None:
    """A property of its own, and a fraction where all others have whole numbers."""
    arrow = pytest.importorskip("stac_geoparquet.arrow", reason="the extra geoseg[catalog] is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    with ItemTable(tmp_path) as table:
        for number in range(LATE):
            table.add(an_item(number))
        table.add(an_item(LATE, platform="landsat-8"))
        table.add({**an_item(0), "id": "last", "properties": {"datetime": "2020-01-01T00:00:00Z", "number": 0.5}})
        table.write(tmp_path / "items.parquet", {"id": "c"})
    items = {
        one["id"]: one["properties"]
        for one in arrow.stac_table_to_items(parquet.read_table(tmp_path / "items.parquet"))
    }
    assert len(items) == LATE + 2
    assert items[str(LATE)]["platform"] == "landsat-8"
    assert items["last"]["number"] == 0.5
    assert items["7"]["number"] == 7
    assert items["7"].get("platform") is None


def test_a_query_by_box_loses_no_item_over_180_degrees(tmp_path: Path) -> None:
    """Asked by geopandas on both sides and in the file's own units; what is elsewhere is still told apart."""
    pytest.importorskip("stac_geoparquet", reason="the extra geoseg[catalog] is not installed")
    halves = [
        [[[west, -17], [east, -17], [east, -16], [west, -16], [west, -17]]] for west, east in ((179, 180), (-180, -178))
    ]
    fiji = {"geometry": {"type": "MultiPolygon", "coordinates": halves}, "bbox": [179, -17, -178, -16]}
    with ItemTable(tmp_path) as table:
        for item in ({**an_item(0), **fiji, "id": "fiji"}, an_item(1)):
            table.add(item)
        table.write(tmp_path / "items.parquet", {"id": "c"})
    for box, expected in {
        (179.2, -16.8, 179.4, -16.2): ["fiji"],
        (-179.5, -16.8, -179.0, -16.2): ["fiji"],
        (9, 49, 12, 52): ["1"],
        (-180, -90, 180, 90): ["1", "fiji"],
    }.items():
        found = geopandas.read_parquet(tmp_path / "items.parquet", bbox=box)
        assert sorted(found["id"]) == expected
        assert found.intersects(shapely.box(*box)).all()
