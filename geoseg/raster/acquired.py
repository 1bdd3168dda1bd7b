"""When a scene was taken and by what, as its files tell it; nothing is guessed, and the place it was read is said."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from geoseg.errors import SceneError
from geoseg.raster.remote import Located, locate
from geoseg.raster.safety import open_raster, plain
from geoseg.raster.scene import Scene

_FIRST_YEAR: Final = 1972
"""Landsat 1; an eight-digit number that says an earlier year is no date of a satellite."""
_LEVELS_UP: Final = 5
"""A band of a Sentinel-2 product lies this deep below its metadata."""
_MAX_METADATA_BYTES: Final = 2**20
_DATE_TAGS: Final = (
    "ACQUISITIONDATETIME", "ACQUISITION_DATETIME", "ACQUISITION_DATE", "DATE_ACQUIRED", "SENSING_TIME",
    "DATATAKE_1_DATATAKE_SENSING_START", "PRODUCT_START_TIME", "DATETIME", "DATE",
)  # fmt: skip
_PLATFORM_TAGS: Final = (
    "SATELLITEID", "SPACECRAFT_ID", "SPACECRAFT_NAME", "DATATAKE_1_SPACECRAFT_NAME", "PLATFORM", "MISSION_ID",
)  # fmt: skip
_FILE_MADE_TAG: Final = "TIFFTAG_DATETIME"
_LANDSAT_OLD: Final = re.compile(r"^L([COTEM])0?([1-9])(\d{3})(\d{3})(\d{4})(\d{3})(?!\d)", re.IGNORECASE)
_LANDSAT: Final = re.compile(r"(?<![A-Za-z0-9])L[COTEM]0([1-9])_L\d", re.IGNORECASE)
_SENTINEL: Final = re.compile(r"(?<![A-Za-z0-9])(?:S|Sentinel-)([123])([A-D])(?![A-Za-z0-9])", re.IGNORECASE)
_MOMENT: Final = re.compile(r"(?<!\d)(\d{4})([-:]?)(\d{2})\2(\d{2})(?:[T ](\d{2}):?(\d{2}):?(\d{2})?)?(?![\d])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquired:
    """The date of a scene, what took it, and how that is known."""

    when: str | None
    """ISO 8601: a day, or a moment in UTC."""
    platform: str | None
    source: str
    """Where it was read, for people."""


def find_acquired(scene: Scene) -> Acquired | None:
    """What the files of a scene say of its date and platform; None where they say nothing or disagree on the day.

    Looked at in this order: product metadata beside the files (Sentinel-2 MTD, Landsat MTL), tags of the
    files, names of the files and of the scene, and last the tag that may only say when the file was made.
    """
    paths = tuple(locate(one.uri) for one in scene.files)
    names = dict.fromkeys([*(path.name for path in paths), scene.name])
    found = [
        _from_metadata(tuple(path for path in paths if isinstance(path, Path))),
        _agreed([_from_tags(_tags(path)) for path in paths]),
        _agreed([read_name(name) for name in names]),
        _agreed([_file_made(_tags(path)) for path in paths]),
    ]
    known = [one for one in found if one is not None]
    dated = next((one for one in known if one.when), None)
    named = next((one for one in known if one.platform), None)
    if dated is None:
        return named
    if dated.platform or named is None:
        return dated
    return Acquired(when=dated.when, platform=named.platform, source=f"date {dated.source}; platform {named.source}")


def read_name(name: str) -> Acquired | None:
    """Date and platform in a file's name: Sentinel and Landsat product names, 20200131 and 2020-01-31.

    A name with two different days tells no date, except that of a Landsat product, whose first is the acquisition.
    """
    source = f"read from the name {plain(name)[:80]}"
    if old := _LANDSAT_OLD.match(name):
        day = _ordinal(int(old[5]), int(old[6]))
        return Acquired(when=day, platform=f"Landsat-{old[2]}", source=source) if day else None
    landsat, sentinel = _LANDSAT.search(name), _SENTINEL.search(name)
    platform = f"Landsat-{landsat[1]}" if landsat else None
    if sentinel:
        platform = f"Sentinel-{sentinel[1]}{sentinel[2].upper()}"
    moments = list(dict.fromkeys(_moments(name)))
    days = {one[:10] for one in moments}
    # Sentinel and Landsat names give the acquisition first, processing dates after it
    when = moments[0] if moments and (platform or len(days) == 1) else None
    return Acquired(when=when, platform=platform, source=source) if when or platform else None


def _from_metadata(paths: tuple[Path, ...]) -> Acquired | None:
    folders = dict.fromkeys(folder for path in paths for folder in list(path.parents)[:_LEVELS_UP])
    for folder in folders:
        for pattern in ("MTD_MSIL*.xml", "*_MTL.txt"):
            files = sorted(folder.glob(pattern)) if folder.is_dir() else []
            # several products in one folder: which is this scene's?
            if len(files) == 1 and _belongs(files[0], paths) and (found := _read_metadata(files[0])):
                return found
    return None


def _belongs(metadata: Path, paths: tuple[Path, ...]) -> bool:
    """A Landsat MTL names the product of its files; a Sentinel-2 MTD stands in the product's own folder."""
    if metadata.name.endswith("_MTL.txt"):
        return all(path.name.startswith(metadata.name.removesuffix("_MTL.txt")) for path in paths)
    return metadata.parent.suffix.upper() == ".SAFE" or all(path.parent == metadata.parent for path in paths)


def _read_metadata(path: Path) -> Acquired | None:
    """Read as text by patterns: no XML of unknown origin is parsed."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_METADATA_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    day = re.search(r"(?:<PRODUCT_START_TIME>|DATE_ACQUIRED\s*=\s*)\s*\"?([^<\"\s]+)", text)
    spacecraft = re.search(r"(?:<SPACECRAFT_NAME>|SPACECRAFT_ID\s*=\s*)\s*\"?([^<\"\n]+)", text)
    when = next(_moments(day[1]), None) if day else None
    platform = _platform(spacecraft[1]) if spacecraft else None
    source = f"read from {plain(path.name)[:80]}"
    return Acquired(when=when, platform=platform, source=source) if when or platform else None


def _tags(path: Located) -> dict[str, str]:
    """Every tag that could tell, upper-case names; none where the file can no longer be opened."""
    try:
        with open_raster(path) as file:
            tags: dict[str, Any] = {**file.tags(), **file.tags(ns="IMAGERY")}
    except SceneError:
        return {}
    return {key.upper(): str(value)[:200] for key, value in tags.items()}


def _from_tags(tags: Mapping[str, str]) -> Acquired | None:
    dated = next(((key, when) for key in _DATE_TAGS if (when := next(_moments(tags.get(key, "")), None))), None)
    named = next(((key, tags[key]) for key in _PLATFORM_TAGS if tags.get(key, "").strip()), None)
    keys = [one[0] for one in (dated, named) if one]
    if not keys:
        return None
    return Acquired(
        when=dated[1] if dated else None,
        platform=_platform(named[1]) if named else None,
        source=f"read from the tag {' and '.join(keys)} of the file",
    )


def _file_made(tags: Mapping[str, str]) -> Acquired | None:
    when = next(_moments(tags.get(_FILE_MADE_TAG, "")), None)
    source = f"read from the tag {_FILE_MADE_TAG}, which may say when the file was made"
    return Acquired(when=when, platform=None, source=source) if when else None


def _agreed(found: list[Acquired | None]) -> Acquired | None:
    """The first of them, where all that tell a day or a platform tell the same."""
    told = [one for one in found if one is not None]
    days = {one.when[:10] for one in told if one.when}
    platforms = {one.platform for one in told if one.platform}
    if len(days) > 1 or len(platforms) > 1:
        return None
    both = sorted(told, key=lambda one: (one.when is None, one.platform is None))
    return both[0] if both else None


def _platform(text: str) -> str:
    words = plain(text).strip()[:40]
    landsat = re.fullmatch(r"landsat[_ -]?(\d)", words, re.IGNORECASE)
    return f"Landsat-{landsat[1]}" if landsat else words


def _moments(text: str) -> Iterator[str]:
    """Days and moments in a text as ISO 8601, impossible ones left out."""
    for found in _MOMENT.finditer(text.replace("_", " ")):
        year, _, month, day, hour, minute, second = (int(one) if (one or "").isdigit() else 0 for one in found.groups())
        try:
            at = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        except ValueError:
            continue
        if at.year >= _FIRST_YEAR and at <= datetime.now(UTC) + timedelta(days=1):
            yield at.strftime("%Y-%m-%dT%H:%M:%SZ") if found[5] else at.date().isoformat()


def _ordinal(year: int, day: int) -> str | None:
    if not _FIRST_YEAR <= year <= datetime.now(UTC).year or not 1 <= day <= 366:
        return None
    return (date(year, 1, 1) + timedelta(days=day - 1)).isoformat()
