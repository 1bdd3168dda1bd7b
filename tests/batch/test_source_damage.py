"""What is damaged, has no end or has no name in a source is refused or left out in words, not met as a crash."""

import os
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from geoseg.batch import listing, source_stac
from geoseg.batch.listing import Listing
from geoseg.batch.source import find_scenes
from geoseg.batch.source_remote import join
from geoseg.errors import InputError, SceneError, SettingsError
from geoseg.raster.remote import RemoteAccess
from geoseg.raster.remote_files import remote_access
from tests.batch.test_source import NAMES, archive, expected, found, item, write

__all__ = ["archive"]


def test_a_linked_device_or_pipe_is_refused_unread(archive: Path) -> None:
    """One has no end, the other no beginning."""
    os.mkfifo(archive / "pipe.json")
    for name in ("/dev/zero", "pipe.json"):
        catalog = write(archive / "c.json", {"type": "Catalog", "links": [{"rel": "item", "href": name}]})
        with pytest.raises(SettingsError, match="is no plain file"):
            found(catalog)


DATA = {"href": "a.tif", "roles": ["data"]}


def feature(**keys: Any) -> dict[str, Any]:
    return {"type": "Feature", "id": "this", "assets": {"B2": DATA}, **keys}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (feature(assets=None), r"x.json: item 'this': assets: input should be a valid dictionary"),
        (feature(assets=[DATA]), r"item 'this': assets: input should be a valid dictionary"),
        (feature(assets={"B2": "a.tif"}), r"item 'this': assets.B2: input should be a valid dictionary"),
        (feature(assets={"B2": {**DATA, "roles": 5}}), r"item 'this': assets.B2.roles: input should be a valid list"),
        (feature(assets={"B2": {"roles": ["data"]}}), r"item 'this': assets.B2.href: field required"),
        (feature(assets={"B2": {**DATA, "href": {}}}), r"item 'this': assets.B2.href: input should be a valid string"),
        (feature(assets={"B2": {**DATA, "href": "http://[x/a.tif"}}), r"^http://\[x/a.tif is no address"),
        (feature(type=["Feature"]), r"x.json is no STAC document \(type \['Feature'\]\)"),
        ({"type": "FeatureCollection", "features": None}, r"x.json: features: input should be a valid list"),
        ({"type": "FeatureCollection", "features": ["x"]}, r"x.json: features.0: item without id: input should be"),
        (
            {"type": "FeatureCollection", "features": [feature(), feature(assets=3)]},
            "features.1: item 'this': assets: input",
        ),
        ({"type": "Catalog", "links": None}, "x.json: links: input should be a valid list"),
        ({"type": "Catalog", "links": ["x"]}, "x.json: links.0: input should be a valid dictionary"),
        ({"type": "Catalog", "links": [None]}, "x.json: links.0: input should be a valid dictionary"),
        ({"type": "Catalog", "links": [{"rel": "item"}]}, "x.json: links.0.href: field required"),
        ({"type": "Catalog", "links": [{"rel": "item", "href": "http://[x/"}]}, r"^http://\[x/ is no address"),
        (
            {"type": "Catalog", "links": [{"rel": "item", "href": "gone.json"}]},
            r"gone.json cannot be read as JSON \(No such file or directory; .*x.json links it\): correct the file$",
        ),
    ],
)
def test_a_damaged_stac_document_is_refused_with_its_file_item_and_key(
    tmp_path: Path, content: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        found(write(tmp_path / "x.json", content))
    assert "\n" not in str(caught.value)


def test_an_address_that_is_none_is_refused_in_a_remote_document_too() -> None:
    for base in ("https://h.org/c.json", "s3://bucket/c.json"):
        with pytest.raises(SceneError, match="that is no address"):
            join(base, "//[x/a.tif")


@pytest.mark.parametrize("values", [[1], [["a.tif"]], [{"a": "a.tif"}], [b"a.tif"]])
def test_a_column_uri_that_is_no_text_is_refused(tmp_path: Path, values: list[Any]) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"uri": values}), tmp_path / "t.parquet")
    with pytest.raises(SettingsError, match=r"t.parquet: column uri holds .*, not text"):
        found(tmp_path / "t.parquet")


def test_a_column_uri_may_be_coded(archive: Path) -> None:
    """As pandas writes a category."""
    uri = pyarrow.array(NAMES).dictionary_encode()
    pyarrow.parquet.write_table(pyarrow.table({"uri": uri}), archive / "t.parquet")
    assert found(archive / "t.parquet") == expected(archive)


def test_a_damaged_page_of_a_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    names = [f"{k * 7919 % 10007}.tif" for k in range(5000)]
    pyarrow.parquet.write_table(pyarrow.table({"uri": names}), path, compression="zstd", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[100:4000] = bytes(3900)
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"t.parquet is not Parquet, or damaged"):
        found(path)


def test_a_quote_that_is_not_closed_swallows_no_scenes(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not CSV in UTF-8"):
        found(write(tmp_path / "t.csv", 'uri\na.tif\n"b.tif\nc.tif\n'))


@pytest.mark.parametrize("name", ["t.txt", "t.csv"])
def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as stream:
        stream.write(b"uri\n")
        stream.truncate(2**36)
    with pytest.raises(SettingsError, match="has a line of over 131072 characters"):
        found(tmp_path / name)


def test_names_that_are_none_are_left_out_of_a_folder_and_told(archive: Path) -> None:
    """One of them does not keep the others from their map."""
    for name in (b"x\x1b[31m.tif", b"\xff.tif"):
        (archive / os.fsdecode(name)).write_text("x")
    for source in (archive, archive / "**" / "*.[tTj]*"):
        counted = Listing()
        names = [file for one in find_scenes(str(source), counted) for file in one.files]
        assert [one for one in sorted(names) if "done" not in one] == expected(archive)
        (note,) = [one for one in counted.notes() if "rename" in one]
        assert note.startswith("2 files left out because of control characters or broken text")
        assert note.isascii()
    with pytest.raises(SceneError, match="rename it"):
        found(archive / "x\x1b[31m.tif")


class Forever:
    """A server whose search has no last page; every `fresh`-th page has an item that was not there before."""

    def __init__(self, fresh: int) -> None:
        self.fresh, self.pages = fresh, 0

    def __call__(self, source: str) -> dict[str, Any]:
        self.pages += 1
        name = f"https://h.org/{self.pages // self.fresh if self.fresh else 0}.tif"
        links = [{"rel": "next", "href": f"https://h.org/search?page={self.pages}"}]
        return {"type": "FeatureCollection", "features": [item(name, name, roles=["data"])], "links": links}


@pytest.mark.parametrize(("fresh", "pages"), [(0, 102), (1, 500), (50, 500)])
def test_a_search_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch, fresh: int, pages: int) -> None:
    server, said = Forever(fresh), list[str]()
    monkeypatch.setattr(source_stac, "read_document", server)
    monkeypatch.setattr(source_stac, "_MOST_DOCUMENTS", 500)
    monkeypatch.setattr(listing, "_SAY_SECONDS", 0.0)
    with (
        remote_access(RemoteAccess(hosts=("h.org",))),
        pytest.raises(SettingsError, match=r"search leads on after .* without a new item: search for less"),
    ):
        list(find_scenes("https://h.org/search", Listing(say=said.append)))
    assert server.pages == pages
    assert said[1] == "1 scene found so far in 1 document"


def test_catalogs_of_catalogs_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    links = iter(range(10**6))
    monkeypatch.setattr(
        source_stac,
        "read_document",
        lambda source: {"type": "Catalog", "links": [{"rel": "child", "href": f"https://h.org/{next(links)}"}]},
    )
    with pytest.raises(SettingsError, match="leads on after 102 documents, the last 101 without a new item"):
        list(find_scenes("https://h.org/catalog"))
