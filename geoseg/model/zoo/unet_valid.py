"""The unpadded U-Net of the paper, 572 -> 388; mirroring around the tile gives logits at the input's size.

Ronneberger, Fischer, Brox (2015), arXiv:1505.04597.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoseg.model.architecture import Architecture
from geoseg.model.zoo.blocks import check_channels, initialise

_DIVISOR: Final = 16
_LOST: Final = 184
"""Rows and columns that the unpadded convolutions take away; half of them on each side."""
_REMAINDER: Final = 12
_LEAST: Final = 188
_MIRRORED: Final = (_LOST // 2, _LOST // 2 + 4)
"""Before and after the tile: with 188 in all, multiples of 16 become sides that `valid` takes."""
_MIN_SIZE: Final = 112
"""The mirror at 96 needs 97 pixels."""


class UNetValid(nn.Module):
    """Logits (n, classes, h, w); h and w are multiples of 16, at least 112."""

    def __init__(self, *, in_channels: int, classes: int, init_features: int = 64, dropout: float = 0.5) -> None:
        """Builds the network with He-initialised weights.

        Args:
            in_channels: bands.
            classes: channels of the logits.
            init_features: channels of the first level; doubled at each of the four levels below it.
            dropout: share of the deepest features that is left out in training.

        Raises:
            ValueError: a count below 1, or a share that is none.
        """
        super().__init__()
        check_channels(in_channels=in_channels, classes=classes, init_features=init_features)
        widths = [init_features * 2**level for level in range(5)]
        self.encoders = nn.ModuleList(_double_convolution(*pair) for pair in pairwise([in_channels, *widths]))
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.drop = nn.Dropout(dropout)
        deep_to_shallow = list(pairwise(reversed(widths)))
        self.upsamplers = nn.ModuleList(
            nn.ConvTranspose2d(deep, shallow, kernel_size=2, stride=2) for deep, shallow in deep_to_shallow
        )
        self.decoders = nn.ModuleList(_double_convolution(deep, shallow) for deep, shallow in deep_to_shallow)
        self.head = nn.Conv2d(widths[0], classes, kernel_size=1)
        initialise(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits at the input's size, by the paper's mirroring at the tile's edges."""
        height, width = pixels.shape[-2:]
        before, after = _MIRRORED
        mirrored = F.pad(pixels, (before, after, before, after), mode="reflect")
        return self.valid(mirrored)[..., :height, :width]

    def valid(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h - 184, w - 184) of the pixels 92 away from each edge, without padding.

        Raises:
            ValueError: h or w is below 188 or not 12 more than a multiple of 16.
        """
        for side in pixels.shape[-2:]:
            if side < _LEAST or side % _DIVISOR != _REMAINDER:
                shape = " x ".join(str(one) for one in pixels.shape[-2:])
                raise ValueError(
                    f"unpadded U-Net got {shape} pixels; each side must be 16 k + 12 and at least {_LEAST}: "
                    f"{_nearest(side)} in place of {side}"
                )
        skips: list[Tensor] = []
        features = pixels
        for encoder in self.encoders:
            if skips:
                features = self.pool(features)
            features = encoder(features)
            skips.append(features)
        features = self.drop(skips.pop())
        for upsampler, decoder in zip(self.upsamplers, self.decoders, strict=True):
            above = upsampler(features)
            features = decoder(torch.cat([_centre(skips.pop(), above.shape[-2:]), above], dim=1))
        return cast(Tensor, self.head(features))


def _nearest(side: int) -> int:
    return max(_LEAST, round((side - _REMAINDER) / _DIVISOR) * _DIVISOR + _REMAINDER)


def _centre(features: Tensor, shape: torch.Size) -> Tensor:
    """The middle of (n, channels, h, w), each axis by itself."""
    top, left = ((have - want) // 2 for have, want in zip(features.shape[-2:], shape, strict=True))
    return features[..., top : top + shape[0], left : left + shape[1]]


def _double_convolution(below: int, above: int) -> nn.Sequential:
    """Twice: 3 x 3 convolution without padding, ReLU."""
    return nn.Sequential(
        nn.Conv2d(below, above, kernel_size=3), nn.ReLU(), nn.Conv2d(above, above, kernel_size=3), nn.ReLU()
    )


ARCHITECTURES: Final = (
    Architecture(
        name="unet_valid",
        title="U-Net, unpadded, with mirrored tiles",
        build=UNetValid,
        source="Ronneberger et al. 2015, arXiv:1505.04597",
        licence="Apache-2.0",
        divisor=_DIVISOR,
        min_size=_MIN_SIZE,
        margin=96,
    ),
)
