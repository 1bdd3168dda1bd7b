"""The padded U-Net with BatchNorm: four levels, same-size output, any band and class count.

Ronneberger, Fischer, Brox (2015), "U-Net: Convolutional Networks for Biomedical Image Segmentation", with padded
3 x 3 convolutions and BatchNorm after each of them, as most re-implementations have it.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from geoseg.model.architecture import Architecture

DIVISOR = 16
"""Height and width must be multiples of this: four halvings."""

EXACT_MARGIN = 96
"""Receptive field per side (94 px) rounded up to the divisor: beyond it tiles equal the whole image."""


class UNet(nn.Module):
    """Logits at the input's size.

    Parameters 3 -> 4 with 64 features: 31,037,828. BatchNorm keeps running statistics, so in `eval` a pixel
    depends on nothing but the pixels within 94 of it.
    """

    def __init__(self, *, in_channels: int, classes: int, init_features: int = 64) -> None:
        """Builds the network with He-initialised weights.

        Args:
            in_channels: bands of the input.
            classes: channels of the logits.
            init_features: channels of the first level; doubled at each of the four levels below it.

        Raises:
            ValueError: when any of the three is below 1.
        """
        super().__init__()
        for name, value in (("in_channels", in_channels), ("classes", classes), ("init_features", init_features)):
            if value < 1:
                raise ValueError(f"UNet {name} is {value}; it must be at least 1")
        widths = [init_features * 2**level for level in range(5)]
        self.encoders = nn.ModuleList(
            _double_convolution(below, above) for below, above in zip([in_channels, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        deep_to_shallow = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.upsamplers = nn.ModuleList(
            nn.ConvTranspose2d(deep, shallow, kernel_size=2, stride=2) for deep, shallow in deep_to_shallow
        )
        self.decoders = nn.ModuleList(_double_convolution(deep, shallow) for deep, shallow in deep_to_shallow)
        self.head = nn.Conv2d(widths[0], classes, kernel_size=1)
        self.apply(_initialise)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of normalised pixels (n, bands, h, w).

        Raises:
            ValueError: when h or w is not a multiple of 16.
        """
        height, width = pixels.shape[-2:]
        if height % DIVISOR or width % DIVISOR:
            raise ValueError(f"UNet got {height} x {width} pixels; both must be multiples of {DIVISOR}: pad the tile")
        skips: list[Tensor] = []
        features = pixels
        for level, encoder in enumerate(self.encoders):
            if level:
                features = self.pool(features)
            features = encoder(features)
            skips.append(features)
        skips.pop()
        for upsampler, decoder in zip(self.upsamplers, self.decoders, strict=True):
            features = decoder(torch.cat([skips.pop(), upsampler(features)], dim=1))
        logits: Tensor = self.head(features)
        return logits


def _double_convolution(below: int, above: int) -> nn.Sequential:
    """Twice: 3 x 3 convolution without bias, BatchNorm, ReLU."""
    layers: list[nn.Module] = []
    for channels in (below, above):
        layers += [
            nn.Conv2d(channels, above, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(above),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _initialise(module: nn.Module) -> None:
    """He initialisation of the convolutions (the paper's), zeros for biases."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


ARCHITECTURES: Final = (
    Architecture(
        name="unet",
        title="U-Net, padded, with BatchNorm",
        build=UNet,
        source="Ronneberger et al. 2015, arXiv:1505.04597",
        licence="Apache-2.0",
        divisor=DIVISOR,
        min_size=DIVISOR,
        margin=EXACT_MARGIN,
    ),
)
