"""Scores averaged over the eight symmetries of a tile (test-time augmentation); one pass is `predictor`'s."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.core.patch import Patch, Scores
from geoseg.core.window import Window
from geoseg.model.predictor import Predictor

_SYMMETRIES = tuple((turns, flip) for flip in (False, True) for turns in range(4))


class SymmetricPredictor:
    """The mean probability over a tile's turns and mirror images; eight passes a tile."""

    def __init__(self, make: Callable[[tuple[int, int]], Predictor], tile_shape: tuple[int, int]) -> None:
        """Loads the network; of a tile that is no square twice, once for each way it lies.

        Args:
            make: a predictor for tiles of (height, width).
            tile_shape: (height, width).
        """
        height, width = tile_shape
        self._upright = make((height, width))
        self._turned = self._upright if height == width else make((width, height))

    @property
    def notes(self) -> list[str]:
        """See `Predictor`."""
        both = [self._upright] if self._turned is self._upright else [self._upright, self._turned]
        return [note for one in both for note in one.notes]

    def predict(self, patches: Sequence[Patch]) -> list[Scores]:
        """See `Predictor`."""
        sums = [np.zeros(0, np.float32)] * len(patches)
        for turns, flip in _SYMMETRIES:
            predictor = self._turned if turns % 2 else self._upright
            found = predictor.predict([_turn_patch(patch, turns, flip=flip) for patch in patches])
            for k, one in enumerate(found):
                back = _turn_back(one.values, turns, flip=flip)
                sums[k] = sums[k] + back if sums[k].size else back
        return [
            Scores(window=patch.window, values=np.ascontiguousarray(total / len(_SYMMETRIES)), valid=patch.valid)
            for patch, total in zip(patches, sums, strict=True)
        ]


def _turn_patch(patch: Patch, turns: int, *, flip: bool) -> Patch:
    window = patch.window
    height, width = (window.width, window.height) if turns % 2 else (window.height, window.width)
    return Patch(
        window=Window(row=window.row, col=window.col, height=height, width=width),
        pixels=_turn(patch.pixels, turns, flip=flip),
        valid=_turn(patch.valid, turns, flip=flip),
    )


def _turn(values: npt.NDArray[Any], turns: int, *, flip: bool) -> npt.NDArray[Any]:
    turned = np.rot90(values, turns, axes=(-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if flip else turned)


def _turn_back(values: npt.NDArray[np.float32], turns: int, *, flip: bool) -> npt.NDArray[np.float32]:
    return np.rot90(values[..., ::-1] if flip else values, -turns, axes=(-2, -1))
