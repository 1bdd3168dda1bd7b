"""Training windows of labelled scenes: a class is drawn, then a pixel of it, then the window around it."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from geoseg.core.patch_source import IGNORE
from geoseg.core.window import Window
from geoseg.errors import SettingsError
from geoseg.training.augment import reshape_window, turn, vary_bands
from geoseg.training.blocks import Block
from geoseg.training.config import TrainConfig
from geoseg.training.config_data import SamplingConfig
from geoseg.training.dataset import Batch, generator
from geoseg.training.ground import Bools, Ground, Labels, Pixels

_TRIES: Final = 8
"""Draws for a window with enough labelled pixels; the best of them is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSupply:
    """Windows of scenes, read when they are asked for; a `dataset.Supply`."""

    ground: Ground
    config: TrainConfig
    _blocks: tuple[Block, ...] = field(init=False, repr=False)
    _shares: npt.NDArray[np.float64] = field(init=False, repr=False)
    """(classes, blocks) cumulative share of each class's pixels."""
    _weights: npt.NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        blocks = tuple(block for block in self.ground.split.blocks("train") if block.labelled)
        counts = np.array([block.counts for block in blocks], np.float64).T
        weights = class_weights(counts.sum(axis=1), self.config.data.sampling)
        object.__setattr__(self, "_blocks", blocks)
        object.__setattr__(self, "_shares", np.cumsum(counts, axis=1) / np.maximum(counts.sum(axis=1), 1)[:, None])
        object.__setattr__(self, "_weights", weights)

    def batch(self, step: int, part: int) -> Batch:
        """See `dataset.Supply`."""
        rng = generator(self.config.fit.seed, step, part)
        windows = [self._window(rng) for _ in range(self.config.fit.batch)]
        return Batch(
            pixels=np.stack([pixels for pixels, _ in windows]), labels=np.stack([labels for _, labels in windows])
        )

    def _window(self, rng: np.random.Generator) -> tuple[Pixels, Labels]:
        """A window with enough labels, changed at random; what was not observed is the mean of its band."""
        config = self.config
        best: tuple[Pixels, Bools, Labels] | None = None
        best_share = -1.0
        for _ in range(_TRIES):
            found = self._cut(rng)
            share = float((found[2] != IGNORE).mean())
            if share > best_share:
                best, best_share = found, share
            if best_share >= max(config.data.sampling.labelled_share, 1e-9):
                break
        if best is None:
            raise SettingsError("no window was drawn")
        pixels, valid, labels = best
        symmetry = int(rng.integers(8))
        pixels = np.where(valid, pixels, np.asarray(config.network.mean, np.float32)[:, None, None])
        varied = vary_bands(pixels, config=config, rng=rng)
        varied = np.where(valid, varied, np.asarray(config.network.mean, np.float32)[:, None, None])
        turned, moved = turn(varied, labels, symmetry=symmetry)
        return np.ascontiguousarray(turned, np.float32), np.ascontiguousarray(moved)

    def _cut(self, rng: np.random.Generator) -> tuple[Pixels, Bools, Labels]:
        """Pixels, validity and labels of `fit.window_px` around a drawn pixel, zoomed and rotated."""
        config, side = self.config, self.config.fit.window_px
        scene, row, col = self._pixel(rng)
        zoom = float(np.exp(rng.uniform(-config.augment.zoom, config.augment.zoom)))
        degrees = float(rng.uniform(-config.augment.rotate_deg, config.augment.rotate_deg))
        reach = config.data.sampling.shift * side * zoom / 2
        row, col = round(row + rng.uniform(-reach, reach)), round(col + rng.uniform(-reach, reach))
        turned = np.radians(degrees)
        source = round(side * zoom * (abs(np.cos(turned)) + abs(np.sin(turned))))
        window = Window(row=row - source // 2, col=col - source // 2, height=source, width=source)
        pixels, valid, labels = self.ground.read_train(scene, window)
        if source == side and not degrees:
            return pixels, valid, labels
        fill = np.asarray(config.network.mean, np.float32)
        pixels = np.where(valid, pixels, fill[:, None, None])
        return reshape_window(pixels, valid, labels, size_px=side, zoom=zoom, degrees=degrees)

    def _pixel(self, rng: np.random.Generator) -> tuple[int, int, int]:
        """(scene, row, col) of a pixel of a drawn class; a few that training may not see are passed over."""
        place = (0, 0, 0)
        for _ in range(_TRIES):
            drawn = int(rng.choice(len(self._weights), p=self._weights))
            number = int(np.searchsorted(self._shares[drawn], rng.random(), side="right"))
            block = self._blocks[min(number, len(self._blocks) - 1)]
            labels = self.ground.scenes[block.scene].labels(block.window)
            free = labels == drawn
            seen = free & self.ground.split.trainable(block.scene, block.window)
            rows, cols = np.nonzero(seen if seen.any() else free)
            if len(rows):
                chosen = int(rng.integers(len(rows)))
                place = (block.scene, block.window.row + int(rows[chosen]), block.window.col + int(cols[chosen]))
                if seen.any():
                    break
        return place


def class_weights(counts: npt.NDArray[np.float64], config: SamplingConfig) -> npt.NDArray[np.float64]:
    """How often each class is drawn, summing to 1; one that has no pixel never is.

    Raises:
        SettingsError: weights for another number of classes, or for none that is there.
    """
    present = counts > 0
    if config.class_weights:
        if len(config.class_weights) != len(counts):
            raise SettingsError(
                f"data.sampling.class_weights has {len(config.class_weights)} values; there are {len(counts)} classes"
            )
        weights = np.where(present, config.class_weights, 0.0)
    else:
        weights = np.where(present, np.where(present, counts, 1.0) ** (1 - config.evenness), 0.0)
    if not weights.sum():
        raise SettingsError("data.sampling.class_weights gives no weight to a class that is labelled: raise one")
    return np.asarray(weights / weights.sum())
