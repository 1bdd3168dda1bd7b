"""Many class maps read on one grid, where each reaches it; which of them has the ground is `core.claimed`'s matter."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox

from geoseg.core.patch import NODATA
from geoseg.core.placement import Placement, common
from geoseg.core.window import Window
from geoseg.errors import InputError, ProductError
from geoseg.raster.classmap import ClassMap
from geoseg.raster.reconcile import read_centres, read_window
from geoseg.raster.safety import open_raster, plain

Labels = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
_MAX_OPEN: Final = 8
"""Files kept open, at about 3 MB each: neighbours are read again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A class map among others."""

    name: str
    """What the user knows it by."""
    classmap: ClassMap
    confidence: Path | None = None
    """Percent on the grid of the map, where there is such a file and it matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a layer shows under a window."""

    window: Window
    """Of the grid it is seen on."""
    labels: Labels
    """(height, width) class ids, 255 = no class or beyond the layer."""
    inside: Bools
    """True = on the layer, with or without a class."""
    confidence: Labels
    """Percent, 255 = none; all 255 where the layer has no such file."""


class LayerReader:
    """Reads layers under windows, some files kept open; a context manager. Not for threads."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, tuple[Any, ExitStack]] = OrderedDict()
        self._known: dict[tuple[int, ...], Bools] = {}

    def __enter__(self) -> "LayerReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._files:
            self._files.popitem()[1][1].close()

    def read(self, layer: Layer, window: Window) -> Seen:
        """The layer under a window of its own grid.

        Raises:
            ProductError: its file is damaged or changed, or holds a value that its legend does not name.
        """
        with _named(layer):
            labels = read_window(layer.classmap, window, file=self._open(layer.classmap))
            self._check_known(layer, labels)
            confidence = np.full(window.shape, NODATA, np.uint8)
            if (percent := _percent(layer)) is not None:
                confidence = read_window(percent, window, file=self._open(percent))
        return Seen(window=window, labels=labels, inside=np.ones(window.shape, np.bool_), confidence=confidence)

    def read_on(self, layer: Layer, grid: GeoBox, placement: Placement, window: Window) -> Seen | None:
        """The layer where it reaches a window of another grid: the class that holds each pixel centre; None = nowhere.

        Args:
            layer: what is read.
            grid: the other grid.
            placement: of the layer on it.
            window: on it.

        Raises:
            ProductError: as `read`.
        """
        part = common(window, placement.window)
        if part is None:
            return None
        if placement.origin is not None:
            row, col = placement.origin
            own = Window(row=part.row - row, col=part.col - col, height=part.height, width=part.width)
            return replace(self.read(layer, own), window=part)
        with _named(layer):
            labels, inside = read_centres(layer.classmap, grid, part, file=self._open(layer.classmap))
            self._check_known(layer, labels)
            confidence = np.full(part.shape, NODATA, np.uint8)
            if (percent := _percent(layer)) is not None:
                confidence, _ = read_centres(percent, grid, part, file=self._open(percent))
        return Seen(window=part, labels=labels, inside=inside, confidence=confidence)

    def _open(self, classmap: ClassMap) -> Any:
        """The file of a map, opened or kept open."""
        if classmap.path in self._files:
            self._files.move_to_end(classmap.path)
            return self._files[classmap.path][0]
        while len(self._files) >= _MAX_OPEN:
            self._files.popitem(last=False)[1][1].close()
        stack = ExitStack()
        file = stack.enter_context(open_raster(Path(classmap.path), driver="GTiff"))
        self._files[classmap.path] = file, stack
        if file.shape != tuple(classmap.grid.shape):
            raise ProductError(
                f"{plain(Path(classmap.path).name)} is not of the size of its map ({classmap.grid.shape[1]} x "
                f"{classmap.grid.shape[0]} px): make both again"
            )
        return file

    def _check_known(self, layer: Layer, labels: Labels) -> None:
        """A value without a class must not pass for one."""
        ids = layer.classmap.legend.ids
        if ids not in self._known:
            known = np.zeros(256, np.bool_)
            known[[*ids, NODATA]] = True
            self._known[ids] = known
        known = self._known[ids]
        if not known[labels].all():
            value = int(labels[~known[labels]][0])
            raise ProductError(f"it holds value {value}, which its legend does not name {ids}: give --legend")


def _percent(layer: Layer) -> ClassMap | None:
    """The confidence of a layer as something that is read like its map."""
    if layer.confidence is None:
        return None
    return replace(layer.classmap, path=str(layer.confidence), nodata=NODATA, masked=False)


@contextmanager
def _named(layer: Layer) -> Iterator[None]:
    """What is wrong with a file, told with the layer's name: the files of all runs are called the same."""
    try:
        yield
    except InputError as error:
        raise ProductError(f"{plain(layer.name)}: {error}") from error
