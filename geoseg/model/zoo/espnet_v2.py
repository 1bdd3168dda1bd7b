"""ESPNetv2: depthwise pyramids of dilated convolutions, with the shrunken pixels given again at every level.

Mehta, Rastegari, Shapiro, Hajishirzi (2019), "ESPNetv2: A Light-weight, Power Efficient, and General Purpose
Convolutional Neural Network". Its pyramid pooling is a chain of 3 x 3 means, so no pixel depends on the whole tile;
but the chain ends at 1/128, and only tiles aligned to 128 agree with the whole image.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoseg.model.architecture import Architecture
from geoseg.model.zoo.blocks import check_channels, initialise, resize

_BRANCHES: Final = 4
_LEVELS: Final = 4
"""Of the pooling, below an eighth."""
_BASE: Final = 32
_SCALES: Final = (0.5, 1.0, 1.25, 1.5, 2.0)


class ESPNetV2(nn.Module):
    """Logits at the input's size, computed at half of it; sides must be multiples of 16."""

    def __init__(self, *, in_channels: int, classes: int, s: float = 2.0, aux: bool = False) -> None:
        """Builds the network with He-initialised weights.

        Args:
            in_channels: bands of the input.
            classes: channels of the logits.
            s: the paper's scale of the widths: 0.5, 1, 1.25, 1.5 or 2.
            aux: True = the scores at an eighth, before they are refined, are an output of `forward_train`.

        Raises:
            ValueError: a number below 1, or another scale.
        """
        super().__init__()
        check_channels(in_channels=in_channels, classes=classes)
        if s not in _SCALES:
            raise ValueError(f"ESPNetv2 s is {s}; it must be one of {', '.join(map(str, _SCALES))}")
        first, half, quarter, eighth = _widths(s)
        self.aux = aux
        self.first = _conv_norm_prelu(in_channels, first, kernel=3, stride=2)
        self.quarter = _Down(first, half, in_channels, times=2, largest=6)
        self.eighth = _Down(half, quarter, in_channels, times=3, largest=5)
        self.eighth_blocks = nn.Sequential(*(_Pyramid(quarter, quarter, largest=4) for _ in range(3)))
        self.sixteenth = _Down(quarter, eighth, in_channels, times=4, largest=4)
        self.sixteenth_blocks = nn.Sequential(*(_Pyramid(eighth, eighth, largest=3) for _ in range(7)))
        self.reduce = _conv_norm_prelu(eighth, quarter)
        self.merge = nn.Sequential(_Pyramid(2 * quarter, quarter, largest=3), _Pooling(quarter))
        drop = 0.1 if s <= 0.5 else 0.2
        self.score_eighth = nn.Sequential(nn.Dropout2d(drop), nn.Conv2d(quarter, classes, 1, bias=False))
        self.norm_eighth = _norm_prelu(classes)
        self.score_quarter = _conv_norm_prelu(half + classes, classes)
        self.score_half = nn.Sequential(nn.Dropout2d(drop), nn.Conv2d(first + classes, classes, 1, bias=False))
        initialise(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w)."""
        return resize(self.coarse(pixels), pixels)

    def coarse(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h / 2, w / 2)."""
        return self._coarse(pixels)[0]

    def forward_train(self, pixels: Tensor) -> dict[str, Tensor]:
        """The logits as `out`, and with `aux` the scores at an eighth as `aux`; all at the input's size."""
        coarse, scores = self._coarse(pixels)
        outputs = {"out": resize(coarse, pixels)}
        return {**outputs, "aux": resize(scores, pixels)} if self.aux else outputs

    def _coarse(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits at half, and the scores at an eighth that they are made of."""
        half = self.first(pixels)
        quarter = self.quarter(half, pixels)
        eighth = self.eighth_blocks(self.eighth(quarter, pixels))
        sixteenth = self.sixteenth_blocks(self.sixteenth(eighth, pixels))
        merged = self.merge(torch.cat([eighth, resize(self.reduce(sixteenth), eighth)], dim=1))
        scores = self.score_eighth(merged)
        refined = self.score_quarter(torch.cat([quarter, resize(self.norm_eighth(scores), quarter)], dim=1))
        return self.score_half(torch.cat([half, resize(refined, half)], dim=1)), scores


def _widths(s: float) -> tuple[int, int, int, int]:
    """Channels at half, a quarter, an eighth and a sixteenth; the first is never above the base."""
    scaled = math.ceil(int(_BASE * s) / _BRANCHES) * _BRANCHES
    return min(scaled, _BASE), 2 * scaled, 4 * scaled, 8 * scaled


class _Pyramid(nn.Module):
    """Grouped reduction, depthwise dilations side by side, each added to the next, grouped expansion (EESP).

    `largest` bounds the dilations: 1, 2, 3, 4 where it is 4, and 1, 1, 2, 3 where it is 3.
    """

    def __init__(self, below: int, above: int, *, largest: int, stride: int = 1) -> None:
        super().__init__()
        width = above // _BRANCHES
        dilations = sorted(k if k <= largest else 1 for k in range(1, _BRANCHES + 1))
        self.reduce = _conv_norm_prelu(below, width, groups=_BRANCHES)
        self.branches = nn.ModuleList(
            nn.Conv2d(width, width, 3, stride=stride, padding=d, dilation=d, groups=width, bias=False)
            for d in dilations
        )
        self.norm = _norm_prelu(above)
        self.expand = nn.Sequential(nn.Conv2d(above, above, 1, groups=_BRANCHES, bias=False), nn.BatchNorm2d(above))
        self.out = nn.PReLU(above)
        self.out.requires_grad_(stride == 1)  # idle where the size is halved; it is there in the authors' weights
        self.keeps_shape = stride == 1 and below == above
        self.is_down = stride > 1

    def forward(self, features: Tensor) -> Tensor:
        reduced = self.reduce(features)
        made = [branch(reduced) for branch in self.branches]
        for k in range(1, len(made)):
            made[k] = made[k] + made[k - 1]
        expanded: Tensor = self.expand(self.norm(torch.cat(made, dim=1)))
        if self.is_down:
            return expanded
        activated: Tensor = self.out(expanded + features if self.keeps_shape else expanded)
        return activated


class _Down(nn.Module):
    """Half the size: the mean beside a pyramid, and the pixels shrunk `times` times added to both."""

    def __init__(self, below: int, above: int, in_channels: int, *, times: int, largest: int) -> None:
        super().__init__()
        self.times = times
        self.pyramid = _Pyramid(below, above - below, largest=largest, stride=2)
        self.reinforcement = nn.Sequential(
            _conv_norm_prelu(in_channels, in_channels, kernel=3),
            nn.Conv2d(in_channels, above, 1, bias=False),
            nn.BatchNorm2d(above),
        )
        self.out = nn.PReLU(above)

    def forward(self, features: Tensor, pixels: Tensor) -> Tensor:
        for _ in range(self.times):
            pixels = _shrunk(pixels)
        made = torch.cat([_shrunk(features), self.pyramid(features)], dim=1)
        activated: Tensor = self.out(made + self.reinforcement(pixels))
        return activated


class _Pooling(nn.Module):
    """Features beside their depthwise filtered means at half to a sixteenth of the size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.filters = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False) for _ in range(_LEVELS)
        )
        self.project = _conv_norm_prelu((1 + _LEVELS) * width, width)

    def forward(self, features: Tensor) -> Tensor:
        parts, shrunk = [features], features
        for filtered in self.filters:
            shrunk = _shrunk(shrunk)
            parts.append(resize(filtered(shrunk), features))
        projected: Tensor = self.project(torch.cat(parts, dim=1))
        return projected


def _conv_norm_prelu(below: int, above: int, *, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(below, above, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, *_norm_prelu(above))


def _norm_prelu(width: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(width), nn.PReLU(width))


def _shrunk(pixels: Tensor) -> Tensor:
    """Half the size."""
    return F.avg_pool2d(pixels, 3, stride=2, padding=1)


ARCHITECTURES: Final = (
    Architecture(
        name="espnetv2",
        title="ESPNetv2",
        build=ESPNetV2,
        source="Mehta et al. 2019, arXiv:1811.11431",
        licence="Apache-2.0",
        divisor=128,
        min_size=128,
        margin=1024,
    ),
)
