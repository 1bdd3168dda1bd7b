"""Random changes of training windows: the eight symmetries of the square, and radiometry."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from geoseg.training.config import AugmentConfig

Pixels: TypeAlias = npt.NDArray[np.float32]
"""(bands, height, width), display units."""
Labels: TypeAlias = npt.NDArray[np.uint8]
"""(height, width), 255 = ignored."""


def turn(pixels: Pixels, labels: Labels, *, symmetry: int) -> tuple[Pixels, Labels]:
    """One of the eight symmetries (0-7) of a square window, the same for pixels and labels; 0 changes nothing."""
    if symmetry >= 4:
        pixels, labels = pixels[:, :, ::-1], labels[:, ::-1]
    quarter = symmetry % 4
    return np.rot90(pixels, quarter, axes=(1, 2)), np.rot90(labels, quarter)


def vary_radiometry(pixels: Pixels, *, config: AugmentConfig, rng: np.random.Generator) -> Pixels:
    """The window as another sensor state, sun and air might have shown it; clipped to 0-255, labels unaffected."""
    bands = pixels.shape[0]
    gain = np.exp(rng.uniform(-config.gain, config.gain) + rng.uniform(-config.band_gain, config.band_gain, bands))
    varied = pixels * gain.astype(np.float32)[:, None, None]
    middle = varied.mean(axis=(1, 2), keepdims=True) + 1
    gamma = np.exp(rng.uniform(-config.gamma, config.gamma))
    varied = middle * np.power(np.maximum(varied, 0) / middle, np.float32(gamma))
    shift = np.full(bands, rng.uniform(-config.offset, config.offset))
    shift += rng.uniform(-config.offset, config.offset, bands) / 2
    if rng.random() < config.haze_share:
        shift += _veil(bands, strength=rng.uniform(0, config.haze), rng=rng)
    varied = varied + shift.astype(np.float32)[:, None, None]
    if rng.random() < config.blur_share:
        varied = ndimage.uniform_filter(varied, size=(0, 3, 3), mode="nearest")
    noise = rng.uniform(0, config.noise)
    varied = varied + rng.standard_normal(varied.shape, dtype=np.float32) * np.float32(noise)
    return np.asarray(np.clip(varied, 0, 255), dtype=np.float32)


def zoom_window(pixels: Pixels, labels: Labels, *, size_px: int) -> tuple[Pixels, Labels]:
    """A square window resampled to size_px: pixels bilinear, labels nearest."""
    height = labels.shape[0]
    if height == size_px:
        return pixels, labels
    centres = ((np.arange(size_px) + 0.5) * height / size_px - 0.5).astype(np.float32)
    nearest = np.clip(np.rint(centres).astype(int), 0, height - 1)
    low = np.clip(np.floor(centres).astype(int), 0, height - 2)
    share = np.clip(centres - low, 0, 1).astype(np.float32)
    rows = pixels[:, low] * (1 - share)[None, :, None] + pixels[:, low + 1] * share[None, :, None]
    resampled = rows[:, :, low] * (1 - share) + rows[:, :, low + 1] * share
    return resampled, labels[np.ix_(nearest, nearest)]


def _veil(bands: int, *, strength: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Additive haze by band: all of it in the last (blue), a varying share in the first (red)."""
    red_share = rng.uniform(0.4, 1.0)
    return strength * np.linspace(red_share, 1.0, bands)
