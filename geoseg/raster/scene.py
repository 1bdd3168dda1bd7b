"""A scene: which files and bands it is made of and on which grid; its pixels are read by `reader`."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
from odc.geo.geobox import GeoBox

from geoseg.core.grid import ground_pixel_m, same_grid
from geoseg.errors import SceneError
from geoseg.pipeline import Level
from geoseg.raster.bands import choose_bands, name_bands, select_bands
from geoseg.raster.reader import SceneReader
from geoseg.raster.remote import Address, Located, is_remote, undo_path
from geoseg.raster.remote_files import remote_files
from geoseg.raster.safety import find_file, find_local_file, find_local_path, plain
from geoseg.raster.source import BandSource, SourceFile, inspect_file
from geoseg.raster.validity import Validity, describe_validity

__all__ = ["BandSource", "Scene", "SceneOptions", "SceneReader", "describe_scene", "open_scene"]

LEVEL_TAG: Final = "GEOSEG_LEVEL"
_LEFT_OUT: Final = "left out: "
_SUFFIXES: Final = (".tif", ".tiff", ".jp2", ".j2k")
_MAX_FILES: Final = 1000
_MAX_LIST_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOptions:
    """What the user says of a scene that its files do not."""

    level: Level | None = None
    """What pixel values mean."""
    collar: float | None = None
    """A value that marks pixels outside the scene in every band."""
    mask: str | None = None
    """Path of an external mask raster: 0 = excluded, other values = usable."""
    allow_large: bool = False
    """Accept a file that unpacks to over 200 times its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A picklable handle on a scene (< 10 kB); nothing is open in it."""

    name: str
    """For messages and outputs."""
    bands: tuple[BandSource, ...]
    files: tuple[SourceFile, ...]
    """The files of these bands."""
    grid: GeoBox
    """The finest grid among the files; other files are brought to it."""
    dtype: str
    """numpy type that holds every band."""
    level: Level | None
    """As told, or as the files say."""
    fingerprint: str
    """sha256 over name, size and modification time (of remote files ETag) of every file that may change a pixel."""
    notes: tuple[str, ...]
    """Notices to print once, one line each."""
    validity: Validity

    def select(self, names: Sequence[str]) -> "Scene":
        """The scene with these bands only, in this order, on the finest grid among them.

        Raises:
            SceneError: a band is not there, fits several, or is an index into a palette.
        """
        try:
            chosen = select_bands(self.bands, names, scene=self.name)
        except SceneError as error:
            left_out = "".join(f"; {note}" for note in self.notes if note.startswith(_LEFT_OUT))
            raise SceneError(f"{error}{left_out}") from error
        return _assemble(self, chosen)

    def without_mask(self) -> "Scene":
        """The same scene as if no external mask had been given."""
        return replace(self, validity=replace(self.validity, mask=None, mask_band=None))


def open_scene(
    source: str | Path, *, bands: Mapping[str, str] | None = None, options: SceneOptions | None = None
) -> Scene:
    """The scene at a path: a GeoTIFF or JPEG 2000, a folder with a file per band, or a *.txt list of such files.

    Args:
        source: a plain local path, or (see `remote_access`) the address of a file or s3://bucket/folder/.
        bands: common name -> band number, description, or (of several files) file name or a unique part of it.
        options: what the files do not say.

    Raises:
        SceneError: the source is refused; the message has the remedy.
    """
    options = options or SceneOptions()
    path, paths = _find_files(undo_path(str(source)))
    name = plain(path.name)
    files: list[SourceFile] = []
    found: list[BandSource] = []
    notes: list[str] = []
    levels: list[tuple[str, Level]] = []
    for one in paths:
        try:
            file, its_bands, tags = inspect_file(one, allow_large=options.allow_large)
        except SceneError as error:
            if not (path.is_folder if isinstance(path, Address) else path.is_dir()):
                raise
            notes.append(f"{_LEFT_OUT}{error}")
            continue
        files.append(file)
        found.extend(its_bands)
        if options.level is None and (told := _level(tags, file.name)) is not None:
            levels.append((file.name, told))
    if not files:
        reasons = f" ({notes[0]})" if notes else ""
        raise SceneError(f"{name} holds no raster that can be read{reasons}: give a folder with a file per band")
    named = name_bands(found, folder=len(files) > 1)
    chosen = choose_bands(named, bands or {}, scene=name)
    whole = Scene(
        name=name,
        bands=chosen,
        files=tuple(files),
        grid=files[0].grid,
        dtype="",
        level=options.level or _one_level(levels, name),
        fingerprint="",
        notes=tuple(notes),
        validity=_validity(options),
    )
    return _assemble(whole, chosen)


def describe_scene(scene: Scene) -> dict[str, Any]:
    """What is known of a scene, for people and machines."""
    height, width = scene.grid.shape
    pixel = ground_pixel_m(scene.grid)
    return {
        "name": scene.name,
        "height": height,
        "width": width,
        "crs": str(scene.grid.crs),
        "transform": list(scene.grid.transform)[:6],
        "pixel_m": [round(side, 4) for side in pixel],
        "dtype": scene.dtype,
        "level": scene.level,
        "bands": [_describe_band(scene, band) for band in scene.bands],
        "validity": describe_validity(scene.bands, scene.files, scene.validity),
        "files": [file.uri for file in scene.files],
        "fingerprint": scene.fingerprint,
        "notes": list(scene.notes),
    }


def _describe_band(scene: Scene, band: BandSource) -> dict[str, Any]:
    file = next(one for one in scene.files if one.uri == band.uri)
    described: dict[str, Any] = {"name": band.name, "file": file.name, "number": band.index, "dtype": band.dtype}
    if band.description:
        described["description"] = band.description
    if (band.scale, band.offset) != (1.0, 0.0):
        described |= {"scale": band.scale, "offset": band.offset}
    if not band.on_grid:
        described["resampling"] = band.resampling
    if band.palette:
        described["palette"] = True
    return described


def _assemble(scene: Scene, bands: tuple[BandSource, ...]) -> Scene:
    """The scene with these bands: its files, grid, dtype and fingerprint follow from them."""
    used = {band.uri for band in bands}
    files = tuple(file for file in scene.files if file.uri in used)
    finest = min(files, key=lambda file: _pixel_m2(file.grid))
    on_grid = {file.uri for file in files if same_grid(file.grid, finest.grid)}
    mask, mask_band = scene.validity.mask, scene.validity.mask_band
    if mask is not None and mask_band is not None:
        mask_band = replace(mask_band, on_grid=same_grid(mask.grid, finest.grid))
    parts = [("scene", file) for file in files] + ([("mask", mask)] if mask else [])
    # names without their folders: the same files elsewhere are the same input
    text = "\n".join(
        f"{part}\t{Path(one.uri).name}\t{one.size}\t{one.state}" for part, file in parts for one in file.stamps
    )
    said = [note for file in files for note in file.notes]
    unsaid = {note for file in scene.files if file.uri not in used for note in file.notes}
    return replace(
        scene,
        bands=tuple(replace(band, on_grid=band.uri in on_grid) for band in bands),
        files=files,
        grid=finest.grid,
        dtype=str(np.result_type(*(band.dtype for band in bands))),
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        notes=tuple(dict.fromkeys(note for note in (*scene.notes, *said) if note not in unsaid)),
        validity=replace(scene.validity, mask_band=mask_band),
    )


def _pixel_m2(grid: GeoBox) -> float:
    height, width = ground_pixel_m(grid)
    # Rounded, so that of equal grids the first is the reference whatever the last digits say.
    return float(f"{height * width:.6g}")


def _validity(options: SceneOptions) -> Validity:
    if options.collar is not None and not math.isfinite(options.collar):
        raise SceneError(f"collar {options.collar} is no finite number: NaN and infinity are never observed anyway")
    if options.mask is None:
        return Validity(collar=options.collar)
    file, bands, _ = inspect_file(find_file(options.mask), allow_large=options.allow_large)
    if len(bands) != 1:
        raise SceneError(f"mask {file.name} has {len(bands)} bands: give a raster with one, 0 = excluded")
    return Validity(collar=options.collar, mask=file, mask_band=replace(bands[0], resampling="nearest"))


def _level(tags: Mapping[str, str], name: str) -> Level | None:
    told = tags.get(LEVEL_TAG)
    if told is None:
        return None
    for level in get_args(Level):
        if told == level:
            return level  # type: ignore[no-any-return]
    raise SceneError(f"{name}: its tag {LEVEL_TAG}={plain(told)!r} is not one of {', '.join(get_args(Level))}")


def _one_level(levels: Sequence[tuple[str, Level]], scene: str) -> Level | None:
    """The level on which all files agree that state one."""
    if not levels:
        return None
    first, level = levels[0]
    for other, its_level in levels[1:]:
        if its_level != level:
            raise SceneError(
                f"{scene}: {first} holds {level} values, {other} {its_level} values: give bands of one level, or say "
                "what all of them hold with --radiometry"
            )
    return level


def _find_files(text: str) -> tuple[Located, list[Located]]:
    """A source, and its raster files: itself, the files of a folder by name, or those a list names."""
    if is_remote(text):
        address = remote_files().adopt(text)
        return address, _list_bucket(address) if address.is_folder else [address]
    path = find_local_path(text)
    return path, _list_files(path)


def _list_bucket(folder: Address) -> list[Located]:
    """The raster files right below a prefix, by name."""
    keys = (one.key for one in remote_files().client.list_keys(folder.host, folder.path, deep=False))
    found = [Address(scheme="s3", host=folder.host, path=key) for key in keys if key.lower().endswith(_SUFFIXES)]
    return _checked(list(found), folder)


def _list_files(path: Path) -> list[Located]:
    if path.is_dir():
        found = sorted(one for one in path.iterdir() if one.suffix.lower() in _SUFFIXES and one.is_file())
        paths: list[Located] = [one.resolve() for one in found if not one.name.startswith(".")]
    elif path.suffix.lower() == ".txt":
        paths = _read_list(path)
    else:
        paths = [find_local_file(str(path))]
    return _checked(paths, path)


def _checked(paths: list[Located], place: Located) -> list[Located]:
    if not paths:
        raise SceneError(f"{plain(place.name)} has no GeoTIFF or JPEG 2000 file in it: give the folder they are in")
    if len(paths) > _MAX_FILES:
        raise SceneError(f"{plain(place.name)} has {len(paths)} files, more than {_MAX_FILES}: name them in a list")
    return paths


def _read_list(path: Path) -> list[Located]:
    file = find_local_file(str(path))
    name = plain(file.name)
    if file.stat().st_size > _MAX_LIST_BYTES:
        raise SceneError(f"{name} is too long for a list of files: one path a line, at most {_MAX_FILES}")
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise SceneError(f"{name} is not a text file: give one path a line") from error
    named = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if len(set(named)) != len(named):
        raise SceneError(f"{name} names a file twice: name each once")
    return [find_file(one if "://" in one else str(file.parent / one)) for one in named]
