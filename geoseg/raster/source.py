"""What is known of the files of a scene without decoding a pixel: one value per file, one per band."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from odc.geo.geobox import GeoBox

from geoseg.errors import SceneError
from geoseg.raster.georeference import read_grid
from geoseg.raster.remote import Address, Located
from geoseg.raster.remote_files import remote_files
from geoseg.raster.safety import Driver, check_sizes, find_driver, open_bytes, open_raster, plain
from geoseg.raster.tags import RawTags, read_raw_tags

Resampling = Literal["bilinear", "nearest"]
_NO_NODATA: Final = ("", "none", "null", "no", "n/a", "na")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """A file as it was when the scene was opened."""

    uri: str
    """Absolute path, or address without its query."""
    size: int
    mtime_ns: int = 0
    """Of a file here."""
    version: str = ""
    """Of a file elsewhere: its ETag, or the time of the last change."""

    @staticmethod
    def of(path: Located) -> "Stamp":
        """The stamp of a file now; of one elsewhere as it was looked at, for every later request holds it to that."""
        if isinstance(path, Address):
            file = remote_files().open(path)
            return Stamp(uri=path.uri, size=file.size, version=file.version)
        found = path.stat()
        return Stamp(uri=str(path), size=found.st_size, mtime_ns=found.st_mtime_ns)

    @property
    def state(self) -> str:
        """What tells that a file has changed, as fingerprints have it."""
        return self.version or str(self.mtime_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A raster file of a scene."""

    stamp: Stamp
    driver: Driver
    grid: GeoBox
    count: int
    block: tuple[int, int]
    """(height, width) of a block."""
    sparse: bool = False
    """Blocks may be missing from it, which can be looked up."""
    alpha: int | None = None
    """Number of the alpha band; 0 there = not observed."""
    internal_mask: bool = False
    mask: Stamp | None = None
    """The .msk sidecar: a GeoTIFF of the same shape, nonzero = observed."""
    world: Stamp | None = None
    """The world file that gave the transform."""
    notes: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        """Absolute path or address."""
        return self.stamp.uri

    @property
    def name(self) -> str:
        """File name, for messages."""
        return plain(Path(self.uri).name)

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """Every file that may change a pixel."""
        return tuple(one for one in (self.stamp, self.mask, self.world) if one is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BandSource:
    """One band of a scene: where its pixels are and what they mean."""

    uri: str
    index: int
    """Band number in the file, from 1."""
    name: str
    """Common name (red, nir …), or band_1, band_2 … where none is known."""
    description: str
    color: str
    """GDAL's colour interpretation, lower case."""
    dtype: str
    scale: float
    """Physical value = stored value x scale + offset; the reader gives stored values."""
    offset: float
    nodata: float | int | None
    """Stored value that means not observed; NaN and inf always do."""
    resampling: Resampling = "bilinear"
    """How it is brought to the reference grid, where its own differs."""
    on_grid: bool = True
    """Its own grid is the scene's reference grid."""
    palette: bool = False
    """Values are indices of a colour table."""


def inspect_file(path: Located, *, allow_large: bool) -> tuple[SourceFile, tuple[BandSource, ...], dict[str, str]]:
    """A file, its bands (alpha left out) and its tags, read from headers only.

    Raises:
        SceneError: the file is refused; the message has the remedy.
    """
    driver = find_driver(path)
    with open_raster(path, driver=driver) as dataset:
        check_sizes(dataset, path, allow_large=allow_large)
        name = plain(path.name)
        for dtype in dataset.dtypes:
            if "complex" in dtype:
                raise SceneError(f"{name} has complex pixels ({dtype}): make a real band of it, e.g. its amplitude")
        found = read_grid(dataset, path)
        colors = [one.name for one in dataset.colorinterp]
        alpha = colors.index("alpha") + 1 if "alpha" in colors else None
        raw = _raw_tags(path) if driver == "GTiff" else RawTags()
        nodata, notes = _nodata(raw, dataset, name)
        mask, unread = _find_sidecars(path, (dataset.height, dataset.width))
        file = SourceFile(
            stamp=Stamp.of(path),
            driver=driver,
            grid=found.grid,
            count=dataset.count,
            block=_largest_block(dataset),
            sparse=driver == "GTiff" and not _is_split(dataset, raw),
            alpha=alpha,
            internal_mask=alpha is None and _has_internal_mask(dataset),
            mask=mask,
            world=Stamp.of(found.world) if found.world else None,
            notes=(*found.notes, *notes, *unread),
        )
        bands = tuple(
            _band(dataset, index, path, nodata=nodata, color_table=raw.color_table)
            for index in range(1, dataset.count + 1)
            if index != alpha
        )
        return file, bands, dict(dataset.tags())


def _raw_tags(path: Located) -> RawTags:
    with open_bytes(path) as file:
        return read_raw_tags(file)


def _band(dataset: Any, index: int, path: Located, *, nodata: float | int | None, color_table: bool) -> BandSource:
    """One band of an open file, with the name it has until it is matched."""
    color = dataset.colorinterp[index - 1].name
    return BandSource(
        uri=path.uri if isinstance(path, Address) else str(path),
        index=index,
        name=f"band_{index}",
        description=plain(dataset.descriptions[index - 1] or ""),
        color=color,
        dtype=str(np.dtype(dataset.dtypes[index - 1])),
        scale=float(dataset.scales[index - 1]),
        offset=float(dataset.offsets[index - 1]),
        nodata=nodata,
        palette=color_table and color == "palette",
    )


def parse_nodata(text: str, dtype: str, *, place: str) -> tuple[float | int | None, str | None]:
    """(value, note) of a nodata tag: GDAL would read "none" and "0,5" as 0, and drop -9999 in uint8 unsaid.

    Raises:
        SceneError: the tag is no number.
    """
    words = plain(text)[:40]
    if words.lower() in _NO_NODATA:
        return None, f"{place}: nodata tag {words!r} taken as: none"
    try:
        value = float(words)
    except ValueError as error:
        raise SceneError(
            f"{place}: its nodata tag {words!r} is no number: set it with gdal_edit -a_nodata, or remove it with "
            "-unsetnodata"
        ) from error
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return value, None
    whole = int(words) if re.fullmatch(r"[+-]?\d+", words) else int(value) if math.isfinite(value) else None
    limits = np.iinfo(kind)
    if whole is None or (whole != value and abs(value) < 2**53) or not limits.min <= whole <= limits.max:
        return None, f"{place}: nodata tag {words!r} cannot occur in {dtype}, so no pixel is nodata by it"
    return whole, None


def _nodata(raw: RawTags, dataset: Any, name: str) -> tuple[float | int | None, tuple[str, ...]]:
    dtype = dataset.dtypes[0]
    if raw.nodata is None:
        return dataset.nodata, ()
    value, note = parse_nodata(raw.nodata, dtype, place=name)
    return value, (note,) if note else ()


def _largest_block(dataset: Any) -> tuple[int, int]:
    height = max(shape[0] for shape in dataset.block_shapes)
    width = max(shape[1] for shape in dataset.block_shapes)
    return min(height, dataset.height), min(width, dataset.width)


def _is_split(dataset: Any, raw: RawTags) -> bool:
    """GDAL shows one tall strip as blocks of one row, whose places in the file it cannot tell."""
    return bool(dataset.block_shapes[0][0] == 1 and (raw.rows_per_strip or 1) > 1)


def _has_internal_mask(dataset: Any) -> bool:
    """A mask for the whole file, or (no flag at all) one for each band."""
    flags = [flag.name for flag in dataset.mask_flag_enums[0]]
    return not flags or "per_dataset" in flags


def _find_sidecars(path: Located, shape: tuple[int, int]) -> tuple[Stamp | None, tuple[str, ...]]:
    """(the `.msk` beside a file, notes on what else there is and is not read)."""
    if isinstance(path, Address):
        sidecar = path.beside(".msk")
        there = remote_files().exists(sidecar, beside=path)
        note = f"{plain(sidecar.name)}: whether it is there cannot be told; give a mask with --mask"
        return _check_mask(sidecar, shape) if there else None, (note,) if there is None else ()
    local = path.with_name(path.name + ".msk")
    return _check_mask(local, shape) if local.exists() else None, _unread_siblings(path)


def _check_mask(sidecar: Located, shape: tuple[int, int]) -> Stamp:
    """The stamp of a mask; anything but a GeoTIFF of the same shape is refused, for it would hide nodata."""
    name = plain(sidecar.name)
    remedy = "remove it, or give the mask with --mask"
    if isinstance(sidecar, Path):
        sidecar = sidecar.resolve()
        if not sidecar.is_file():
            raise SceneError(f"{name} beside the scene is not a regular file: {remedy}")
    try:
        driver = find_driver(sidecar)
        if driver != "GTiff":
            raise SceneError(f"{name} beside the scene is not a GeoTIFF: {remedy}")
        with open_raster(sidecar, driver=driver) as mask:
            check_sizes(mask, sidecar, allow_large=False)
            found = (mask.height, mask.width)
    except SceneError as error:
        raise SceneError(f"mask beside the scene cannot be used: {error}; or: {remedy}") from error
    if found != shape:
        raise SceneError(f"{name} has {found[0]} x {found[1]} pixels, its scene {shape[0]} x {shape[1]}: {remedy}")
    return Stamp.of(sidecar)


def _unread_siblings(path: Path) -> tuple[str, ...]:
    present = [suffix for suffix in (".aux.xml", ".ovr") if path.with_name(path.name + suffix).exists()]
    return tuple(f"{plain(path.name)}{suffix} is not read" for suffix in present)
