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
from geoseg.raster.safety import raster_env
from geoseg.raster.scene import Scene

BLOCK: Final = RESAMPLE_BLOCK
"""Side of the blocks that are read and kept, anchored at the scene's origin."""
_STORE_BYTES: Final = 2**28
_MOST_OPEN: Final = 32
"""Scenes whose files are open at a time."""


class BlockStore:
    """What the scenes of a run hold together: decoded blocks used last, up to a number of bytes, and open files."""

    def __init__(self, room_bytes: int = _STORE_BYTES, *, most_open: int = _MOST_OPEN) -> None:
        self._room, self._most_open, self._used = room_bytes, most_open, 0
        self._held: OrderedDict[tuple[object, ...], tuple[Any, int]] = OrderedDict()
        self._readers: OrderedDict[str, tuple[ExitStack, SceneReader]] = OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        return _new_store, (self._room, self._most_open)

    @property
    def used_bytes(self) -> int:
        """Of the blocks; above the room only for a single one."""
        return self._used

    @property
    def open_count(self) -> int:
        """Scenes whose files are open."""
        return len(self._readers)

    def get(self, key: tuple[object, ...]) -> Any:
        """What was put, or None."""
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key][0]

    def put(self, key: tuple[object, ...], value: Any, *, size: int) -> None:
        """Keeps a value; the ones used longest ago go."""
        self._held[key] = (value, size)
        self._used += size
        while self._used > self._room and len(self._held) > 1:
            self._used -= self._held.popitem(last=False)[1][1]

    def reader(self, name: str, scene: Scene) -> SceneReader:
        """An open reader of a scene; the one used longest ago is closed where too many are open."""
        if name not in self._readers:
            while len(self._readers) >= self._most_open:
                self._readers.popitem(last=False)[1][0].close()
            stack = ExitStack()
            self._readers[name] = (stack, stack.enter_context(SceneReader(scene)))
        self._readers.move_to_end(name)
        return self._readers[name][1]

    def clear(self) -> None:
        """Lets go of files and blocks; reading opens them again."""
        while self._readers:
            self._readers.popitem()[1][0].close()
        self._held.clear()
        self._used = 0


class LabelledRaster:
    """A `core.patch_source.LabelledScene` of files; for one thread. Opens them at the first read; pickles closed."""

    def __init__(self, scene: Scene, labels: LabelSource, *, name: str, store: BlockStore) -> None:
        """Nothing is opened.

        Args:
            scene: with the bands that are trained on, in order.
            labels: on the scene's grid.
            name: unique among the scenes of a store.
            store: of decoded blocks.
        """
        self._scene, self._labels, self._name, self._store = scene, labels, name, store

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self._scene, self._labels, self._name, self._store)

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
        key = (self._name, "pixels", block.row, block.col)
        found: Patch | None = self._store.get(key)
        if found is None:
            with raster_env():
                found = self._store.reader(self._name, self._scene).read(block)
            self._store.put(key, found, size=found.pixels.nbytes + found.valid.nbytes)
        return found

    def _block_labels(self, block: Window) -> npt.NDArray[np.uint8]:
        key = (self._name, "labels", block.row, block.col)
        found: npt.NDArray[np.uint8] | None = self._store.get(key)
        if found is None:
            with raster_env(), ExitStack() as stack:
                found = self._labels.read(block, stack)
            self._store.put(key, found, size=found.nbytes)
        return found


def _reopen(scene: Scene, labels: LabelSource, name: str, store: BlockStore) -> LabelledRaster:
    return LabelledRaster(scene, labels, name=name, store=store)


def _new_store(room_bytes: int, most_open: int) -> BlockStore:
    return BlockStore(room_bytes, most_open=most_open)
