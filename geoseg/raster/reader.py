"""Patches out of a scene, each block decoded once per panel; what a scene is and how it is found is `scene`."""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from geoseg.core.patch import Patch
from geoseg.core.window import Window
from geoseg.raster.openfile import OpenFile
from geoseg.raster.resample import Resampled
from geoseg.raster.source import BandSource, SourceFile
from geoseg.raster.validity import not_collar

if TYPE_CHECKING:
    from geoseg.raster.scene import Scene

Pixels = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
CHUNK_ROWS: Final = 128
"""Rows decoded together at least, so that thin strips are not read one by one."""
_ALIGNED_COLUMNS: Final = 512
"""Columns held are whole blocks of at most this width: a strip as wide as the scene is held in part."""


class PixelSource(Protocol):
    """Pixels of one file on the scene's grid."""

    block: tuple[int, int]

    def read(self, window: Window) -> tuple[Pixels, Bools]:
        """(bands, height, width) and (height, width) under a window inside the scene."""


class SceneReader:
    """Reads a scene window by window; a context manager, for one thread.

    Windows that are read in row order inside a panel share a rolling buffer of decoded rows: memory is
    bounded by the panel's width times (window + block rows). Without a panel each read stands on its own.
    """

    def __init__(self, scene: "Scene") -> None:
        self._scene = scene
        self._stack = ExitStack()
        self._layers: list[tuple[tuple[int, ...], PixelSource]] = []
        self._mask: PixelSource | None = None
        self._rows: list[_RollingRows] = []
        self._panel: tuple[int, int] | None = None

    def __enter__(self) -> "SceneReader":
        scene = self._scene
        try:
            for file in scene.files:
                places = tuple(k for k, band in enumerate(scene.bands) if band.uri == file.uri)
                self._layers.append((places, self._open(file, [scene.bands[k] for k in places])))
            mask, band = scene.validity.mask, scene.validity.mask_band
            if mask is not None and band is not None:
                self._mask = self._open(mask, [band])
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows = []
        self._stack.close()

    def start_panel(self, col_start: int, col_stop: int) -> None:
        """From now on windows lie in columns col_start … col_stop - 1 and their first row never decreases."""
        width = self._scene.grid.shape[1]
        self._panel = (max(col_start, 0), min(col_stop, width))
        self._rows = [_RollingRows(source, *self._panel, shape=self._shape) for source in self._sources]

    def read(self, window: Window) -> Patch:
        """The patch under a window; beyond the scene pixels are 0 and not valid.

        Raises:
            SceneError: a block cannot be read; file and block are named.
            ValueError: the window is outside the panel, or above rows already left behind.
        """
        inner = window.clip(*self._shape)
        if self._panel is None:
            rows = [_RollingRows(source, inner.col, inner.col_stop, shape=self._shape) for source in self._sources]
        elif self._panel[0] <= inner.col and inner.col_stop <= self._panel[1]:
            rows = self._rows
        else:
            raise ValueError(f"columns {inner.col} … {inner.col_stop - 1} are outside the panel {self._panel}")
        pixels = np.zeros((len(self._scene.bands), *window.shape), self._scene.dtype)
        valid = np.zeros(window.shape, bool)
        where = inner.slices_in(window)
        valid[where] = True
        for (places, _), layer in zip(self._layers, rows, strict=False):
            for part, found, observed in layer.read(inner):
                rows_cols = part.slices_in(window)
                for place, band in zip(places, found, strict=True):
                    pixels[(place, *rows_cols)] = band
                valid[rows_cols] &= observed
        if self._mask is not None:
            for part, found, observed in rows[-1].read(inner):
                valid[part.slices_in(window)] &= observed & (found[0] != 0)
        if self._scene.validity.collar is not None:
            valid[where] &= not_collar(pixels[(slice(None), *where)], self._scene.validity.collar)
        return Patch(window=window, pixels=pixels, valid=valid)

    @property
    def _shape(self) -> tuple[int, int]:
        height, width = self._scene.grid.shape
        return int(height), int(width)

    @property
    def _sources(self) -> list[PixelSource]:
        return [source for _, source in self._layers] + ([self._mask] if self._mask else [])

    def _open(self, file: SourceFile, bands: Sequence[BandSource]) -> PixelSource:
        opened = self._stack.enter_context(OpenFile(file, bands))
        return opened if bands[0].on_grid else Resampled(opened, self._scene.grid)


class _RollingRows:
    """Decoded rows of one file over the columns of a panel; rows above the last window are let go."""

    def __init__(self, source: PixelSource, col_start: int, col_stop: int, *, shape: tuple[int, int]) -> None:
        self._source = source
        self._height, width = shape
        block_height, block_width = source.block
        step = min(block_width, _ALIGNED_COLUMNS)
        self._col = col_start // step * step
        self._width = min(-(-col_stop // step) * step, width) - self._col
        self._step = -(-CHUNK_ROWS // block_height) * block_height
        self._chunks: deque[tuple[Window, Pixels, Bools]] = deque()

    def read(self, window: Window) -> Iterator[tuple[Window, Pixels, Bools]]:
        """Parts that cover a window: where, pixels, observed."""
        if self._chunks and window.row < self._chunks[0][0].row:
            raise ValueError(f"row {window.row} is above the rows still held: start a new panel")
        while self._chunks and self._chunks[0][0].row_stop <= window.row:
            self._chunks.popleft()
        first = self._chunks[-1][0].row_stop if self._chunks else window.row // self._step * self._step
        for row in range(first, window.row_stop, self._step):
            held = Window(row=row, col=self._col, height=min(self._step, self._height - row), width=self._width)
            self._chunks.append((held, *self._source.read(held)))
        for held, pixels, valid in self._chunks:
            if held.row >= window.row_stop:
                break
            part = Window(
                row=max(held.row, window.row),
                col=window.col,
                height=min(held.row_stop, window.row_stop) - max(held.row, window.row),
                width=window.width,
            )
            rows_cols = part.slices_in(held)
            yield part, pixels[(slice(None), *rows_cols)], valid[rows_cols]
