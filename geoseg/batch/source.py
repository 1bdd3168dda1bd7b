"""Which scenes an archive has: from a folder, glob, list, table or STAC document to the files of each."""

import csv
import glob
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from geoseg.batch.found import SUFFIXES, Found, is_name
from geoseg.batch.listing import Listing
from geoseg.batch.source_here import expand, walk
from geoseg.batch.source_name import resolve
from geoseg.batch.source_remote import is_prefix, list_prefix
from geoseg.batch.source_stac import read_stac
from geoseg.errors import SceneError, SettingsError
from geoseg.raster.remote import is_remote
from geoseg.raster.remote_files import adopt
from geoseg.raster.safety import plain

__all__ = ["Found", "find_scenes"]

_MOST_CHARACTERS: Final = 2**17
"""In a line of a list or table, and in a field."""


def find_scenes(source: str, listing: Listing | None = None) -> Iterator[Found]:
    """The scenes of a source, in its order (folders and globs: by name), possibly with repetitions.

    Args:
        source: a folder (every raster below it), a glob, `-` (paths on standard input), a .txt list, a .csv or
            .parquet with a column `uri`, or a STAC item, item collection or collection (.json, .geojson). Paths in a
            file are relative to that file. Where `remote_access` allows it also s3://bucket/prefix, the address of a
            raster or of a STAC document, and addresses in all of these.
        listing: counts, also what is left out of a folder or glob: results, and names that are no names.

    Raises:
        SettingsError: it is none of these, or damaged.
        SceneError: a name in it is an address that may not be read, or not a path; a folder cannot be read.
    """
    listing = listing or Listing()
    for one in _scenes(source, listing):
        listing.step(scenes=1)
        yield one


def _scenes(source: str, listing: Listing) -> Iterator[Found]:
    if source == "-":
        return _lines(sys.stdin, Path.cwd(), "standard input")
    if is_remote(source):
        return _remote(source, listing)
    if not is_name(source):
        raise SceneError(f"{source!a} is no name of a source: it has control characters or is no text: rename it")
    path = Path(source)
    if path.is_dir():
        return (_one(name, Path.cwd()) for name in walk(path, listing))
    if path.is_file():
        return _file(path, listing)
    if glob.has_magic(source):
        return (_one(name, Path.cwd()) for name in expand(source, listing))
    raise SettingsError(f"{source} is not there: give a folder, a quoted glob, a list, a table or a STAC document")


def _file(path: Path, listing: Listing) -> Iterator[Found]:
    suffix = path.suffix.lower()
    if suffix == ".txt":
        return _list(path)
    if suffix == ".csv":
        return _csv(path)
    if suffix == ".parquet":
        return _parquet(path)
    if suffix in {".json", ".geojson"}:
        return read_stac(path, listing)
    if suffix in SUFFIXES:
        return iter([_one(str(path), Path.cwd())])
    raise SettingsError(f"{path}: a source ends in .txt, .csv, .parquet, .json or .geojson, or is a folder or a raster")


def _remote(source: str, listing: Listing) -> Iterator[Found]:
    if is_prefix(source):
        return list_prefix(source, listing)
    if source.partition("?")[0].lower().endswith(SUFFIXES):
        return iter([Found(files=(adopt(source),))])
    return read_stac(source, listing)


def _one(name: str, folder: Path) -> Found:
    return Found(files=(resolve(name, folder),))


def _lines(lines: TextIO, folder: Path, place: str) -> Iterator[Found]:
    for line in _short(lines, place):
        name = line.strip(" \t\r\n\ufeff")  # the last: what some editors put before the first line
        if name and not name.startswith("#"):
            yield _one(name, folder)


def _short(lines: TextIO, place: str) -> Iterator[str]:
    """The lines of a text, of which none is so long that it fills the memory."""
    while line := lines.readline(_MOST_CHARACTERS + 1):
        if len(line) > _MOST_CHARACTERS:
            raise SettingsError(f"{place} has a line of over {_MOST_CHARACTERS} characters: write one scene a line")
        yield line


def _list(path: Path) -> Iterator[Found]:
    try:
        with path.open(encoding="utf-8") as stream:
            yield from _lines(stream, path.parent, str(path))
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text: write one path a line") from error


def _csv(path: Path) -> Iterator[Found]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            table = csv.DictReader(_short(stream, str(path)), strict=True)
            if "uri" not in (table.fieldnames or ()):
                raise _no_column(path, list(table.fieldnames or ()))
            yield from (_one(row["uri"].strip(), path.parent) for row in table if (row["uri"] or "").strip())
    except (UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{path} is not CSV in UTF-8 ({error}): write a column uri") from error


def _parquet(path: Path) -> Iterator[Found]:
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path)
        schema = table.schema_arrow
        if "uri" not in schema.names:
            raise _no_column(path, schema.names)
        if not _is_text(kind := schema.field("uri").type):
            raise SettingsError(f"{path}: column uri holds {kind}, not text: write paths or addresses")
        for batch in table.iter_batches(columns=["uri"]):
            yield from (_one(name, path.parent) for name in batch.column(0).to_pylist() if name)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise SettingsError(f"{path} is not Parquet, or damaged ({reason}): write it again") from error


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _no_column(path: Path, columns: list[str]) -> SettingsError:
    shown = plain(", ".join(columns))[:200] or "none"
    return SettingsError(f"{path} has no column uri (it has {shown}): name it so")
