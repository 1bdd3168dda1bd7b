"""Tables of points go out and come back, also by way of a spreadsheet."""

from pathlib import Path

import geopandas
import pytest

from geoseg.errors import InputError, SettingsError
from geoseg.vector.points import Column, read_points, write_points

COLUMNS: dict[str, Column] = {
    "sample_id": [1, 2],
    "map_class": ["forêt", '=HYPERLINK("x")'],
    "lon": [12.5, -3.0],
    "comment": ["", ""],
}


@pytest.mark.parametrize("suffix", [".csv", ".gpkg"])
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"points{suffix}"
    write_points(path, COLUMNS, x=[5e5, 6e5], y=[1e6, 2e6], crs="EPSG:32632")
    rows = read_points(path)
    assert [row["sample_id"] for row in rows] == ["1", "2"]
    assert [float(row["lon"]) for row in rows] == [12.5, -3.0]
    assert [row["comment"] for row in rows] == ["", ""]
    assert rows[0]["map_class"] == "forêt"
    assert rows[1]["map_class"].lstrip("'") == '=HYPERLINK("x")'


def test_a_geopackage_has_points_in_the_maps_crs(tmp_path: Path) -> None:
    write_points(tmp_path / "points.gpkg", COLUMNS, x=[5e5, 6e5], y=[1e6, 2e6], crs="EPSG:32632")
    read = geopandas.read_file(tmp_path / "points.gpkg")
    assert read.crs.to_epsg() == 32632
    assert [(one.x, one.y) for one in read.geometry] == [(5e5, 1e6), (6e5, 2e6)]


def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path) -> None:
    columns: dict[str, Column] = {"name": ["=1", "+1", "-1", "@x", "\t=1", " =1", "a=1"]}
    write_points(tmp_path / "points.csv", columns, x=[0] * 7, y=[0] * 7, crs="EPSG:4326")
    cells = (tmp_path / "points.csv").read_text(encoding="utf-8-sig").splitlines()[1:]
    assert [cell[:1] for cell in cells] == ["'"] * 6 + ["a"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("id,name\n1,forêt\n".encode(), "UTF-8"),
        ("id,name\r\n1,forêt\r\n".encode("utf-8-sig"), "UTF-8 with its mark"),
        ("id;name\r\n1;forêt\r\n".encode("cp1252"), "Windows-1252 with semicolons"),
        ("id\tname\r\n1\tforêt\r\n".encode("utf-16"), "Unicode text of Excel"),
        ("sep=;\r\nid;name;\r\n1;forêt;\r\n;;\r\n".encode(), "a separator line, empty rows and columns"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_csv_is_read_as_spreadsheets_write_it(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "points.csv").write_bytes(content)
    assert read_points(tmp_path / "points.csv") == [{"id": "1", "name": "forêt"}], what


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04xxxx", "is a spreadsheet: save it as CSV"),
        (b"a,b\0c\n", "is no text"),
        (b"a,a\n1,2\n", "two of one name"),
        (b"a,b\n1,2,3\n", "3 cells in row 2"),
        (b'a,b\n1,"2\n', "not such a table"),
        (b"SQLite format 3\0 and nothing more", "cannot be read"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "points.csv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_points(tmp_path / "points.csv")


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\.xlsx is not one of \.csv, \.gpkg"):
        write_points(tmp_path / "points.xlsx", COLUMNS, x=[0, 0], y=[0, 0], crs="EPSG:4326")
