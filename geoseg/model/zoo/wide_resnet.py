"""The Wide ResNet-38 (A2) trunk of Gated-SCNN alone: identity blocks before activation, output stride 8.

Wu, Shen, van den Hengel (2016), "Wider or Deeper", arXiv:1611.10080.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from torch import Tensor, nn

from geoseg.model.zoo.blocks import check_channels, initialise

_GROUPS: Final[Sequence[tuple[int, tuple[int, ...], int, int]]] = (
    (3, (128, 128), 1, 1),
    (3, (256, 256), 1, 1),
    (6, (512, 512), 2, 1),
    (3, (512, 1024), 1, 2),
    (1, (512, 1024, 2048), 1, 4),
    (1, (1024, 2048, 4096), 1, 4),
)
"""Blocks, channels in a block, stride of its first block, dilation; a pooling is before the first two groups."""


class WideResNet38(nn.Module):
    """Features of the first convolution and of the six groups: strides 1, 2, 4, 8, 8, 8, 8."""

    channels: Final = (64, *(channels[-1] for _, channels, _, _ in _GROUPS))

    def __init__(self, *, in_channels: int) -> None:
        super().__init__()
        check_channels(in_channels=in_channels)
        self.first = nn.Conv2d(in_channels, 64, kernel_size=3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        groups: list[nn.Module] = []
        for below, (blocks, channels, stride, dilation) in zip(self.channels, _GROUPS, strict=False):
            first = _Block(below, channels, stride=stride, dilation=dilation)
            groups.append(
                nn.Sequential(first, *(_Block(channels[-1], channels, dilation=dilation) for _ in range(blocks - 1)))
            )
        self.groups = nn.ModuleList(groups)
        initialise(self)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The seven levels; none is rectified."""
        levels = [self.first(pixels)]
        for number, group in enumerate(self.groups):
            levels.append(group(self.pool(levels[-1]) if number < 2 else levels[-1]))
        return tuple(levels)


class _Block(nn.Module):
    """BatchNorm and ReLU before each convolution; two of 3 x 3, or one between two of 1 x 1."""

    def __init__(self, below: int, channels: Sequence[int], *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.before = _norm_relu(below)
        sizes = (3, 3) if len(channels) == 2 else (1, 3, 1)
        strided = sizes.index(3)
        layers: list[nn.Module] = []
        for number, ((one, two), size) in enumerate(zip(pairwise((below, *channels)), sizes, strict=True)):
            layers += [_norm_relu(one)] if number else []
            step = stride if number == strided else 1
            layers.append(_convolution(one, two, size, stride=step, dilation=dilation))
        self.main = nn.Sequential(*layers)
        changes = stride != 1 or below != channels[-1]
        self.beside = nn.Conv2d(below, channels[-1], 1, stride=stride, bias=False) if changes else None

    def forward(self, features: Tensor) -> Tensor:
        active = self.before(features)
        total: Tensor = self.main(active) + (features if self.beside is None else self.beside(active))
        return total


def _norm_relu(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())


def _convolution(below: int, above: int, size: int, *, stride: int, dilation: int) -> nn.Conv2d:
    dilation = dilation if size > 1 else 1
    return nn.Conv2d(below, above, size, stride=stride, dilation=dilation, padding=size // 2 * dilation, bias=False)
