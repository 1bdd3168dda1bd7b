"""Which scenes an archive has: from a folder, glob, list, table or STAC document to the files of each."""

import csv
import glob
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geoseg.errors import SceneError, SettingsError

SUFFIXES: Final = (".tif", ".tiff", ".jp2", ".j2k")
OURS: Final = ("batch.json", ".geoseg-run", "run.json")
"""A folder with one of these holds results; it is no source of scenes."""
_MAX_STAC_BYTES: Final = 2**30
_RASTER_TYPES: Final = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A scene of an archive."""

    files: tuple[str, ...]
    """Absolute paths: one raster or folder of bands, or the several rasters of a STAC item."""


def find_scenes(source: str) -> Iterator[Found]:
    """The scenes of a source, in its order (folders and globs: by name), possibly with repetitions.

    Args:
        source: a folder (every raster below it), a glob, `-` (paths on standard input), a .txt list, a .csv or
            .parquet with a column `uri`, or a STAC item, item collection or collection (.json, .geojson). Paths in a
            file are relative to that file.

    Raises:
        SettingsError: it is none of these.
        SceneError: a name in it is remote or not a path.
    """
    path = Path(source)
    if source == "-":
        return _lines(sys.stdin, Path.cwd())
    if "://" in source:
        raise _remote(source)
    if path.is_dir():
        return _folder(path)
    if path.is_file():
        return _file(path)
    if glob.has_magic(source):
        return _glob(source)
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


def _one(name: str, folder: Path) -> Found:
    if "://" in name and not name.startswith("file://"):
        raise _remote(name)
    local = name.removeprefix("file://")
    if not local.isprintable():
        raise SceneError(f"{local!r} is no name of a scene: it has control characters")
    return Found(files=(os.path.abspath(folder / local),))


def _remote(name: str) -> SceneError:
    return SceneError(f"{name.partition('?')[0]} is remote, which is not read: copy it or mount it, and give its path")


def _folder(folder: Path) -> Iterator[Found]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        if any(one in names for one in OURS):
            folders[:] = []
            continue
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield _one(name, Path(place).absolute())


def _glob(pattern: str) -> Iterator[Found]:
    for name in sorted(glob.iglob(pattern, recursive=True)):
        if Path(name).is_dir() or name.lower().endswith(SUFFIXES):
            yield _one(name, Path.cwd())


def _lines(lines: Iterable[str], folder: Path) -> Iterator[Found]:
    for line in lines:
        name = line.strip()
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
    if path.stat().st_size > _MAX_STAC_BYTES:
        raise SettingsError(f"{path} is larger than {_MAX_STAC_BYTES} bytes: write a Parquet file with a column uri")
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path} cannot be read as JSON ({error}): correct the file") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path} is no STAC document: give an item, an item collection or a collection")
    return content


def _stac(path: Path, document: dict[str, Any]) -> Iterator[Found]:
    """Of a collection or catalog the items it links, also through further catalogs, each file once."""
    seen = {path.resolve()}
    waiting = [(path, document)]
    while waiting:
        place, content = waiting.pop(0)
        if content.get("type") == "Feature":
            yield _item(place, content)
        elif content.get("type") == "FeatureCollection":
            yield from (_item(place, item) for item in content.get("features", []))
        elif content.get("type") in {"Collection", "Catalog"}:
            for link in content.get("links", []):
                if link.get("rel") in {"item", "items", "child"}:
                    linked = Path(_one(str(link.get("href")), place.parent).files[0]).resolve()
                    if linked not in seen:
                        seen.add(linked)
                        waiting.append((linked, _read_json(linked)))
        else:
            raise SettingsError(
                f"{place} is no STAC document (type {content.get('type')!r}): give an item or collection"
            )


def _item(place: Path, item: dict[str, Any]) -> Found:
    """The data of an item: its rasters with role data, or all its rasters where no asset has a role."""
    assets = [one for one in item.get("assets", {}).values() if _is_raster(one)]
    data = [one for one in assets if "data" in (one.get("roles") or ())]
    chosen = data or [one for one in assets if not one.get("roles")]
    if not chosen:
        raise SceneError(f"{place}: item {item.get('id')!r} has no raster asset with role data: give it that role")
    files = (_one(str(one.get("href")), place.parent).files[0] for one in chosen)
    return Found(files=tuple(dict.fromkeys(files)))


def _is_raster(asset: dict[str, Any]) -> bool:
    kind = str(asset.get("type", "")).partition(";")[0].strip().lower()
    return kind in _RASTER_TYPES or str(asset.get("href", "")).partition("?")[0].lower().endswith(SUFFIXES)
