"""A file on another grid brought to the scene's grid, block by block; a pixel never depends on how it was cut."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from odc.geo.overlap import compute_reproject_roi
from rasterio.crs import CRS
from rasterio.enums import Resampling as Method
from rasterio.warp import reproject

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
            for half in _halves(block):
                self._fill(half, window, pixels, valid)
            return
        stored, seen = self._source.read(source)
        origin = self._source.grid[rows, cols]
        near = _warp(seen[None].astype(np.uint8), origin, part, Method.nearest)[0] != 0
        where = block.slices_in(window)
        for k, band in enumerate(self._source.bands):
            values = _resample_band(stored[k], seen, origin, part, Method[band.resampling])
            near &= np.isfinite(values)
            pixels[(k, *where)] = _store(values, self._dtypes[k])
        pixels[(slice(None), *where)] *= near.astype(pixels.dtype)
        valid[where] = near


def _resample_band(stored: Pixels, seen: Bools, origin: GeoBox, part: GeoBox, method: Method) -> Pixels:
    """Real values of one band on the grid `part`, NaN where no observed source pixel reaches."""
    real = np.float32 if stored.dtype.itemsize <= 2 or stored.dtype == np.float32 else np.float64
    values = np.where(seen, stored, np.nan).astype(real)
    warped: Pixels = _warp(values[None], origin, part, method, nodata=np.nan)[0]
    return warped


def _warp(pixels: Pixels, origin: GeoBox, part: GeoBox, method: Method, *, nodata: float = 0) -> Pixels:
    out = np.full((len(pixels), *part.shape), nodata, pixels.dtype)
    reproject(
        pixels,
        out,
        src_transform=origin.transform,
        src_crs=_crs(origin),
        dst_transform=part.transform,
        dst_crs=_crs(part),
        src_nodata=nodata if np.isnan(nodata) else None,
        dst_nodata=nodata,
        resampling=method,
        tolerance=0,  # an approximated transform would depend on how the grid was cut
    )
    return out


def _crs(grid: GeoBox) -> CRS:
    return CRS.from_wkt(grid.crs.to_wkt() if grid.crs else "")


def _store(values: Pixels, dtype: np.dtype[Any]) -> Pixels:
    filled = np.nan_to_num(values, nan=0.0)
    if dtype.kind == "f":
        return np.asarray(filled, dtype)
    limits = np.iinfo(dtype)
    return np.asarray(np.clip(np.rint(filled), limits.min, limits.max), dtype)


def _halves(block: Window) -> tuple[Window, Window]:
    height, width = block.shape
    if height >= width:
        top = height // 2
        return (
            Window(row=block.row, col=block.col, height=top, width=width),
            Window(row=block.row + top, col=block.col, height=height - top, width=width),
        )
    left = width // 2
    return (
        Window(row=block.row, col=block.col, height=height, width=left),
        Window(row=block.row, col=block.col + left, height=height, width=width - left),
    )
