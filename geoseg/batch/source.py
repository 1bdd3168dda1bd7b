"""Which scenes an archive has: from a folder, glob, list, table or STAC document to the files of each."""

import csv
import glob
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from geoseg.batch.found import SUFFIXES, Found, is_name
from geoseg.batch.source_here import LeftOut, expand, walk
from geoseg.batch.source_remote import is_prefix, join, list_prefix, next_page, read_document
from geoseg.errors import SceneError, SettingsError
from geoseg.raster.remote import is_remote, redact
from geoseg.raster.remote_files import adopt

__all__ = ["Found", "find_scenes"]

Base = Path | str
"""What names in a document are relative to: a folder, or the address of the document."""

_MAX_STAC_BYTES: Final = 2**30
_FILE: Final = re.compile(r"file:(?://(?:localhost)?)?(?=/)")
"""What comes before the path in the address of a file of this machine."""
_RASTER_TYPES: Final = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff")


def find_scenes(source: str, left_out: LeftOut | None = None) -> Iterator[Found]:
    """The scenes of a source, in its order (folders and globs: by name), possibly with repetitions.

    Args:
        source: a folder (every raster below it), a glob, `-` (paths on standard input), a .txt list, a .csv or
            .parquet with a column `uri`, or a STAC item, item collection or collection (.json, .geojson). Paths in a
            file are relative to that file. Where `remote_access` allows it also s3://bucket/prefix, the address of a
            raster or of a STAC document, and addresses in all of these.
        left_out: counts folders of results, in a folder or glob; they are no scenes.

    Raises:
        SettingsError: it is none of these.
        SceneError: a name in it is an address that may not be read, or not a path; a folder cannot be read.
    """
    path, left_out = Path(source), left_out or LeftOut()
    if source == "-":
        return _lines(sys.stdin, Path.cwd())
    if is_remote(source):
        return _remote(source)
    if path.is_dir():
        return (_one(name, Path.cwd()) for name in walk(path, left_out))
    if path.is_file():
        return _file(path)
    if glob.has_magic(source):
        return (_one(name, Path.cwd()) for name in expand(source, left_out))
    raise SettingsError(f"{source} is not there: give a folder, a quoted glob, a list, a table or a STAC document")


def _file(path: Path) -> Iterator[Found]:
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return _list(path)
    if suffix == ".csv":
        return _csv(path)
    if suffix == ".parquet":
        return _parquet(path)
    if suffix in {".json", ".geojson"}:
        return _stac(path, _read_json(path))
    if suffix in SUFFIXES:
        return iter([_one(str(path), Path.cwd())])
    raise SettingsError(f"{path}: a source ends in .txt, .csv, .parquet, .json or .geojson, or is a folder or a raster")


def _remote(source: str) -> Iterator[Found]:
    if is_prefix(source):
        return list_prefix(source)
    if source.partition("?")[0].lower().endswith(SUFFIXES):
        return iter([Found(files=(adopt(source),))])
    return _stac(source, read_document(source))


def _one(name: str, base: Base) -> Found:
    return Found(files=(_resolve(name, base),))


def _resolve(name: str, base: Base) -> str:
    """A name in a document as an absolute path or an address; the signature of an address is kept elsewhere."""
    if isinstance(base, str):
        return adopt(join(base, name))
    if is_remote(name):
        return adopt(name)
    local = unquote(_FILE.sub("", name)) if _FILE.match(name) else name
    if not is_name(local):
        raise SceneError(f"{local!r} is no name of a scene: it has control characters or is no text")
    path = base / local
    if ".." not in path.parts:
        return os.path.abspath(path)
    # after a linked folder .. is the folder above where it leads to, as the system has it
    return str(path.resolve() if path.name == ".." else path.parent.resolve() / path.name)


def _lines(lines: Iterable[str], folder: Path) -> Iterator[Found]:
    for line in lines:
        name = line.strip(" \t\r\n\ufeff")  # the last: what some editors put before the first line
        if name and not name.startswith("#"):
            yield _one(name, folder)


def _list(path: Path) -> Iterator[Found]:
    try:
        with path.open(encoding="utf-8") as stream:
            yield from _lines(stream, path.parent)
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text: write one path a line") from error


def _csv(path: Path) -> Iterator[Found]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.DictReader(stream)
            if "uri" not in (table.fieldnames or ()):
                raise _no_column(path, list(table.fieldnames or ()))
            yield from (_one(row["uri"].strip(), path.parent) for row in table if (row["uri"] or "").strip())
    except (UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{path} is not CSV in UTF-8 ({error}): write a column uri") from error


def _parquet(path: Path) -> Iterator[Found]:
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise SettingsError(f"{path} is not Parquet ({' '.join(str(error).split())}): write it again") from error
    if "uri" not in table.schema_arrow.names:
        raise _no_column(path, table.schema_arrow.names)
    for batch in table.iter_batches(columns=["uri"]):
        yield from (_one(str(name), path.parent) for name in batch.column(0).to_pylist() if name)


def _no_column(path: Path, columns: list[str]) -> SettingsError:
    return SettingsError(f"{path} has no column uri (it has {', '.join(columns) or 'none'}): name it so")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_STAC_BYTES:
            raise SettingsError(
                f"{path} is larger than {_MAX_STAC_BYTES} bytes: write a Parquet file with a column uri"
            )
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path} cannot be read as JSON ({error}): correct the file") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path} is no STAC document: give an item, an item collection or a collection")
    return content


def _stac(place: Base, document: dict[str, Any]) -> Iterator[Found]:
    """Of a collection or catalog the items it links, also through further catalogs, each document once."""
    seen = {str(place.resolve()) if isinstance(place, Path) else place}
    waiting = [(place, document)]
    while waiting:
        place, content = waiting.pop(0)
        links: list[str] = []
        if content.get("type") == "Feature":
            yield _item(place, content)
        elif content.get("type") == "FeatureCollection":
            yield from (_item(place, item) for item in content.get("features", []))
            page = next_page(content, str(place))
            links = [page] if page else []
        elif content.get("type") in {"Collection", "Catalog"}:
            linked = (one for one in content.get("links", []) if one.get("rel") in {"item", "items", "child"})
            links = [str(one.get("href")) for one in linked]
        else:
            raise SettingsError(
                f"{redact(str(place))} is no STAC document (type {content.get('type')!r}): give an item or collection"
            )
        for link in links:
            name = _document(link, place)
            if str(name) not in seen:
                seen.add(str(name))
                waiting.append((name, read_document(name) if isinstance(name, str) else _read_json(name)))


def _document(link: str, place: Base) -> Base:
    """A document that another one links: a path, or an address with its query."""
    if isinstance(place, str):
        return join(place, link)
    return link if is_remote(link) else Path(_resolve(link, place.parent)).resolve()


def _item(place: Base, item: dict[str, Any]) -> Found:
    """The data of an item: its rasters with role data, or all its rasters where no asset has a role."""
    assets = [one for one in item.get("assets", {}).values() if _is_raster(one)]
    data = [one for one in assets if "data" in (one.get("roles") or ())]
    chosen = data or [one for one in assets if not one.get("roles")]
    if not chosen:
        shown = redact(str(place))
        raise SceneError(f"{shown}: item {item.get('id')!r} has no raster asset with role data: give it that role")
    base = place if isinstance(place, str) else place.parent
    return Found(files=tuple(dict.fromkeys(_resolve(str(one.get("href")), base) for one in chosen)))


def _is_raster(asset: dict[str, Any]) -> bool:
    kind = str(asset.get("type", "")).partition(";")[0].strip().lower()
    return kind in _RASTER_TYPES or str(asset.get("href", "")).partition("?")[0].lower().endswith(SUFFIXES)
