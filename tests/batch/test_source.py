"""Every kind of source gives the same scenes for the same archive; what is no source is refused with the remedy."""

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from geoseg.batch.listing import Listing
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
    write(folder / "done/run.json", {"format": "geoseg run 1"})
    write(folder / "batch/batch.json", {"format": "geoseg batch 1"})
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


def test_only_results_of_geoseg_are_left_out_and_they_are_counted(archive: Path) -> None:
    """Other programs, too, leave a run.json or batch.json beside their scenes."""
    write(archive / "b/run.json", {"format": "of another program", "made_by": "geoseg run 1"})
    write(archive / "batch.json", {"jobs": []})
    (archive / "killed").mkdir()
    for name in ("killed/.geoseg-run", "killed/classes.tif"):
        write(archive / name, "")
    for source in (archive, archive / "**" / "*.[tTj]*"):
        counted = Listing()
        names = [file for one in find_scenes(str(source), counted) for file in one.files]
        assert sorted(names) == expected(archive)
        assert counted.results == 3
    assert found(archive / "d*") == []


def test_a_folder_that_cannot_be_read_is_refused(archive: Path) -> None:
    """Its path is longer than a path may be, which holds for root, too."""
    inside = os.open(archive, os.O_RDONLY)
    for _ in range(18):
        os.mkdir("n" * 250, dir_fd=inside)
        before, inside = inside, os.open("n" * 250, os.O_RDONLY, dir_fd=inside)
        os.close(before)
    os.close(inside)
    with pytest.raises(SceneError, match=r"n cannot be read \(File name too long\): allow it, or name the scenes"):
        found(archive)


def test_linked_folders_are_walked_last_and_none_twice(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "z.tif").write_text("x")
    (archive / "1-elsewhere").symlink_to(tmp_path / "else")
    (archive / "0-itself").symlink_to(archive)
    (archive / "b" / "up").symlink_to(archive / "b", target_is_directory=True)
    (archive / "2-hidden").symlink_to(archive / "b" / ".cache")
    (tmp_path / "else" / "back").symlink_to(archive)
    assert found(archive) == [
        *expected(archive), str(archive / "1-elsewhere/z.tif"), str(archive / "2-hidden/e.tif")
    ]  # fmt: skip


def test_a_parent_of_a_linked_folder_is_that_of_where_it_leads(archive: Path, tmp_path: Path) -> None:
    """As `ls link/../t.tif` has it, whatever names the scene."""
    (tmp_path / "else" / "deep").mkdir(parents=True)
    (tmp_path / "else" / "t.tif").write_text("x")
    (archive / "link").symlink_to(tmp_path / "else" / "deep")
    there = [str(tmp_path / "else" / "t.tif")]
    assert os.path.samefile(archive / "link" / ".." / "t.tif", there[0])
    write(tmp_path / "else" / "list.txt", "t.tif\n")
    assert found(write(archive / "list.txt", "link/../t.tif\n")) == there
    assert found(f"{archive}/link/../list.txt") == there
    assert found(f"{archive}/link/../t.tif") == there
    assert found(f"{archive}/link/..") == there
    assert found(f"{archive}/link/../*.tif") == there


def test_names_of_the_world_are_names(archive: Path) -> None:
    """Spaces that do not break, ideographic ones, joiners; a byte order mark before the first line is none of it."""
    names = ("a\u00a0b.tif", "\u3000c.tif", "\u0915\u094d\u200d.tif", "\u5730\u56fe.tif")
    (archive / "w").mkdir()
    for name in names:
        (archive / "w" / name).write_text("x")
    there = sorted(str(archive / "w" / name) for name in names)
    assert sorted(found(archive / "w")) == there
    listed = "\ufeff" + "\n".join(names)
    assert sorted(found(write(archive / "w" / "list.txt", listed))) == there


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


def test_saved_pages_of_a_search_are_followed(archive: Path) -> None:
    """And a next page that is not here is asked for where it may be, else refused: it is never lost in silence."""

    def page(name: str, then: str) -> Path:
        links = [{"rel": "next", "href": then}, {"rel": "self", "href": "https://h.org/x"}]
        content = {"type": "FeatureCollection", "features": [item(name, name, roles=["data"])], "links": links}
        return write(archive / f"{name[0]}.json", content)

    page(NAMES[1], "a.json")
    first = page(NAMES[0], "b.json")
    assert found(first) == expected(archive)[:2]
    page(NAMES[1], "https://h.org/search?token=secret")
    with pytest.raises(SceneError, match=r"^https://h.org/search is remote: pass --allow-remote=h.org"):
        found(first)
    page(NAMES[1], "c.json")
    with pytest.raises(SettingsError, match=r"c.json cannot be read as JSON"):
        found(first)


@pytest.mark.parametrize("start", ["file://", "file://localhost", "file:"])
def test_an_address_of_a_file_here_is_decoded(archive: Path, start: str) -> None:
    (archive / "a b#?%.tif").write_text("x")
    line = f"{start}{archive}/a%20b%23%3F%25.tif\na b#?%.tif\n"
    assert found(write(archive / "l.txt", line)) == [str(archive / "a b#?%.tif")] * 2


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
        ("x.txt", "a\u2028b.tif", "control characters"),
        ("x.txt", "file:///a%0Ab.tif", "control characters"),
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
