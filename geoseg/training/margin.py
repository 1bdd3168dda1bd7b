"""The margins a trained network is packed with, measured on images; whether they are large enough is asked before."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from geoseg.core.patch_source import LabelledImage
from geoseg.errors import InputError
from geoseg.model.architecture import Architecture
from geoseg.model.margin import disagreement_by_margin, probe_margin
from geoseg.model.registry import find_architecture
from geoseg.training.config import NetworkConfig
from geoseg.training.evaluate import normalise

TOLERANCE = 0.001
"""Share of the pixels whose class may depend on the tiling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginPlan:
    """How the margin will be measured."""

    exact: int | None
    """Receptive field, pixels; None: the whole tile."""
    side: int
    """Height and width that images are cropped to."""
    tile: int
    """Height and width of the tile in their middle that is mapped alone."""
    divisor: int


def plan_margins(network: nn.Module, *, config: NetworkConfig, side_px: int) -> MarginPlan:
    """How margins will be measured on images of that side; to be asked before hours are spent on training.

    The tile leaves the whole receptive field around it where there is room, else a quarter of the image on each side.

    Args:
        network: the bare network, trained or not.
        config: what it was built from.
        side_px: of the smallest image.

    Raises:
        InputError: the images are too small for any margin.
    """
    architecture = find_architecture(config.architecture)
    divisor = architecture.divisor
    exact = _exact_margin(network, architecture, in_channels=config.in_channels)
    side = side_px // divisor * divisor
    least = -(-max(architecture.min_size, 3 * divisor) // divisor) * divisor
    tile = side - 2 * exact if exact is not None else 0
    if tile < least:
        tile = max(least, side // 2 // divisor * divisor)
    if side < tile + 2 * divisor:
        raise InputError(
            f"images of {side_px} px are too small to measure the margin of {config.architecture} on: give images of "
            f"at least {least + 2 * divisor} px"
        )
    return MarginPlan(exact=exact, side=side, tile=tile, divisor=divisor)


def measure_margins(
    network: nn.Module,
    images: Iterable[LabelledImage],
    *,
    plan: MarginPlan,
    config: NetworkConfig,
    device: str = "cpu",
) -> dict[str, Any]:
    """The margins of bundle.yaml: exact from the structure, tolerance by mapping the middles of images alone.

    Where no margin that was tried will do, the exact one is taken; a network that has none gets the largest that was
    tried, and as tolerance the share of the pixels that differed with it.

    Args:
        network: the bare network in eval mode, on the device.
        images: none smaller than the plan's side.
        plan: of `plan_margins`.
        config: normalisation.
        device: where it computes.
    """
    pixels = (
        normalise(image.pixels[None, :, : plan.side, : plan.side], config=config, device=device)[0] for image in images
    )
    with torch.inference_mode():
        shares = disagreement_by_margin(network, pixels, tile=plan.tile, divisor=plan.divisor)
    found = next((margin for margin, share in shares.items() if share <= TOLERANCE), plan.exact)
    fields: dict[str, Any] = {"margin_exact": plan.exact, "tolerance": TOLERANCE}
    if found is not None:
        return fields | {"margin_tolerance": found if plan.exact is None else min(found, plan.exact)}
    largest = max(shares)
    return fields | {"margin_tolerance": largest, "tolerance": min(math.ceil(shares[largest] * 1e4) / 1e4, 0.9999)}


def _exact_margin(bare: nn.Module, architecture: Architecture, *, in_channels: int) -> int | None:
    """Probed; what is declared where a layer cannot be probed."""
    try:
        return probe_margin(bare, in_channels, architecture.divisor, min_size=architecture.min_size)
    except (ValueError, RuntimeError):
        return architecture.margin
