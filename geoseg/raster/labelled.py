"""A scene with its labels, read window by window through a bounded store of blocks; what labels are is `labels`'."""

from collections import OrderedDict
from contextlib import ExitStack
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.core.patch import Patch
from geoseg.core.patch_source import IGNORE, LabelledPatch
from geoseg.core.window import Window
from geoseg.raster.labels import LabelSource
from geoseg.raster.reader import SceneReader
from geoseg.raster.resample import RESAMPLE_BLOCK
from geoseg.raster.scene import Scene

BLOCK: Final = RESAMPLE_BLOCK
"""Side of the blocks that are read and kept, anchored at the scene's origin."""
_STORE_BYTES: Final = 2**28


class LabelledRaster:
    """A `core.patch_source.LabelledScene` of files; for one thread. Opens them at the first read; pickles closed."""

    def __init__(self, scene: Scene, labels: LabelSource, *, name: str, store_bytes: int = _STORE_BYTES) -> None:
        """Nothing is opened.

        Args:
            scene: with the bands that are trained on, in order.
            labels: on the scene's grid.
            name: unique among the scenes.
            store_bytes: that decoded blocks may take, for pixels and as much again for labels.
        """
        self._scene, self._labels, self._name, self._bytes = scene, labels, name, store_bytes
        self._stack: ExitStack | None = None
        self._reader: SceneReader | None = None
        self._pixels = _Store(store_bytes)
        self._ids = _Store(store_bytes)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self._scene, self._labels, self._name, self._bytes)

    @property
    def scene(self) -> Scene:
        """The scene without its labels."""
        return self._scene

    @property
    def name(self) -> str:
        """See `LabelledScene`."""
        return self._name

    @property
    def shape(self) -> tuple[int, int]:
        """See `LabelledScene`."""
        height, width = self._scene.grid.shape
        return int(height), int(width)

    def read(self, window: Window) -> LabelledPatch:
        """See `LabelledScene`.

        Raises:
            SceneError: a block of a file cannot be read.
        """
        pixels = np.zeros((len(self._scene.bands), *window.shape), self._scene.dtype)
        valid = np.zeros(window.shape, bool)
        for block, part in self._parts(window):
            patch = self._patch(block)
            into, out = part.slices_in(window), part.slices_in(block)
            pixels[(slice(None), *into)] = patch.pixels[(slice(None), *out)]
            valid[into] = patch.valid[out]
        labels = self.labels(window)
        labels[~valid] = IGNORE
        return LabelledPatch(pixels=pixels, valid=valid, labels=labels)

    def labels(self, window: Window) -> npt.NDArray[np.uint8]:
        """See `LabelledScene`."""
        labels = np.full(window.shape, IGNORE, np.uint8)
        for block, part in self._parts(window):
            labels[part.slices_in(window)] = self._block_labels(block)[part.slices_in(block)]
        return labels

    def close(self) -> None:
        """Lets go of files and blocks; reading opens them again."""
        if self._stack is not None:
            self._stack.close()
        self._stack = self._reader = None
        self._pixels, self._ids = _Store(self._bytes), _Store(self._bytes)

    def _parts(self, window: Window) -> list[tuple[Window, Window]]:
        """(block, the part of the window in it), for the blocks that a window inside the scene touches."""
        height, width = self.shape
        found = []
        for row in range(max(window.row, 0) // BLOCK * BLOCK, min(window.row_stop, height), BLOCK):
            for col in range(max(window.col, 0) // BLOCK * BLOCK, min(window.col_stop, width), BLOCK):
                block = Window(row=row, col=col, height=BLOCK, width=BLOCK).clip(height, width)
                top, left = max(block.row, window.row), max(block.col, window.col)
                bottom, right = min(block.row_stop, window.row_stop), min(block.col_stop, window.col_stop)
                if top < bottom and left < right:
                    found.append((block, Window(row=top, col=left, height=bottom - top, width=right - left)))
        return found

    def _patch(self, block: Window) -> Patch:
        found: Patch | None = self._pixels.get((block.row, block.col))
        if found is None:
            found = self._open().read(block)
            self._pixels.put((block.row, block.col), found, size=found.pixels.nbytes + found.valid.nbytes)
        return found

    def _block_labels(self, block: Window) -> npt.NDArray[np.uint8]:
        found: npt.NDArray[np.uint8] | None = self._ids.get((block.row, block.col))
        if found is None:
            with ExitStack() as stack:
                found = self._labels.read(block, stack)
            self._ids.put((block.row, block.col), found, size=found.nbytes)
        return found

    def _open(self) -> SceneReader:
        if self._reader is None:
            self._stack = ExitStack()
            self._reader = self._stack.enter_context(SceneReader(self._scene))
        return self._reader


class _Store:
    """The blocks used last, up to a number of bytes, one at least."""

    def __init__(self, room: int) -> None:
        self._room, self._used = room, 0
        self._held: OrderedDict[tuple[int, int], tuple[Any, int]] = OrderedDict()

    def get(self, key: tuple[int, int]) -> Any:
        """What was put, or None."""
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key][0]

    def put(self, key: tuple[int, int], value: Any, *, size: int) -> None:
        """Keeps a value; the ones used longest ago go."""
        self._held[key] = (value, size)
        self._used += size
        while self._used > self._room and len(self._held) > 1:
            self._used -= self._held.popitem(last=False)[1][1]


def _reopen(scene: Scene, labels: LabelSource, name: str, store_bytes: int) -> LabelledRaster:
    return LabelledRaster(scene, labels, name=name, store_bytes=store_bytes)
