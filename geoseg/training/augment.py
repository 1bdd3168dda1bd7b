"""Random changes of training windows: symmetries of the square, zoom, rotation, and radiometry of any bands."""

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from geoseg.training.config import AugmentConfig, TrainConfig

Pixels: TypeAlias = npt.NDArray[np.float32]
"""(bands, height, width), physical units (0-255 of a display image)."""
Bools: TypeAlias = npt.NDArray[np.bool_]
Labels: TypeAlias = npt.NDArray[np.uint8]
"""(height, width), 255 = ignored."""
_FLOOR: Final = 3.0
"""Standard deviations below a band's mean from where gain and gamma are counted."""
_VEIL: Final = (
    ("coastal", 1.0), ("blue", 1.0), ("green", 0.75), ("pan", 0.65), ("yellow", 0.65), ("red", 0.55),
    ("nir", 0.2), ("swir", 0.03),
)  # fmt: skip
"""Haze relative to blue, by how a band's name begins: between the wavelength's power of -1 and of -2, as over land
in clear and in hazy air (Chavez 1988, Remote Sensing of Environment 24); thermal, radar and heights have none."""


def turn(pixels: Pixels, labels: Labels, *, symmetry: int) -> tuple[Pixels, Labels]:
    """One of the eight symmetries (0-7) of a square window, the same for pixels and labels; 0 changes nothing."""
    if symmetry >= 4:
        pixels, labels = pixels[:, :, ::-1], labels[:, ::-1]
    quarter = symmetry % 4
    return np.rot90(pixels, quarter, axes=(1, 2)), np.rot90(labels, quarter)


def vary_radiometry(pixels: Pixels, *, config: AugmentConfig, rng: np.random.Generator) -> Pixels:
    """A display window as another sensor state, sun and air might have shown it; clipped to 0-255."""
    varied = _vary(pixels, config=config, veil=None, least=1.0, rng=rng)
    return np.asarray(np.clip(varied, 0, 255), dtype=np.float32)


def vary_bands(pixels: Pixels, *, config: TrainConfig, rng: np.random.Generator) -> Pixels:
    """A window of any bands and units, varied as its config says; labels are unaffected.

    Where amounts are in standard deviations, a band is varied as distance from a floor three of them below its mean,
    so that gain and gamma mean the same for reflectance, decibels and heights.
    """
    augment, network = config.augment, config.network
    if augment.units == "display":
        varied = vary_radiometry(pixels, config=augment, rng=rng)
    else:
        std = np.asarray(network.std, np.float32)[:, None, None]
        floor = np.asarray(network.mean, np.float32)[:, None, None] - _FLOOR * std
        veil = np.array([_veil_share(name) for name in config.bundle.bands])
        moved = _vary((pixels - floor) / std, config=augment, veil=veil, least=0.01, rng=rng)
        varied = np.asarray(moved * std + floor, np.float32)
    if augment.drop_share and len(pixels) > 1 and rng.random() < augment.drop_share:
        band = int(rng.integers(len(pixels)))
        varied[band] = network.mean[band]
    return varied


def _vary(
    pixels: Pixels,
    *,
    config: AugmentConfig,
    veil: npt.NDArray[np.float64] | None,
    least: float,
    rng: np.random.Generator,
) -> npt.NDArray[Any]:
    """Gain, gamma, offset, haze, blur and noise, in units in which 0 is dark.

    Args:
        pixels: (bands, height, width).
        config: how much of each.
        veil: share of the haze by band; None: drawn for display bands, red first and blue last.
        least: added to the mean that gamma turns about, so that it is never 0.
        rng: of the window.
    """
    bands = pixels.shape[0]
    gain = np.exp(rng.uniform(-config.gain, config.gain) + rng.uniform(-config.band_gain, config.band_gain, bands))
    varied = pixels * gain.astype(np.float32)[:, None, None]
    middle = np.maximum(varied.mean(axis=(1, 2), keepdims=True), 0) + np.float32(least)
    gamma = np.exp(rng.uniform(-config.gamma, config.gamma))
    varied = middle * np.sign(varied) * np.power(np.abs(varied) / middle, np.float32(gamma))
    shift = np.full(bands, rng.uniform(-config.offset, config.offset))
    shift += rng.uniform(-config.offset, config.offset, bands) / 2
    if rng.random() < config.haze_share:
        strength = rng.uniform(0, config.haze)
        shift += _veil(bands, strength=strength, rng=rng) if veil is None else strength * veil
    varied = varied + shift.astype(np.float32)[:, None, None]
    if rng.random() < config.blur_share:
        varied = ndimage.uniform_filter(varied, size=(0, 3, 3), mode="nearest")
    noise = rng.uniform(0, config.noise)
    return np.asarray(varied + rng.standard_normal(varied.shape, dtype=np.float32) * np.float32(noise))


def reshape_window(
    pixels: Pixels, valid: Bools, labels: Labels, *, size_px: int, zoom: float, degrees: float
) -> tuple[Pixels, Bools, Labels]:
    """The middle of a square window zoomed and rotated to size_px: pixels bilinear, validity and labels nearest.

    The window must be large enough to hold the rotated square.

    Args:
        pixels: without gaps: what is not observed has been filled.
        valid: True = observed.
        labels: class ids or 255.
        size_px: height and width of the result.
        zoom: source pixels per pixel of the result; of a rotation only, else the window's size says it.
        degrees: counter-clockwise.
    """
    if not degrees:
        resampled, moved = zoom_window(pixels, labels, size_px=size_px)
        _, seen = zoom_window(pixels[:0], valid.astype(np.uint8), size_px=size_px)
        return resampled, seen != 0, moved
    angle = np.radians(degrees)
    matrix = zoom * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    offset = (labels.shape[0] - 1) / 2 - matrix @ np.full(2, (size_px - 1) / 2)
    turned = {"matrix": matrix, "offset": offset, "output_shape": (size_px, size_px)}
    bands = [ndimage.affine_transform(band, order=1, mode="nearest", **turned) for band in pixels]
    near = {"order": 0, "mode": "nearest", **turned}
    seen = ndimage.affine_transform(valid.astype(np.uint8), **near) != 0
    return np.stack(bands), seen, ndimage.affine_transform(labels, **near)


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


def _veil_share(band: str) -> float:
    """Haze of a band by its common name; red edge lies between red and near infrared."""
    if band.startswith("rededge"):
        return 0.35
    return next((share for name, share in _VEIL if band.startswith(name)), 0.0)
