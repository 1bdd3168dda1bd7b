"""Rasters below a folder of this machine or matched by a glob; results that geoseg left among them are no scenes."""

import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NoReturn

from geoseg.batch.found import SUFFIXES, is_name
from geoseg.batch.listing import Listing
from geoseg.errors import SceneError
from geoseg.raster.safety import plain
from geoseg.workflows.product import MARKER, RECORD

_OURS: Final = (MARKER, RECORD, "batch.json")
_FORMAT: Final = re.compile(rb'"format"\s*:\s*"geoseg (run|change|batch) ')
_HEAD_BYTES: Final = 2**16


def walk(folder: Path, listing: Listing) -> Iterator[str]:
    """Every raster below a folder, by name; linked folders come last, and no folder comes twice.

    Raises:
        SceneError: a folder cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [str(folder)]
    while waiting:
        for place, folders, names in os.walk(waiting.pop(0), onerror=_refuse):
            identity = _identify(place)
            is_results = identity not in seen and holds_results(place, names)
            listing.results += is_results
            if identity in seen or is_results:
                folders[:] = []
            else:
                folders[:] = sorted(one for one in folders if not one.startswith("."))
                waiting += [path for one in folders if os.path.islink(path := os.path.join(place, one))]
                yield from _named((os.path.join(place, name) for name in sorted(names) if _is_raster(name)), listing)
            seen.add(identity)


def expand(pattern: str, listing: Listing) -> Iterator[str]:
    """Rasters and folders that a glob matches, by name; what cannot be read it does not match, as in a shell."""
    results: dict[Path, bool] = {}
    fixed = _count_fixed(Path(pattern))
    for name in sorted(glob.iglob(pattern, recursive=True)):
        path = Path(name)
        if not (path.is_dir() or name.lower().endswith(SUFFIXES)):
            continue
        for folder in reversed([one for one in (path, *path.parents) if len(one.parts) >= fixed]):
            if folder not in results:
                results[folder] = holds_results(str(folder))
                listing.results += results[folder]
            if results[folder]:
                break
        else:
            yield from _named([name], listing)


def _named(paths: Iterable[str], listing: Listing) -> Iterator[str]:
    """Those that can be named; the others are counted, so that one of them does not keep an archive from its map."""
    for path in paths:
        if is_name(path):
            yield path
        else:
            listing.leave_unnamed(path)


def holds_results(folder: str, names: Iterable[str] = _OURS) -> bool:
    """Whether a folder with files of these names is a product or a batch: others, too, call a file run.json."""
    found = [name for name in _OURS if name in names]
    return any(_is_ours(os.path.join(folder, name)) for name in found)


def _is_ours(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return path.endswith(MARKER) or _FORMAT.search(stream.read(_HEAD_BYTES)) is not None
    except OSError:
        return False


def _is_raster(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _count_fixed(pattern: Path) -> int:
    """How many parts of a pattern come before the first with a wildcard."""
    return next((k for k, part in enumerate(pattern.parts) if glob.has_magic(part)), len(pattern.parts))


def _identify(place: str) -> tuple[int, int]:
    try:
        found = os.stat(place)
    except OSError as error:
        _refuse(error)
    return found.st_dev, found.st_ino


def _refuse(error: OSError) -> NoReturn:
    raise SceneError(
        f"{plain(str(error.filename))[-200:]} cannot be read ({error.strerror}): allow it, or name the scenes in a list"
    ) from error
