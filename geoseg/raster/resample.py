"""A file on another grid brought to the scene's grid, block by block; a pixel never depends on how it was cut."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from odc.geo.overlap import compute_reproject_roi
from rasterio.crs import CRS
from rasterio.enums import Resampling as Method
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT

from geoseg.core.window import Window
from geoseg.raster.openfile import OpenFile

Pixels = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
RESAMPLE_BLOCK: Final = 512
"""Side of the blocks, anchored at the scene's origin, in which a file is resampled whatever is asked."""
_MAX_SOURCE_PIXELS: Final = 2**24
"""Above this a block is halved, so that a far finer file cannot exhaust memory."""
_PADDING: Final = 4
"""Source pixels around a block: more than a bilinear kernel reaches."""


_TOLERANCE: Final = 1e-6
"""Source pixels by which a transform may be approximated: an approximation depends on how the grid was cut.
rasterio takes 0 for its default, an eighth of a pixel."""


class Resampled:
    """An open file seen on the scene's grid.

    Values are bilinear (or nearest, as the bands say) over observed source pixels only; a pixel is observed
    where the nearest source pixel is.
    """

    block = (RESAMPLE_BLOCK, RESAMPLE_BLOCK)

    def __init__(self, source: OpenFile, grid: GeoBox) -> None:
        self._source = source
        self._grid = grid
        self._dtypes = [np.dtype(band.dtype) for band in source.bands]

    def read(self, window: Window) -> tuple[Pixels, Bools]:
        """(bands, height, width) and (height, width) on the scene's grid, under a window of whole blocks."""
        pixels = np.zeros((len(self._dtypes), *window.shape), np.result_type(*self._dtypes))
        valid = np.zeros(window.shape, bool)
        for row in range(window.row, window.row_stop, RESAMPLE_BLOCK):
            for col in range(window.col, window.col_stop, RESAMPLE_BLOCK):
                block = Window(
                    row=row,
                    col=col,
                    height=min(RESAMPLE_BLOCK, window.row_stop - row),
                    width=min(RESAMPLE_BLOCK, window.col_stop - col),
                )
                self._fill(block, window, pixels, valid)
        return pixels, valid

    def _fill(self, block: Window, window: Window, pixels: Pixels, valid: Bools) -> None:
        part = self._grid[block.row : block.row_stop, block.col : block.col_stop]
        rows, cols = compute_reproject_roi(self._source.grid, part, padding=_PADDING).roi_src
        if rows.stop <= rows.start or cols.stop <= cols.start:
            return
        source = Window(row=rows.start, col=cols.start, height=rows.stop - rows.start, width=cols.stop - cols.start)
        if source.height * source.width > _MAX_SOURCE_PIXELS and max(block.shape) > 1:
            for half in block.halves():
                self._fill(half, window, pixels, valid)
            return
        stored, seen = self._source.read(source)
        origin = self._source.grid[rows, cols]
        values = _warp(_real(stored, seen), origin, part, Method[self._source.bands[0].resampling], nodata=np.nan)
        near = np.isfinite(values).all(axis=0)
        if not (seen.all() and self._is_inside(source)):
            # 2 = observed, 1 = not: so that 0 is only what GDAL leaves beyond the source
            near &= _warp(seen[None].astype(np.uint8) + 1, origin, part, Method.nearest)[0] == 2
        where = block.slices_in(window)
        for k, dtype in enumerate(self._dtypes):
            pixels[(k, *where)] = _store(np.where(near, values[k], 0), dtype)
        valid[where] = near

    def _is_inside(self, source: Window) -> bool:
        """The padded source window ends before the file does, so that the file covers the whole block."""
        height, width = self._source.grid.shape
        return source.row > 0 and source.row_stop < height and source.col > 0 and source.col_stop < width


def _real(stored: Pixels, seen: Bools) -> Pixels:
    """The stored bands as floats that hold them exactly (64-bit integers nearly), NaN where not observed."""
    small = stored.dtype.itemsize <= 2 or stored.dtype == np.float32
    return np.where(seen, stored, np.nan).astype(np.float32 if small else np.float64)


def _warp(pixels: Pixels, origin: GeoBox, part: GeoBox, method: Method, *, nodata: float = 0) -> Pixels:
    """(bands, height, width) on the grid `part`; `nodata` where no source pixel reaches.

    Through a warped VRT of a file in memory: rasterio's `reproject` takes no tolerance.
    """
    profile = {
        "driver": "GTiff",
        "count": len(pixels),
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "dtype": pixels.dtype,
        "crs": _crs(origin),
        "transform": origin.transform,
    }
    target = {
        "crs": _crs(part),
        "transform": part.transform,
        "height": part.shape[0],
        "width": part.shape[1],
        "resampling": method,
        "tolerance": _TOLERANCE,
        "src_nodata": nodata if np.isnan(nodata) else None,
        "nodata": nodata,
    }
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(pixels)
        with memory.open() as file, WarpedVRT(file, **target) as warped:
            found: Pixels = warped.read()
    return found


def _crs(grid: GeoBox) -> CRS:
    return CRS.from_wkt(grid.crs.to_wkt() if grid.crs else "")


def _store(values: Pixels, dtype: np.dtype[Any]) -> Pixels:
    if dtype.kind == "f":
        return np.asarray(values, dtype)
    limits = np.iinfo(dtype)
    return np.asarray(np.clip(np.rint(values), limits.min, limits.max), dtype)
