"""Batches of augmented windows from labelled images, and the procedural images that are mixed in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from geoseg.core.patch_source import LabelledImage
from geoseg.core.procedural import make_procedural_scene
from geoseg.model.spec import Conversion
from geoseg.training.augment import Labels, Pixels, turn, vary_bands, zoom_window
from geoseg.training.config import TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Windows that go through the network together."""

    pixels: npt.NDArray[np.float32]
    """(n, bands, height, width), physical units, not yet normalised; no NaN: nodata is the band's mean."""
    labels: npt.NDArray[np.uint8]
    """(n, height, width), 255 = ignored."""


class Supply(Protocol):
    """Where training windows come from. Pickles, for the processes that make batches ahead."""

    def batch(self, step: int, part: int) -> Batch:
        """The same for the same step and part, whoever asks and whatever was asked before.

        That is what makes a resumed run equal to one that was never stopped, and two devices equal to one: draw
        from `generator(seed, step, part)` and keep no state.

        Args:
            step: from 1.
            part: of the step, from 0: a step has `fit.accumulate` of them, over all devices together.
        """


def generator(seed: int, step: int, part: int) -> np.random.Generator:
    """The random numbers of one batch."""
    return np.random.default_rng((seed, step, part))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Two groups of images and how often a window is cut from the second."""

    tiles: Sequence[LabelledImage]
    procedural: Sequence[LabelledImage]
    procedural_share: float

    def pick(self, rng: np.random.Generator) -> LabelledImage:
        """An image at random; within a group all are equally likely."""
        group = self.tiles
        if self.procedural and (not self.tiles or rng.random() < self.procedural_share):
            group = self.procedural
        return group[int(rng.integers(len(group)))]


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureSupply:
    """Windows of a mixture that is held in memory."""

    mixture: Mixture
    config: TrainConfig

    def batch(self, step: int, part: int) -> Batch:
        """See `Supply`."""
        rng = generator(self.config.fit.seed, step, part)
        windows = [_window(self.mixture.pick(rng), config=self.config, rng=rng) for _ in range(self.config.fit.batch)]
        return Batch(
            pixels=np.stack([pixels for pixels, _ in windows]), labels=np.stack([labels for _, labels in windows])
        )


def procedural_images(config: TrainConfig) -> tuple[LabelledImage, ...]:
    """The procedural scenes of a config as display images, named `procedural-<seed>`."""
    size_px = config.procedural.size_px
    return tuple(
        procedural_image(seed, height=size_px, width=size_px, conversion=config.bundle.conversions[0])
        for seed in config.procedural.seeds
    )


def procedural_image(seed: int, *, height: int, width: int, conversion: Conversion) -> LabelledImage:
    """One procedural scene through the fixed display conversion; pixels 0 and labels 255 under its collar."""
    scene = make_procedural_scene(seed, height=height, width=width)
    values = scene.reflectance * np.float32(conversion.scale) + np.float32(conversion.offset)
    pixels = np.clip(np.rint(values), conversion.clip_min, conversion.clip_max).astype(np.uint8)
    return LabelledImage(name=f"procedural-{seed}", pixels=pixels * scene.valid, labels=scene.classes)


def _window(image: LabelledImage, *, config: TrainConfig, rng: np.random.Generator) -> tuple[Pixels, Labels]:
    """A window of the image at a random place, zoomed, turned and with varied radiometry.

    Pixels that are 0 in every band are nodata and become the mean, as the bundle's rule says of a scene's nodata.
    """
    height, width = image.labels.shape
    zoom, window_px = config.augment.zoom, config.fit.window_px
    source_px = min(round(window_px * float(np.exp(rng.uniform(-zoom, zoom)))), height, width)
    row, col = int(rng.integers(height - source_px + 1)), int(rng.integers(width - source_px + 1))
    inside = np.s_[row : row + source_px, col : col + source_px]
    pixels = image.pixels[(slice(None), *inside)].astype(np.float32)
    pixels, labels = zoom_window(pixels, image.labels[inside], size_px=window_px)
    pixels, labels = turn(pixels, labels, symmetry=int(rng.integers(8)))
    missing = (pixels == 0).all(axis=0)
    varied = vary_bands(pixels, config=config, rng=rng)
    varied[:, missing] = np.asarray(config.network.mean, dtype=np.float32)[:, None]
    return varied, np.ascontiguousarray(labels)
