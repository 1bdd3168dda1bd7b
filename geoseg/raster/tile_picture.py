"""Small pictures of arrays, for looking at: a tile's pixels and its labels; maps with a place are `overview`'s."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from geoseg.core.legend import Legend
from geoseg.core.picture import Picture
from geoseg.raster.overview import palette_png, photo, stretch

MAX_SIDE: Final = 384
"""Pixels along the longer side; of a larger tile every n-th pixel is drawn."""


def draw_pixels(pixels: npt.NDArray[Any], *, rgb: Sequence[int]) -> Picture:
    """Bands of a tile, stretched between the 2nd and 98th percentile; transparent where every band is 0.

    Args:
        pixels: (bands, height, width).
        rgb: positions of the three bands that are shown, or of one.
    """
    seen = _shrink(pixels)
    valid = (seen != 0).any(axis=0) & np.isfinite(seen).all(axis=0)
    layers = [stretch(seen[band].astype(np.float32), valid) for band in rgb]
    shown = np.stack(layers if len(layers) == 3 else [layers[0]] * 3)
    rgba = np.concatenate([shown, np.where(valid, 255, 0).astype(np.uint8)[None]])
    return photo(rgba, note="stretched between the 2nd and 98th percentile, for viewing only")


def draw_labels(labels: npt.NDArray[np.uint8], legend: Legend) -> Picture:
    """(height, width) class ids in the colors of the legend; others are transparent."""
    return palette_png(_shrink(labels), {one.id: one.color for one in legend})


def _shrink(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    step = -(-max(values.shape[-2:]) // MAX_SIDE)
    return np.ascontiguousarray(values[..., ::step, ::step])
