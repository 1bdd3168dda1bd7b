"""Which band is red: common names from what the user says, descriptions, colours and usual file names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from geoseg.errors import SceneError
from geoseg.raster.safety import plain
from geoseg.raster.source import BandSource

Sensor = Literal["sentinel-2", "landsat-8", "landsat-5"]

# Band numbers as the agencies count them (ESA Sentinel-2 user handbook; USGS Landsat 8-9 and 4-7 handbooks); the
# names are those of the STAC EO extension, Landsat's near infrared being plainly nir.
_NUMBERED: Final[dict[Sensor, dict[str, str]]] = {
    "sentinel-2": {
        "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "rededge071", "6": "rededge075",
        "7": "rededge078", "8": "nir", "8A": "nir08", "9": "nir09", "10": "cirrus", "11": "swir16", "12": "swir22",
    },
    "landsat-8": {
        "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "nir", "6": "swir16", "7": "swir22",
        "8": "pan", "9": "cirrus", "10": "lwir11", "11": "lwir12",
    },
    "landsat-5": {
        "1": "blue", "2": "green", "3": "red", "4": "nir", "5": "swir16", "6": "lwir", "7": "swir22", "8": "pan",
    },
}  # fmt: skip
_ALIASES: Final = {
    "swir1": "swir16", "swir2": "swir22", "nearinfrared": "nir", "nearir": "nir", "nir1": "nir",
    "panchromatic": "pan", "coastalaerosol": "coastal", "aerosol": "coastal", "watervapour": "nir09",
    "narrownir": "nir08", "nirnarrow": "nir08", "rededge1": "rededge071", "rededge2": "rededge075",
    "rededge3": "rededge078",
}  # fmt: skip
_COMMON: Final = frozenset(name for table in _NUMBERED.values() for name in table.values()) | {"rededge", "yellow"}
_SENSOR_PATTERNS: Final[dict[Sensor, str]] = {
    "sentinel-2": r"S2[ABC]?(?![A-Za-z0-9])|Sentinel[-_ ]?2|(?<![A-Za-z0-9])T\d{2}[A-Z]{3}_\d{8}T\d{6}|HLS\.S30",
    "landsat-8": r"(?<![A-Za-z0-9])L[COT]?0?[89](?![0-9])|Landsat[-_ ]?[89]|HLS\.L30",
    "landsat-5": r"(?<![A-Za-z0-9])L[TEM]?0?[457](?![0-9])|Landsat[-_ ]?[457]",
}
_NUMBER: Final = re.compile(r"(?<![A-Za-z0-9])(?:SR_|TOA_)?B(0?\d|1[012]|8A)(?![A-Za-z0-9])", re.IGNORECASE)


def name_bands(bands: Sequence[BandSource], *, folder: bool) -> tuple[BandSource, ...]:
    """The bands with their common names, band_1, band_2 … (in this order) where none is certain.

    Args:
        bands: in file order.
        folder: one file per band, so that file names tell bands apart.
    """
    hints = [Path(band.uri).name for band in bands]
    descriptions = [band.description for band in bands]
    sensor = find_sensor(hints, [*descriptions, *(hints if folder or len(bands) == 1 else [])])
    named = []
    for order, band in enumerate(bands, start=1):
        stem = Path(band.uri).stem
        name = (
            _by_word(band.description)
            or _by_number(band.description, sensor)
            or (_by_number(stem, sensor) or _by_word(stem) if folder or len(bands) == 1 else None)
            or (band.color if band.color in ("red", "green", "blue") else None)
        )
        named.append(replace(band, name=name or f"band_{order}"))
    return tuple(named)


def find_sensor(files: Sequence[str], numbered: Sequence[str]) -> Sensor | None:
    """The sensor whose band numbers are meant; None when the names do not say it beyond doubt.

    Args:
        files: file names, in which a product name may stand.
        numbered: texts in which a band number may stand; B8A and B12 exist on Sentinel-2 alone, and of the two
            only Sentinel-2 products pad B02 with a zero.
    """
    texts = [*files, *numbered]
    told: set[Sensor] = {
        sensor
        for sensor, pattern in _SENSOR_PATTERNS.items()
        if any(re.search(pattern, text, re.IGNORECASE) for text in texts)
    }
    if told:
        return told.pop() if len(told) == 1 else None
    found = {match.upper() for text in numbered for match in _NUMBER.findall(text)}
    padded = any(number.startswith("0") for number in found)
    return "sentinel-2" if padded or found & {"8A", "12"} else None


def choose_bands(bands: Sequence[BandSource], wanted: Mapping[str, str], *, scene: str) -> tuple[BandSource, ...]:
    """The bands renamed as the user says: a band number, a description, a file name or a unique part of one.

    Raises:
        SceneError: a value fits no band, or several.
    """
    told: dict[int, str] = {}
    for name, value in wanted.items():
        position = _find(bands, value.strip(), name=name, scene=scene)
        if position in told:
            raise SceneError(f"{scene}: --bands names one band {told[position]!r} and {name!r}: give each its own")
        told[position] = name
    return tuple(
        replace(band, name=told.get(position, band.name if band.name not in wanted else f"band_{position + 1}"))
        for position, band in enumerate(bands)
    )


def select_bands(bands: Sequence[BandSource], names: Sequence[str], *, scene: str) -> tuple[BandSource, ...]:
    """The bands of these names in this order; band_N is the N-th band, whatever its name.

    Raises:
        SceneError: a name is not there or fits several bands; palettes, which are no radiometry.
    """
    chosen = []
    for name in names:
        fits = [band for band in bands if band.name == name]
        number = re.fullmatch(r"band_(\d{1,5})", name)
        if not fits and number and 1 <= int(number[1]) <= len(bands):
            fits = [replace(bands[int(number[1]) - 1], name=name)]
        if not fits:
            raise SceneError(f"{scene} has {_listed(bands)}; {', '.join(names)} needed: {_remedy(bands, names)}")
        if len(fits) > 1:
            files = ", ".join(sorted(plain(Path(band.uri).name) for band in fits))
            raise SceneError(
                f"{scene} has {len(fits)} bands {name!r} ({files}): choose with --bands {name}=<file name>"
            )
        if fits[0].palette:
            raise SceneError(
                f"{scene}: band {name!r} holds indices of a palette, not radiometry: give the original image, or "
                "expand it with gdal_translate -expand rgb"
            )
        chosen.append(fits[0])
    return tuple(chosen)


def _find(bands: Sequence[BandSource], value: str, *, name: str, scene: str) -> int:
    several = len({band.uri for band in bands}) > 1
    if value.isdecimal() and not several:
        fits = [k for k, band in enumerate(bands) if band.index == int(value)]
    else:
        lower = value.lower()
        exact = [k for k, band in enumerate(bands) if lower in _titles(band, files=several)]
        fits = exact or [k for k, band in enumerate(bands) if several and lower in Path(band.uri).name.lower()]
    if len(fits) == 1:
        return fits[0]
    what = f"fits {len(fits)} bands" if fits else "is none of its bands"
    raise SceneError(f"{scene}: --bands {name}={plain(value)} {what}: it has {_listed(bands)}")


def _titles(band: BandSource, *, files: bool) -> set[str]:
    path = Path(band.uri)
    names = {path.name.lower(), path.stem.lower()} if files else set()
    return {one for one in (band.description.lower(), band.name.lower(), *names) if one}


def _by_word(text: str) -> str | None:
    word = re.sub(r"[^a-z0-9]", "", text.lower())
    word = _ALIASES.get(word, word)
    return word if word in _COMMON else None


def _by_number(text: str, sensor: Sensor | None) -> str | None:
    numbers = {number.upper().lstrip("0") for number in _NUMBER.findall(text)}
    if sensor is None or len(numbers) != 1:
        return None
    return _NUMBERED[sensor].get(numbers.pop())


def _listed(bands: Sequence[BandSource]) -> str:
    shown = ", ".join(
        f"{band.name} ({band.description})" if band.description and band.description != band.name else band.name
        for band in bands[:16]
    )
    more = ", …" if len(bands) > 16 else ""
    return f"{len(bands)} band{'s' if len(bands) != 1 else ''} ({shown}{more})"


def _remedy(bands: Sequence[BandSource], names: Sequence[str]) -> str:
    several = len({band.uri for band in bands}) > 1
    numbered = enumerate(names[: len(bands)], start=1)
    example = ",".join(f"{name}={'<file name>' if several else k}" for k, name in numbered)
    return f"name them with --bands {example}"
