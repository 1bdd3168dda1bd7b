"""A labelled scene of arrays, as a reference for what reads files."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.core.patch_source import IGNORE, LabelledPatch
from geoseg.core.window import Window


@dataclass(frozen=True, kw_only=True)
class ArrayScene:
    """See `core.patch_source.LabelledScene`."""

    name: str
    pixels: npt.NDArray[Any]
    drawn: npt.NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, int]:
        return self.drawn.shape[0], self.drawn.shape[1]

    def read(self, window: Window) -> LabelledPatch:
        """Everything inside is observed."""
        rows, cols = self._places(window)
        inside = ((rows >= 0) & (rows < self.shape[0]))[:, None] & ((cols >= 0) & (cols < self.shape[1]))[None]
        where = np.ix_(rows.clip(0, self.shape[0] - 1), cols.clip(0, self.shape[1] - 1))
        pixels = np.stack([band[where] for band in self.pixels]) * inside
        return LabelledPatch(pixels=pixels, valid=inside, labels=np.where(inside, self.drawn[where], np.uint8(IGNORE)))

    def labels(self, window: Window) -> npt.NDArray[np.uint8]:
        """The same labels."""
        return self.read(window).labels

    @staticmethod
    def _places(window: Window) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
        return np.arange(window.row, window.row_stop), np.arange(window.col, window.col_stop)
