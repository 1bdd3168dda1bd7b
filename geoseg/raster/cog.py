"""One uint8 raster written block by block, made a COG and proven to hold what was written."""

import os
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterWindow

from geoseg.core.patch import NODATA
from geoseg.core.window import Window
from geoseg.errors import GeosegError, ResourceError
from geoseg.raster.safety import first_cause

BLOCK: Final = 512
"""Side of a block in pixels, of what is written and of the COG."""
_NARROW_BLOCK: Final = 384
"""Side of the COG's blocks where a 512 px block would be exactly as wide as a level (see `_block_of`)."""

_FINISH_ENVIRONMENT: Final = {
    "GDAL_PAM_ENABLED": "NO",
    # More threads for overviews hold more chunks in memory and win no time: 4096 x 65536 px peaks 90 MB higher.
    "GDAL_NUM_THREADS": "1",
    "GDAL_OVR_CHUNK_MAX_SIZE": "2000000",
    # Each block is read once or twice: a larger cache holds more and wins no time (16384² px: 126 MB against 72 MB).
    "GDAL_CACHEMAX": 16 * 2**20,
}

Colors = Mapping[int, tuple[int, int, int, int]]


class _Ledger:
    """What a raster holds: which blocks, a checksum of each, and how often each value occurs."""

    def __init__(self, height: int, width: int) -> None:
        self.shape = (height, width)
        self.counts: npt.NDArray[np.int64] = np.zeros(256, dtype=np.int64)
        self.seen: npt.NDArray[np.bool_] = np.zeros((-(-height // BLOCK), -(-width // BLOCK)), dtype=np.bool_)
        self.checksums: npt.NDArray[np.uint32] = np.zeros(self.seen.shape, dtype=np.uint32)

    def add(self, window: Window, values: npt.NDArray[np.uint8]) -> None:
        """Enter values, (height, width), under a window of whole blocks.

        Raises:
            GeosegError: the window is not of whole blocks, or one of them was entered before.
        """
        height, width = self.shape
        whole = not (window.row % BLOCK or window.col % BLOCK) and (
            (window.row_stop == height or not window.height % BLOCK)
            and (window.col_stop == width or not window.width % BLOCK)
        )
        if not whole or min(window.row, window.col, height - window.row_stop, width - window.col_stop) < 0:
            raise GeosegError(f"{window} is not of whole {BLOCK} px blocks of a {height} x {width} raster")
        rows = range(window.row // BLOCK, -(-window.row_stop // BLOCK))
        cols = range(window.col // BLOCK, -(-window.col_stop // BLOCK))
        for row in rows:
            for col in cols:
                if self.seen[row, col]:
                    raise GeosegError(f"the block at row {row * BLOCK}, column {col * BLOCK} was written before")
                top, left = row * BLOCK - window.row, col * BLOCK - window.col
                block = np.ascontiguousarray(values[top : top + BLOCK, left : left + BLOCK])
                self.counts += np.bincount(block.ravel(), minlength=256)
                self.checksums[row, col] = zlib.crc32(block.data)
                self.seen[row, col] = True

    def difference(self, other: "_Ledger") -> str | None:
        """Where `other`, read back, disagrees with this one, in words; None = nowhere."""
        if not np.array_equal(self.counts, other.counts):
            value = int(np.flatnonzero(self.counts != other.counts)[0])
            return f"value {value} went to {self.counts[value]} pixels and came back from {other.counts[value]}"
        moved = np.argwhere(self.checksums != other.checksums)
        if len(moved):
            row, col = (int(one) * BLOCK for one in moved[0])
            return f"other pixels came back in the block at row {row}, column {col}"
        return None


class CogWriter:
    """Writes one uint8 band, nodata 255, into a tiled GeoTIFF beside `path`; `finish` makes the COG from it."""

    def __init__(
        self,
        path: Path,
        *,
        grid: GeoBox,
        description: str,
        tags: Mapping[str, str],
        colors: Colors | None,
        threads: int,
    ) -> None:
        self.path = path
        self._part = path.with_name(f"{path.stem}.part.tif")
        self._grid = grid
        self._ledger = _Ledger(*grid.shape)
        self._threads = max(threads, 1)
        self._overviews: Literal["MODE", "AVERAGE"] = "AVERAGE" if colors is None else "MODE"
        with _translated(path):
            self._file = rasterio.open(self._part, "w", **_part_profile(grid, self._threads))
            self._file.update_tags(**tags)
            self._file.set_band_description(1, description)
            if colors is not None:
                self._file.write_colormap(1, dict(colors))

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """(256,) pixels written so far, by value."""
        return self._ledger.counts

    def write(self, window: Window, values: npt.NDArray[np.uint8]) -> None:
        """Store values, (height, width), under a window of whole blocks, each block once.

        Raises:
            GeosegError: not whole blocks, or a block written before.
            ResourceError: the disk is full.
        """
        self._ledger.add(window, values)
        with _translated(self.path):
            self._file.write(values, 1, window=_rectangle(window))

    def finish(self) -> None:
        """Make the COG, remove the part, bring the COG to disk, read every pixel back and compare.

        Raises:
            GeosegError: a block was never written.
            ResourceError: the disk is full, or it gave back something else than was written.
        """
        missing = np.argwhere(~self._ledger.seen)
        if len(missing):
            row, col = (int(one) * BLOCK for one in missing[0])
            raise GeosegError(f"{self.path.name}: the block at row {row}, column {col} was never written")
        environment = rasterio.Env(CPL_TMPDIR=str(self.path.parent), **_FINISH_ENVIRONMENT)
        with _translated(self.path), environment:
            self._file.close()
            self._copy()
            self._part.unlink()
            with self.path.open("rb+") as stream:
                os.fsync(stream.fileno())
            difference = self._read_back()
        if difference is not None:
            raise ResourceError(f"{self.path} was damaged on its way to the disk: {difference}; check the disk")

    def discard(self) -> None:
        """Remove whatever was written."""
        with suppress(RasterioError, OSError):
            self._file.close()
        for path in (self._part, self.path):
            path.unlink(missing_ok=True)

    def _copy(self) -> None:
        options = {
            "BLOCKSIZE": _block_of(*self._grid.shape),
            "COMPRESS": _codec(),
            "LEVEL": 6,  # 9, GDAL's default, costs 40 % more time for 1 % fewer bytes
            "PREDICTOR": "NO" if self._overviews == "MODE" else "YES",  # differences of a smooth layer are small
            "OVERVIEW_RESAMPLING": self._overviews,
            "NUM_THREADS": self._threads,
            "BIGTIFF": "IF_SAFER",
        }
        with rasterio.open(self._part, driver="GTiff") as part:
            rasterio.shutil.copy(part, self.path, driver="COG", **options)

    def _read_back(self) -> str | None:
        height, width = self._grid.shape
        again = _Ledger(height, width)
        with rasterio.open(self.path, driver="GTiff") as file:
            if file.shape != (height, width) or file.transform != self._grid.affine or file.crs is None:
                return "its georeference changed"
            for row in range(0, height, BLOCK):
                for col in range(0, width, 8 * BLOCK):
                    window = Window(row=row, col=col, height=BLOCK, width=8 * BLOCK).clip(height, width)
                    again.add(window, file.read(1, window=_rectangle(window)))
        return self._ledger.difference(again)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """What GDAL and the system say about a raster that is being written, as one line that names its folder."""
    try:
        yield
    except (RasterioError, CPLE_BaseError, OSError) as error:
        raise ResourceError(
            f"{path.name} cannot be written in {path.parent} ({first_cause(error)}): free space there or choose "
            "another folder"
        ) from error


def _part_profile(grid: GeoBox, threads: int) -> dict[str, Any]:
    """A GeoTIFF that is quick to write; the COG driver compresses it for good."""
    if grid.crs is None:
        raise GeosegError("a grid without CRS cannot be written")
    height, width = grid.shape
    return {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 1,
        "height": height,
        "width": width,
        "crs": grid.crs.to_wkt(),
        "transform": grid.affine,
        "nodata": NODATA,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": _codec(),
        "zstd_level": 1,
        "num_threads": threads,
        "bigtiff": "IF_SAFER",
    }


@cache
def _codec() -> str:
    """zstd, or deflate where this GDAL was built without it (rasterio has no list of codecs to ask)."""
    probe = {"driver": "GTiff", "height": 1, "width": 1, "count": 1, "dtype": "uint8", "compress": "zstd"}
    try:
        with MemoryFile() as memory, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            memory.open(**probe).close()
    except (RasterioError, CPLE_BaseError):
        return "DEFLATE"
    return "ZSTD"


def _block_of(height: int, width: int) -> int:
    """Side of the COG's blocks: 512, unless a level would be exactly one such block wide and more high.

    A raster of one column of blocks looks like strips to rasterio and to `rio cogeo validate`; sides that halve
    to 512 never halve to 384.
    """
    while height > BLOCK:
        if width == BLOCK:
            return _NARROW_BLOCK
        height, width = -(-height // 2), -(-width // 2)
    return BLOCK


def _rectangle(window: Window) -> RasterWindow:
    return RasterWindow(window.col, window.row, window.width, window.height)
