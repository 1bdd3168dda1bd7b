"""FC-DenseNet 56, 67 and 103: dense blocks down to a thirty-second of the size and up again.

Jégou, Drozdzal, Vazquez, Romero, Bengio (2017), "The One Hundred Layers Tiramisu". A layer is BatchNorm, ReLU, 3 x 3
convolution and dropout; there is no bottleneck and no compression, and on the way up only what a block has made, not
what it was given, is upsampled.
"""

from __future__ import annotations

from functools import partial
from typing import Final, cast

import torch
from torch import Tensor, nn

from geoseg.model.architecture import Architecture
from geoseg.model.zoo.blocks import check_channels, initialise

_DROPOUT: Final = 0.2
_POOLINGS: Final = 5


class FCDenseNet(nn.Module):
    """Logits at the input's size, whatever it is; tiles agree with the whole image at multiples of 32."""

    def __init__(
        self, *, in_channels: int, classes: int, layers: tuple[int, ...], growth: int, init_features: int = 48
    ) -> None:
        """Builds the network with He-initialised weights.

        Args:
            in_channels: bands of the input.
            classes: channels of the logits.
            layers: of the five blocks on the way down and of the one at the bottom; the way up mirrors them.
            growth: channels that a layer adds.
            init_features: channels of the first convolution.

        Raises:
            ValueError: a number below 1.
        """
        super().__init__()
        check_channels(in_channels=in_channels, classes=classes, growth=growth, init_features=init_features)
        self.first = nn.Conv2d(in_channels, init_features, 3, padding=1)
        self.down, self.transitions = nn.ModuleList(), nn.ModuleList()
        self.up, self.upsamplers = nn.ModuleList(), nn.ModuleList()
        width, skips = init_features, []
        for depth in layers[:-1]:
            self.down.append(_DenseBlock(width, depth, growth))
            width += depth * growth
            skips.append(width)
            self.transitions.append(_transition(width))
        self.bottom = _DenseBlock(width, layers[-1], growth)
        for below, depth, skip in zip(layers[:0:-1], layers[-2::-1], skips[::-1], strict=True):
            made = below * growth
            self.upsamplers.append(nn.ConvTranspose2d(made, made, 3, stride=2))
            self.up.append(_DenseBlock(made + skip, depth, growth))
            width = made + skip + depth * growth
        self.head = nn.Conv2d(width, classes, 1)
        initialise(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w); h and w at least 32."""
        features: Tensor = self.first(pixels)
        skips = []
        for block, transition in zip(self.down, self.transitions, strict=True):
            features = torch.cat([features, block(features)], dim=1)
            skips.append(features)
            features = transition(features)
        made: Tensor = self.bottom(features)
        for upsampler, block in zip(self.upsamplers, self.up, strict=True):
            skip = skips.pop()
            height, width = skip.shape[-2:]
            features = torch.cat([_cropped(upsampler(made), height, width), skip], dim=1)
            made = block(features)
        return cast(Tensor, self.head(torch.cat([features, made], dim=1)))


class _DenseBlock(nn.Module):
    """What its layers have made, `growth` channels each; every layer sees the input and all made before it."""

    def __init__(self, width: int, depth: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(width + k * growth),
                nn.ReLU(inplace=True),
                nn.Conv2d(width + k * growth, growth, 3, padding=1),
                nn.Dropout2d(_DROPOUT),
            )
            for k in range(depth)
        )

    def forward(self, features: Tensor) -> Tensor:
        made: list[Tensor] = []
        for layer in self.layers:
            made.append(layer(torch.cat([features, *made], dim=1)))
        return torch.cat(made, dim=1)


def _transition(width: int) -> nn.Sequential:
    """Half the size, the same width."""
    return nn.Sequential(
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 1),
        nn.Dropout2d(_DROPOUT),
        nn.MaxPool2d(2),
    )


def _cropped(features: Tensor, height: int, width: int) -> Tensor:
    """The middle; where one row is too many it is the last, so that no pixel moves from tile to tile."""
    top, left = (features.shape[-2] - height) // 2, (features.shape[-1] - width) // 2
    return features[..., top : top + height, left : left + width]


def _build(
    layers: tuple[int, ...],
    growth: int,
    *,
    in_channels: int,
    classes: int,
    growth_rate: int | None = None,
    init_features: int = 48,
) -> FCDenseNet:
    """Growth_rate: another growth than the paper's, for a lighter network."""
    return FCDenseNet(
        in_channels=in_channels,
        classes=classes,
        layers=layers,
        growth=growth if growth_rate is None else growth_rate,
        init_features=init_features,
    )


def _entry(depth: int, layers: tuple[int, ...], growth: int, margin: int) -> Architecture:
    return Architecture(
        name=f"fc_densenet{depth}",
        title=f"FC-DenseNet{depth} (Tiramisu)",
        build=partial(_build, layers, growth),
        source="Jégou et al. 2017, arXiv:1611.09326",
        licence="Apache-2.0",
        divisor=2**_POOLINGS,
        min_size=2 * 2**_POOLINGS,  # at 1 x 1 pixel BatchNorm cannot be trained with one sample
        margin=margin,
    )


ARCHITECTURES: Final = (
    _entry(56, (4,) * 6, 12, 416),
    _entry(67, (5,) * 6, 16, 512),
    _entry(103, (4, 5, 7, 10, 12, 15), 16, 1152),
)
