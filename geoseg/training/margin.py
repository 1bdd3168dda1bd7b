"""The margins a trained network is packed with, measured on the tiles it was trained on."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from geoseg.core.patch_source import LabelledImage
from geoseg.errors import BundleError
from geoseg.model.margin import probe_margin, tolerance_margin
from geoseg.model.zoo.unet import DIVISOR
from geoseg.training.config import TrainConfig
from geoseg.training.fit import normalise

TOLERANCE = 0.001
"""Share of the pixels whose class may depend on the tiling."""


def measure_margins(network: nn.Module, tiles: Sequence[LabelledImage], *, config: TrainConfig) -> dict[str, Any]:
    """The margins of bundle.yaml: exact from the structure, tolerance by mapping the middles of the tiles alone.

    Raises:
        BundleError: the tiles are too small to measure on.
    """
    exact = probe_margin(network, config.network.in_channels, DIVISOR) or 0
    tile = (min(min(image.labels.shape) for image in tiles) - 2 * exact) // DIVISOR * DIVISOR
    if tile <= 2 * DIVISOR:
        raise BundleError(
            f"tiles are too small to measure a margin on: they need more than {2 * exact + 2 * DIVISOR} px"
        )
    images = (normalise(image.pixels[None], config=config.network)[0] for image in tiles)
    with torch.inference_mode():
        margin = tolerance_margin(network, images, tile=tile, divisor=DIVISOR, tolerance=TOLERANCE)
    return {"margin_tolerance": margin, "margin_exact": exact, "tolerance": TOLERANCE}
