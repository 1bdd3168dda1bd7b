"""Stored pixels and validity of one open file on its own grid; grids are brought together in `resample`."""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.core.window import Window
from geoseg.errors import ResourceError, SceneError
from geoseg.raster.remote import locate
from geoseg.raster.safety import first_cause, open_raster
from geoseg.raster.source import BandSource, SourceFile, Stamp
from geoseg.raster.validity import observed

Pixels = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]


class OpenFile:
    """Some bands of a file, open; a context manager, for one thread."""

    def __init__(self, file: SourceFile, bands: Sequence[BandSource]) -> None:
        self._file = file
        self._bands = tuple(bands)
        self.block = file.block
        self.grid: GeoBox = file.grid
        self._dataset: Any = None
        self._mask: Any = None

    def __enter__(self) -> "OpenFile":
        file = self._file
        self._dataset = _open_unchanged(file.stamp, file.name, driver=file.driver)
        if file.mask is not None:
            try:
                self._mask = _open_unchanged(file.mask, f"{file.name}.msk", driver="GTiff")
            except BaseException:
                self._dataset.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for dataset in (self._mask, self._dataset):
            if dataset is not None:
                dataset.close()

    @property
    def bands(self) -> tuple[BandSource, ...]:
        """The bands read, in order."""
        return self._bands

    def read(self, window: Window) -> tuple[Pixels, Bools]:
        """(bands, height, width) as stored, and (height, width) True = observed, under a window inside the file.

        Raises:
            SceneError: a block cannot be read.
        """
        pixels = self._read(self._dataset, [band.index for band in self._bands], window)
        valid = observed(pixels, [band.nodata for band in self._bands])
        if self._file.alpha is not None:
            valid &= self._read(self._dataset, [self._file.alpha], window)[0] != 0
        if self._file.internal_mask:
            valid &= (self._read(self._dataset, self._mask_bands(), window, masks=True) != 0).all(axis=0)
        if self._mask is not None:
            indexes = sorted({min(band.index, self._mask.count) for band in self._bands})
            valid &= (self._read(self._mask, indexes, window) != 0).all(axis=0)
        if self._file.sparse:
            for absent in self._absent_blocks(window):
                valid[absent.slices_in(window)] = False
        return pixels, valid

    def _mask_bands(self) -> list[int]:
        flags = [flag.name for flag in self._dataset.mask_flag_enums[0]]
        return [1] if "per_dataset" in flags else [band.index for band in self._bands]

    def _read(self, dataset: Any, indexes: list[int], window: Window, *, masks: bool = False) -> Pixels:
        read = dataset.read_masks if masks else dataset.read
        try:
            found: Pixels = read(indexes, window=_to_rasterio(window))
        except MemoryError as error:
            raise ResourceError(
                f"{self._file.name}: no memory for {window.height} x {window.width} pixels: use a smaller panel_width"
            ) from error
        except (RasterioError, CPLE_BaseError, OSError, ValueError) as error:
            block, cause = self._failing_block(read, indexes, window, error)
            raise SceneError(
                f"{self._file.name}: the block at rows {block.row}-{block.row_stop - 1}, columns {block.col}-"
                f"{block.col_stop - 1} cannot be read ({first_cause(cause)}): copy the file again from its origin"
            ) from error
        return found

    def _failing_block(
        self, read: Any, indexes: list[int], window: Window, error: BaseException
    ) -> tuple[Window, BaseException]:
        for block, _, _ in self._blocks(window):
            try:
                read(indexes, window=_to_rasterio(block))
            except (RasterioError, CPLE_BaseError, OSError, ValueError) as found:
                return block, found
        return window, error

    def _absent_blocks(self, window: Window) -> Iterator[Window]:
        """Blocks a sparse file never held: GDAL reads them as 0, but nobody observed them."""
        shared = str(self._dataset.interleaving).endswith("pixel")
        indexes = [self._bands[0].index if not shared else 1]
        if not shared:
            indexes = [band.index for band in self._bands]
        for block, row, col in self._blocks(window):
            item = f"BLOCK_OFFSET_{col}_{row}"
            if any(self._dataset.get_tag_item(item, "TIFF", index) is None for index in indexes):
                yield block

    def _blocks(self, window: Window) -> Iterator[tuple[Window, int, int]]:
        """(part of the window in a block, block row, block column)."""
        height, width = self.block
        for row in range(window.row // height, -(-window.row_stop // height)):
            for col in range(window.col // width, -(-window.col_stop // width)):
                top, left = max(row * height, window.row), max(col * width, window.col)
                bottom, right = min((row + 1) * height, window.row_stop), min((col + 1) * width, window.col_stop)
                yield Window(row=top, col=left, height=bottom - top, width=right - left), row, col


def _open_unchanged(stamp: Stamp, name: str, *, driver: Any) -> Any:
    path = locate(stamp.uri)
    try:
        now = Stamp.of(path)
    except OSError as error:
        raise SceneError(f"{name} is no longer there: put it back and run again") from error
    if now != stamp:
        raise SceneError(f"{name} has changed since it was looked at: run again")
    return open_raster(path, driver=driver)


def _to_rasterio(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col, window.row, window.width, window.height)
