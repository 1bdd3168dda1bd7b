"""How a file is opened: plain paths and allowed addresses, explicit drivers, no siblings, bounded sizes."""

import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, cast

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from geoseg.errors import ResourceError, SceneError
from geoseg.raster.remote import Address, Located, is_remote, redact
from geoseg.raster.remote_file import RemoteBytes, RemoteDataset
from geoseg.raster.remote_files import remote_files

Driver = Literal["GTiff", "JP2OpenJPEG"]

SAFE_OPTIONS: Final = {
    # GDAL sees the file alone: a sidecar (.aux.xml, .ovr, .msk, world file) may be a VRT that opens any other file.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_GEOREF_SOURCES": "INTERNAL",
}
MAX_RATIO: Final = 200
"""Decoded bytes for each byte on disk above which a large file is taken for a bomb."""
LARGE_BYTES: Final = 2 * 10**9
MAX_BLOCK_BYTES: Final = 512 * 2**20
"""Decoded bytes of one block over all bands: what must be held at least."""
_MAGIC: Final[dict[bytes, Driver]] = {
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",
    b"MM\0+": "GTiff",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
}


@contextmanager
def raster_env(*, cache_mb: int = 64, threads: int = 1) -> Iterator[None]:
    """The GDAL environment in which scenes are read: block cache in MiB, decoding threads (0 = every core).

    Raises:
        ResourceError: the environment lets VRT files run Python.
    """
    _refuse_vrt_python()
    options: dict[str, Any] = {
        **SAFE_OPTIONS,
        "GDAL_CACHEMAX": cache_mb * 2**20,
        "GDAL_NUM_THREADS": "ALL_CPUS" if threads == 0 else str(threads),
    }
    with rasterio.Env(**options):
        yield


def find_file(text: str) -> Located:
    """The place of a plain file: an absolute path, or an address that is allowed (see `remote_access`).

    Raises:
        SceneError: as `find_local_file`, or an address that is not read or not allowed.
    """
    return remote_files().adopt(text) if is_remote(text) else find_local_file(text)


def find_local_file(text: str) -> Path:
    """The absolute path of a plain local file.

    Raises:
        SceneError: a URL, a GDAL virtual path or subdataset, not there, or not a regular file.
    """
    path = find_local_path(text)
    if not stat.S_ISREG(path.stat().st_mode):
        raise SceneError(f"{plain(path.name)} is not a regular file: give a GeoTIFF or JPEG 2000 file")
    return path


def find_local_path(text: str) -> Path:
    """The absolute path of a plain local file or folder.

    Raises:
        SceneError: a URL, a GDAL virtual path or subdataset, or not there.
    """
    if "://" in text or text.lower().startswith(("/vsi", "\\vsi")):
        raise SceneError(f"{plain(redact(text))} is not a local file: download it and give its path")
    if "\0" in text:
        raise SceneError(f"{plain(text)} has a zero byte in its name: give a plain path")
    if not text:
        raise SceneError("an empty path was given: is a variable of the shell unset?")
    try:
        path = Path(text).expanduser()
        if path.exists():
            return path.resolve()
    except (OSError, RuntimeError) as error:
        raise SceneError(f"{plain(text)} cannot be looked at ({plain(str(error))}): check its path") from error
    if re.match(r"[A-Za-z][A-Za-z0-9_+.-]+:", text):
        raise SceneError(f"{plain(text)} is not a local file: give the path of the file itself, with no prefix")
    raise SceneError(f"{plain(text)} does not exist: check the path")


def find_driver(path: Located) -> Driver:
    """The driver for a file by its first bytes, never by its name.

    Raises:
        SceneError: empty, a VRT, or neither GeoTIFF nor JPEG 2000.
    """
    try:
        with open_bytes(path) as file:
            head = file.read(512)
    except OSError as error:
        raise SceneError(f"{plain(path.name)} cannot be read ({error.strerror}): check its permissions") from error
    name = plain(path.name)
    if not head:
        raise SceneError(f"{name} is empty: copy it again from its origin")
    if b"<VRTDataset" in head or b"<vrtdataset" in head.lower():
        raise SceneError(f"{name} is a VRT, which can open any other file: make it a file with gdal_translate -of COG")
    for magic, driver in _MAGIC.items():
        if head.startswith(magic):
            return driver
    raise SceneError(
        f"{name} is neither GeoTIFF nor JPEG 2000 (it begins with {head[:8]!r}): convert it with gdal_translate "
        "-of COG, or copy it again from its origin"
    )


def open_bytes(path: Located) -> BinaryIO:
    """A file to read bytes of, here or elsewhere."""
    return cast(BinaryIO, RemoteBytes(remote_files().open(path))) if isinstance(path, Address) else path.open("rb")


def open_raster(path: Located, *, driver: Driver | None = None) -> Any:
    """An open rasterio dataset of a file, seen by GDAL alone, without siblings.

    Raises:
        SceneError: the driver refuses the file.
        ResourceError: the environment lets VRT files run Python.
    """
    _refuse_vrt_python()
    driver = driver or find_driver(path)
    with rasterio.Env(**SAFE_OPTIONS), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            if isinstance(path, Address):
                return RemoteDataset(remote_files().open(path), driver=driver)
            return rasterio.open(path, driver=driver)
        except (RasterioError, OSError, ValueError) as error:
            raise SceneError(
                f"{plain(path.name)} cannot be opened ({first_cause(error)}): copy it again from its origin"
            ) from error


def check_sizes(dataset: Any, path: Located, *, allow_large: bool) -> None:
    """Refuse a decompression bomb before any pixel of it is decoded.

    Raises:
        SceneError: far larger decoded than on disk, or one block too large to hold.
    """
    name = plain(path.name)
    item_bytes = max(_item_bytes(dtype) for dtype in dataset.dtypes)
    decoded = dataset.width * dataset.height * dataset.count * item_bytes
    stored = remote_files().open(path).size if isinstance(path, Address) else path.stat().st_size
    ratio = decoded / max(stored, 1)
    if decoded > LARGE_BYTES and ratio > MAX_RATIO and not allow_large:
        raise SceneError(
            f"{name} holds {decoded / 1e9:.1f} GB in {stored / 1e6:.3g} MB on disk "
            f"({ratio:.0f} times): pass --allow-large if that is right"
        )
    height, width = max(dataset.block_shapes)
    block = height * width * item_bytes * dataset.count
    if block > MAX_BLOCK_BYTES:
        raise SceneError(
            f"{name} has a block of {height} x {width} pixels, {block / 1e9:.1f} GB decoded: "
            "rewrite it in smaller blocks with gdal_translate -of COG"
        )


def first_cause(error: BaseException) -> str:
    """What GDAL said first, on one line without the paths of this machine."""
    while error.__cause__ is not None:
        error = error.__cause__
    words = re.sub(r"(/[^\s/:']+)+/", "", str(error))
    return plain(words)[:160]


def plain(text: str) -> str:
    """A text from a file or a path on one line, without control characters."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def missing_drivers() -> list[str]:
    """The GDAL drivers geoseg reads or writes with that this GDAL does not have."""
    with rasterio.Env() as env:
        present = env.drivers()
    return [name for name in ("GTiff", "COG", "JP2OpenJPEG") if name not in present]


def gdal_version() -> str:
    """The version of GDAL in use."""
    return str(rasterio.__gdal_version__)


def _item_bytes(dtype: str) -> int:
    sizes = {"complex_int16": 4, "complex_int32": 8}
    return sizes.get(dtype) or np.dtype(dtype).itemsize


def _refuse_vrt_python() -> None:
    if os.environ.get("GDAL_VRT_ENABLE_PYTHON", "NO").upper() not in ("NO", "FALSE", "OFF", "0", ""):
        raise ResourceError("GDAL_VRT_ENABLE_PYTHON is set, so that a raster file could run code: unset it")
