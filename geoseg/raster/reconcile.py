"""A class map read on another map's grid: the class of the pixel that holds each pixel centre, and nothing mixed."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from geoseg.core.patch import NODATA
from geoseg.core.window import Window
from geoseg.errors import ProductError
from geoseg.raster.classmap import BLOCK, ClassMap, to_labels
from geoseg.raster.safety import first_cause, open_raster, plain

Labels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
_MAX_SOURCE_PIXELS: Final = 2**24
"""Above this a block is halved, so that a far finer or turned map cannot exhaust memory."""
_EDGE: Final = 1e-6
"""A centre this near (in pixels) to a border of the other map lies on it, and belongs to the pixel after it."""


def same_lattice(one: GeoBox, other: GeoBox) -> bool:
    """Whether the pixels of two grids coincide where they overlap, to a hundredth of a pixel over either extent."""
    if one.crs != other.crs:
        return False
    to_pixels = ~one.affine * other.affine
    height, width = other.shape
    for corner in ((0, 0), (width, 0), (0, height), (width, height)):
        place = to_pixels * corner
        if max(abs(value - round(value)) for value in place) >= 0.01:
            return False
    return bool(abs(to_pixels.a - 1) < 0.01 and abs(to_pixels.e - 1) < 0.01)


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
            labels = np.full((min(rows, height - row), width), NODATA, np.uint8)
            for col in range(0, width, BLOCK):
                block = Window(row=row, col=col, height=len(labels), width=min(BLOCK, width - col))
                _fill(labels[:, col : col + BLOCK], block, grid, classmap=classmap, file=file)
            yield row, labels


def _fill(labels: Labels, block: Window, grid: GeoBox, *, classmap: ClassMap, file: Any) -> None:
    """Classes of the pixels of `grid` under `block` into the view `labels`."""
    rows, cols = _places(block, grid, classmap.grid)
    height, width = classmap.grid.shape
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)  # False for what is not finite
    if not inside.any():
        return
    row, col = rows[inside].astype(np.int64), cols[inside].astype(np.int64)
    top, left = int(row.min()), int(col.min())
    source = Window(row=top, col=left, height=int(row.max()) - top + 1, width=int(col.max()) - left + 1)
    if source.height * source.width > _MAX_SOURCE_PIXELS and max(block.shape) > 1:
        for half in block.halves():
            _fill(labels[half.slices_in(block)], half, grid, classmap=classmap, file=file)
        return
    labels[inside] = _read(file, classmap, source)[row - top, col - left]


def _places(block: Window, grid: GeoBox, other: GeoBox) -> tuple[Floats, Floats]:
    """(row, col) in whole pixels of `other` that hold the pixel centres under `block` of `grid`."""
    row, col = np.meshgrid(
        np.arange(block.row, block.row_stop) + 0.5, np.arange(block.col, block.col_stop) + 0.5, indexing="ij"
    )
    a, b, c, d, e, f = grid.affine[:6]
    x, y = a * col + b * row + c, d * col + e * row + f
    if grid.crs != other.crs:
        x, y = _transformer(str(grid.crs), str(other.crs)).transform(x, y)
    a, b, c, d, e, f = (~other.affine)[:6]
    with np.errstate(invalid="ignore"):
        return np.floor(d * x + e * y + f + _EDGE), np.floor(a * x + b * y + c + _EDGE)


@lru_cache(maxsize=8)
def _transformer(first: str, second: str) -> Transformer:
    return Transformer.from_crs(first, second, always_xy=True)


def _read(file: Any, classmap: ClassMap, source: Window) -> Labels:
    """Class ids with 255 = no class under a window of the map's own grid."""
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
