"""Every kind of source gives the same scenes for the same archive; what is no source is refused with the remedy."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from geoseg.batch.source import find_scenes
from geoseg.errors import InputError, SceneError, SettingsError

NAMES = ("a.tif", "b/c.TIFF", "b/d.jp2")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three scenes among other things."""
    folder = tmp_path / "archive"
    others = ("notes.txt", ".hidden.tif", "b/.cache/e.tif", "done/classes.tif", "done/run.json", "batch/x/y.tif")
    for name in (*NAMES, *others, "batch/batch.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return folder


def found(source: str | Path) -> list[str]:
    return [file for one in find_scenes(str(source)) for file in one.files]


def expected(archive: Path) -> list[str]:
    return [str(archive / name) for name in NAMES]


def item(name: str, *hrefs: str, roles: list[str] | None = None, **asset: Any) -> dict[str, Any]:
    assets = {str(k): {"href": href, **({"roles": roles} if roles else {}), **asset} for k, href in enumerate(hrefs)}
    thumbnail = {"href": "./thumb.png", "type": "image/png", "roles": ["thumbnail"]}
    return {"type": "Feature", "stac_version": "1.0.0", "id": name, "assets": {**assets, "thumbnail": thumbnail}}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content) if not isinstance(content, str) else content)
    return path


def test_a_folder_gives_its_rasters_but_no_results(archive: Path) -> None:
    assert sorted(found(archive)) == expected(archive)


def test_a_glob_is_expanded(archive: Path) -> None:
    assert found(archive / "b" / "*") == expected(archive)[1:]
    assert sorted(found(archive / "**" / "[acd].*")) == expected(archive)


def test_a_list_is_relative_to_itself(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "# three\n\n" + "\n".join(NAMES) + "\n"
    assert found(write(archive / "list.txt", text)) == expected(archive)
    monkeypatch.chdir(archive)
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    assert found("-") == expected(archive)


def test_tables_have_a_column_uri(archive: Path) -> None:
    assert found(write(archive / "t.csv", "id,uri\n" + "".join(f"{k},{n}\n" for k, n in enumerate(NAMES)))) == expected(
        archive
    )
    pyarrow.parquet.write_table(pyarrow.table({"uri": list(NAMES), "x": [1, 2, 3]}), archive / "t.parquet")
    assert found(archive / "t.parquet") == expected(archive)
    with pytest.raises(SettingsError, match="no column uri"):
        found(write(archive / "u.csv", "path\na.tif\n"))


def test_stac_items_collections_and_searches(archive: Path) -> None:
    items = [item(name, name, roles=["data"]) for name in NAMES]
    single = write(archive / "item.json", items[0])
    assert found(single) == expected(archive)[:1]
    assert found(write(archive / "search.json", {"type": "FeatureCollection", "features": items})) == expected(archive)
    for k, one in enumerate(items):
        write(archive / f"item{k}.json", one)
    links = [{"rel": "item", "href": f"./item{k}.json"} for k in range(3)] + [
        {"rel": "self", "href": "collection.json"}
    ]
    write(archive / "collection.json", {"type": "Collection", "links": links})
    catalog = {"type": "Catalog", "links": [{"rel": "child", "href": "collection.json"}, {"rel": "root", "href": "c"}]}
    assert found(write(archive / "catalog.json", catalog)) == expected(archive)


def test_a_catalog_that_links_itself_ends(archive: Path) -> None:
    loop = {"type": "Catalog", "links": [{"rel": "child", "href": "catalog.json"}]}
    assert found(write(archive / "catalog.json", loop)) == []


def test_an_item_of_several_rasters_is_one_scene(archive: Path) -> None:
    (one,) = find_scenes(str(write(archive / "item.json", item("x", "B02.tif", "B03.jp2", roles=["data"]))))
    assert one.files == (str(archive / "B02.tif"), str(archive / "B03.jp2"))
    (one,) = find_scenes(
        str(write(archive / "item.json", item("x", "file:///x/raw", type="image/tiff; application=geotiff")))
    )
    assert one.files == ("/x/raw",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing", None, "is not there: give a folder"),
        ("x.docx", "x", "a source ends in"),
        ("x.json", "{", "cannot be read as JSON"),
        ("x.json", "[]", "no STAC document"),
        ("x.json", {"type": "Topology"}, r"no STAC document \(type 'Topology'\)"),
        ("x.json", {"type": "Feature", "id": "x", "assets": {}}, "no raster asset with role data"),
        ("x.parquet", "x", "is not Parquet"),
        ("x.txt", "s3://bucket/x.tif?sig=secret", "^s3://bucket/x.tif has a query"),
        ("x.txt", "https://h.org/x.tif?sig=secret", "^https://h.org/x.tif is remote: pass --allow-remote=h.org"),
        ("x.txt", "a\x1b[31m.tif", "control characters"),
    ],
)
def test_what_is_no_source_is_refused(tmp_path: Path, name: str, content: Any, message: str) -> None:
    if content is not None:
        write(tmp_path / name, content)
    with pytest.raises(InputError, match=message) as caught:
        found(tmp_path / name)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bucket_is_refused_with_the_remedy() -> None:
    with pytest.raises(SceneError, match="s3://bucket/prefix is remote: pass --allow-remote=bucket to read it"):
        found("s3://bucket/prefix")
