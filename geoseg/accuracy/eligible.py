"""Which pixels a sample may be drawn from: rows of a map with the stratum of each. Drawing is `draw`'s matter."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from geoseg.core.patch import MAX_CLASSES, NODATA
from geoseg.errors import ProductError

NEAR_BORDER: Final = 251
"""Stratum label of a pixel that has a class and lies too near to a class border or edge."""
NO_STRATUM: Final = 250
"""Stratum label of a pixel that has a class where the raster of strata has none."""

Labels = npt.NDArray[np.uint8]
LabelBlocks = Iterable[tuple[int, Labels]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumRows:
    """Full-width rows of a map and the stratum of each pixel."""

    row: int
    """First row."""
    labels: Labels
    """(height, width) class ids of the map; 255 = no class."""
    strata: Labels
    """(height, width) stratum ids; 255 = no class, NEAR_BORDER, NO_STRATUM = not in the population."""


BlockSource = Callable[[], Iterator[StratumRows]]
"""Starts to read the map anew: always the same blocks."""


def stratify(blocks: LabelBlocks, *, buffer: int = 0, strata: LabelBlocks | None = None) -> Iterator[StratumRows]:
    """Rows with their strata: the map's own classes, or the classes of another raster of the same grid.

    Args:
        blocks: (first row, labels) of the map, full width, top to bottom.
        buffer: pixels on each side (chessboard distance) that must have the same map class; what is outside the
            map has none.
        strata: blocks of the raster of strata, cut anyhow.

    Raises:
        ProductError: the raster of strata has fewer rows than the map, or other columns.
    """
    of_strata = None if strata is None else _Rows(strata)
    for row, labels, free in _free_of_borders(blocks, buffer):
        own = labels if of_strata is None else of_strata.take(len(labels), labels.shape[1])
        marked = np.where(own < MAX_CLASSES, own, np.uint8(NO_STRATUM))
        if free is not None:
            marked[~free] = NEAR_BORDER
        marked[labels >= MAX_CLASSES] = NODATA
        yield StratumRows(row=row, labels=labels, strata=marked)


class _Rows:
    """Rows of a raster, any number at a time."""

    def __init__(self, blocks: LabelBlocks) -> None:
        self._blocks = iter(blocks)
        self._held: Labels | None = None

    def take(self, count: int, width: int) -> Labels:
        held = self._held if self._held is not None else np.empty((0, width), np.uint8)
        while len(held) < count:
            _, block = next(self._blocks, (0, None))
            if block is None or block.shape[1] != width:
                raise ProductError("the raster of strata is not of the map's shape: warp it with gdalwarp -te -ts")
            held = np.concatenate([held, block])
        self._held = held[count:]
        return held[:count]


def _free_of_borders(blocks: LabelBlocks, buffer: int) -> Iterator[tuple[int, Labels, npt.NDArray[np.bool_] | None]]:
    """(first row, labels, True = far enough from every border); rows leave once `buffer` rows below are known."""
    if buffer == 0:
        for row, labels in blocks:
            yield row, labels, None
        return
    held: Labels | None = None
    first = 0
    for block in chain((labels for _, labels in blocks), [None]):
        if held is None:
            if block is None:
                return
            held = np.full((buffer, block.shape[1]), NODATA, np.uint8)
        below = np.full((buffer, held.shape[1]), NODATA, np.uint8) if block is None else block
        held = np.concatenate([held, below])
        ready = len(held) - 2 * buffer
        if ready > 0:
            inner = slice(buffer, buffer + ready)
            yield first, held[inner], _is_uniform(held, buffer)[inner]
            first += ready
            held = held[ready:]


def _is_uniform(labels: Labels, buffer: int) -> npt.NDArray[np.bool_]:
    """True where every pixel within `buffer` has the same label; beyond the columns there is nodata."""
    size = 2 * buffer + 1
    least = ndimage.minimum_filter(labels, size=size, mode="constant", cval=NODATA)
    most = ndimage.maximum_filter(labels, size=size, mode="constant", cval=NODATA)
    same: npt.NDArray[np.bool_] = least == most
    return same
