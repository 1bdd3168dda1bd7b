"""Foundation models of the earth through terratorch, which is an extra: Prithvi, TerraMind, Clay, DOFA and others."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, cast

from torch import Tensor, nn

from geoseg.errors import ResourceError
from geoseg.model.architecture import ANY_ENCODER, Architecture

_STRIDE: Final = 112
"""Least common multiple of the patches in use: 8, 14 and 16."""


class Foundation(nn.Module):
    """Logits at input size: a backbone of terratorch under its UPerNet."""

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        encoder: str,
        bands: Sequence[str] | None = None,
        levels: Sequence[int] = (5, 11, 17, 23),
        encoder_weights: str | None = None,
    ) -> None:
        """Builds the network.

        Args:
            in_channels: bands of the input.
            classes: channels of the logits.
            encoder: name of a backbone in terratorch's registry.
            bands: the backbone's names of the bands, where it wants them; as many as in_channels.
            levels: blocks of the backbone that the head looks at, from 0; four of them.
            encoder_weights: None, or any text to let terratorch download the backbone's weights.

        Raises:
            ValueError: bands or levels of another number.
            ResourceError: terratorch is not installed.
        """
        super().__init__()
        if bands is not None and len(bands) != in_channels:
            raise ValueError(f"{len(bands)} names in the option bands, and {in_channels} bands")
        if len(levels) != 4:
            raise ValueError(f"levels are {tuple(levels)}; there must be four")
        try:
            models: Any = import_module("terratorch.models")
        except ImportError as error:
            raise ResourceError(
                f"terratorch:{encoder} needs Python >= 3.12 and terratorch: pip install 'geoseg[foundation]'"
            ) from error
        channels = {"backbone_in_chans": in_channels} if bands is None else {"backbone_bands": list(bands)}
        self.network: nn.Module = models.EncoderDecoderFactory().build_model(
            task="segmentation",
            backbone=encoder,
            backbone_pretrained=encoder_weights is not None,
            **channels,
            necks=[{"name": "SelectIndices", "indices": list(levels)}, {"name": "ReshapeTokensToImage"}],
            decoder="UperNetDecoder",
            decoder_channels=256,
            decoder_scale_modules=True,
            num_classes=classes,
            rescale=True,
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w)."""
        return cast(Tensor, self.network(pixels).output)


ARCHITECTURES: Final = (
    Architecture(
        name="terratorch",
        title="Foundation model of the earth under UPerNet",
        build=Foundation,
        source="Gomes et al. 2025, arXiv:2503.20563",
        licence="Apache-2.0 (terratorch)",
        divisor=_STRIDE,
        min_size=2 * _STRIDE,
        margin=None,
        encoders=(ANY_ENCODER,),
        default_encoder="prithvi_eo_v2_300",
        extra="foundation",
    ),
)
