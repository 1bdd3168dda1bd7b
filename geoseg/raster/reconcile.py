"""A class map read on another map's grid: the class of the pixel that holds each pixel centre, and nothing mixed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from geoseg.core.patch import NODATA
from geoseg.core.placement import locate_centres
from geoseg.core.window import Window
from geoseg.errors import ProductError
from geoseg.raster.classmap import BLOCK, ClassMap, to_labels
from geoseg.raster.safety import first_cause, open_raster, plain

Labels = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
_MAX_SOURCE_PIXELS: Final = 2**24
"""Above this a block is halved, so that a far finer or turned map cannot exhaust memory."""


def read_rows_on(classmap: ClassMap, grid: GeoBox, *, rows: int = BLOCK) -> Iterator[tuple[int, Labels]]:
    """Full-width rows of `grid` from top to bottom: (first row, (height, width) class ids of `classmap`).

    255 where the map has no class or does not reach. A pixel never depends on `rows`.

    Raises:
        ProductError: a block is damaged, or holds a value that is neither class nor nodata.
    """
    height, width = grid.shape
    with open_raster(Path(classmap.path), driver="GTiff") as file:
        if file.shape != tuple(classmap.grid.shape):
            raise ProductError(f"{plain(Path(classmap.path).name)} changed its size since it was opened: start again")
        for row in range(0, height, rows):
            window = Window(row=row, col=0, height=min(rows, height - row), width=width)
            yield row, read_centres(classmap, grid, window, file=file)[0]


def read_centres(classmap: ClassMap, grid: GeoBox, window: Window, *, file: Any) -> tuple[Labels, Bools]:
    """(class ids, 255 where the map has no class or does not reach; True = inside the map) under a window of `grid`.

    Args:
        classmap: the map.
        grid: another grid.
        window: on `grid`; also beyond it.
        file: the map's file, open.

    Raises:
        ProductError: a block is damaged, or holds a value that is neither class nor nodata.
    """
    labels, inside = np.full(window.shape, NODATA, np.uint8), np.zeros(window.shape, np.bool_)
    for col in range(0, window.width, BLOCK):
        part = slice(col, col + BLOCK)
        width = min(BLOCK, window.width - col)
        block = Window(row=window.row, col=window.col + col, height=window.height, width=width)
        _fill(labels[:, part], inside[:, part], block, grid, classmap=classmap, file=file)
    return labels, inside


def _fill(labels: Labels, inside: Bools, block: Window, grid: GeoBox, *, classmap: ClassMap, file: Any) -> None:
    """Classes of the pixels of `grid` under `block`, and whether the map reaches them, into two views."""
    rows, cols = locate_centres(block, grid, classmap.grid)
    height, width = classmap.grid.shape
    inside[:] = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)  # False for what is not finite
    if not inside.any():
        return
    row, col = rows[inside].astype(np.int64), cols[inside].astype(np.int64)
    top, left = int(row.min()), int(col.min())
    source = Window(row=top, col=left, height=int(row.max()) - top + 1, width=int(col.max()) - left + 1)
    if source.height * source.width > _MAX_SOURCE_PIXELS and max(block.shape) > 1:
        for half in block.halves():
            where = half.slices_in(block)
            _fill(labels[where], inside[where], half, grid, classmap=classmap, file=file)
        return
    labels[inside] = read_window(classmap, source, file=file)[row - top, col - left]


def read_window(classmap: ClassMap, source: Window, *, file: Any) -> Labels:
    """Class ids with 255 = no class under a window of the map's own grid; `file` is the map's, open.

    Raises:
        ProductError: a block is damaged, or holds a value that is neither class nor nodata.
    """
    where = RasterWindow(source.col, source.row, source.width, source.height)
    try:
        values = file.read(1, window=where)
        hidden = file.read_masks(1, window=where) == 0 if classmap.masked else None
    except (RasterioError, CPLE_BaseError) as error:
        raise ProductError(
            f"{plain(Path(classmap.path).name)} is damaged in rows {source.row} to {source.row_stop - 1} "
            f"({first_cause(error)}): make it again"
        ) from error
    if hidden is not None:
        values[hidden] = 0  # whatever the file holds there
    labels = to_labels(values, classmap, source.row)
    if hidden is not None:
        labels[hidden] = NODATA
    return labels
