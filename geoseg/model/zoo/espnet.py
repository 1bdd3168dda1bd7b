"""ESPNet: pyramids of dilated convolutions at an eighth of the size, with (ESPNet) and without (ESPNet-C) a decoder.

Mehta, Rastegari, Caspi, Shapiro, Hajishirzi (2018), "ESPNet: Efficient Spatial Pyramid of Dilated Convolutions for
Semantic Segmentation". Where there are fewer classes than the five branches of a pyramid, the decoder's pyramid is
five channels wide.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoseg.model.architecture import Architecture
from geoseg.model.zoo.blocks import check_channels, initialise, resize

_DILATIONS: Final = (1, 2, 4, 8, 16)
_EPSILON: Final = 1e-3
"""Of BatchNorm: the paper's."""


class ESPNetC(nn.Module):
    """The encoder with a 1 x 1 classifier; logits at the input's size, computed at an eighth of it."""

    def __init__(self, *, in_channels: int, classes: int, p: int = 2, q: int = 8) -> None:
        """Builds the network with He-initialised weights.

        Args:
            in_channels: bands of the input.
            classes: channels of the logits.
            p: pyramids at a quarter of the size.
            q: pyramids at an eighth.

        Raises:
            ValueError: a number below 1.
        """
        super().__init__()
        check_channels(in_channels=in_channels, classes=classes, p=p, q=q)
        self.encoder = _Encoder(in_channels, p, q)
        self.classifier = nn.Conv2d(256, classes, 1, bias=False)
        initialise(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w)."""
        return resize(self.coarse(pixels), pixels)

    def coarse(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h / 8, w / 8)."""
        logits: Tensor = self.classifier(self.encoder(pixels)[2])
        return logits


class ESPNet(nn.Module):
    """Encoder and decoder; logits at the input's size."""

    def __init__(self, *, in_channels: int, classes: int, p: int = 2, q: int = 8) -> None:
        """As `ESPNetC`."""
        super().__init__()
        check_channels(in_channels=in_channels, classes=classes, p=p, q=q)
        self.encoder = _Encoder(in_channels, p, q)
        self.from_eighth = nn.Sequential(
            nn.Conv2d(256, classes, 1, bias=False), nn.BatchNorm2d(classes, eps=_EPSILON), _doubled(classes, classes)
        )
        self.from_quarter = nn.Conv2d(128 + in_channels, classes, 1, bias=False)
        width = max(classes, len(_DILATIONS))
        self.to_half = nn.Sequential(
            _norm_prelu(2 * classes),
            _Pyramid(2 * classes, width),
            _norm_prelu(width),
            _doubled(width, classes),
            _norm_prelu(classes),
        )
        self.at_half = nn.Sequential(nn.Conv2d(16 + classes, classes, 3, padding=1, bias=False), _norm_prelu(classes))
        self.to_full = _doubled(classes, classes)
        initialise(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w)."""
        half, quarter, eighth = self.encoder(pixels)
        meaning = self.to_half(torch.cat([self.from_quarter(quarter), self.from_eighth(eighth)], dim=1))
        logits: Tensor = self.to_full(self.at_half(torch.cat([meaning, half], dim=1)))
        return logits


class _Encoder(nn.Module):
    """(first features, at half; features at a quarter; at an eighth). Down go the shrunken pixels beside features."""

    def __init__(self, in_channels: int, p: int, q: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(in_channels, 16, 3, stride=2, padding=1, bias=False), _norm_prelu(16))
        self.norm_half = _norm_prelu(16 + in_channels)
        self.down_quarter = nn.Sequential(_Pyramid(16 + in_channels, 64, stride=2), _norm_prelu(64))
        self.quarter = nn.Sequential(*(_Residual(64) for _ in range(p)))
        self.norm_quarter = _norm_prelu(128 + in_channels)
        self.down_eighth = nn.Sequential(_Pyramid(128 + in_channels, 128, stride=2), _norm_prelu(128))
        self.eighth = nn.Sequential(*(_Residual(128) for _ in range(q)))
        self.norm_eighth = _norm_prelu(256)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        half, halved = self.first(pixels), _shrunk(pixels)
        begun = self.down_quarter(self.norm_half(torch.cat([half, halved], dim=1)))
        quarter = self.norm_quarter(torch.cat([self.quarter(begun), begun, _shrunk(halved)], dim=1))
        begun = self.down_eighth(quarter)
        return half, quarter, self.norm_eighth(torch.cat([begun, self.eighth(begun)], dim=1))


class _Pyramid(nn.Module):
    """Reduce, dilate by 1 to 16 side by side, add each to the next (against gridding), put together."""

    def __init__(self, below: int, above: int, stride: int = 1) -> None:
        super().__init__()
        narrow = above // len(_DILATIONS)
        widths = [above - narrow * (len(_DILATIONS) - 1), *[narrow] * (len(_DILATIONS) - 1)]
        kernel = 3 if stride > 1 else 1
        self.reduce = nn.Conv2d(below, narrow, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.branches = nn.ModuleList(
            nn.Conv2d(narrow, width, 3, padding=dilation, dilation=dilation, bias=False)
            for width, dilation in zip(widths, _DILATIONS, strict=True)
        )

    def forward(self, features: Tensor) -> Tensor:
        reduced = self.reduce(features)
        first, *others = (branch(reduced) for branch in self.branches)
        for k in range(1, len(others)):
            others[k] = others[k] + others[k - 1]
        return torch.cat([first, *others], dim=1)


class _Residual(nn.Module):
    """A pyramid added to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pyramid = _Pyramid(width, width)
        self.out = _norm_prelu(width)

    def forward(self, features: Tensor) -> Tensor:
        made: Tensor = self.out(features + self.pyramid(features))
        return made


def _norm_prelu(width: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(width, eps=_EPSILON), nn.PReLU(width))


def _doubled(below: int, above: int) -> nn.ConvTranspose2d:
    """Twice the size."""
    return nn.ConvTranspose2d(below, above, 2, stride=2, bias=False)


def _shrunk(pixels: Tensor) -> Tensor:
    """Half the size."""
    return F.avg_pool2d(pixels, 3, stride=2, padding=1)


_SOURCE: Final = "Mehta et al. 2018, arXiv:1803.06815"
ARCHITECTURES: Final = (
    Architecture(
        name="espnet",
        title="ESPNet",
        build=ESPNet,
        source=_SOURCE,
        licence="Apache-2.0",
        divisor=8,
        min_size=16,  # at 1 x 1 pixel BatchNorm cannot be trained with one sample
        margin=1424,
    ),
    Architecture(
        name="espnet_c",
        title="ESPNet-C",
        build=ESPNetC,
        source=_SOURCE,
        licence="Apache-2.0",
        divisor=8,
        min_size=16,
        margin=1360,
    ),
)
