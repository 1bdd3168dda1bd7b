"""Atrous spatial pyramid pooling with dense convolutions, as several families use it.

Chen et al. (2017), "Rethinking Atrous Convolution", arXiv:1706.05587.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from geoseg.model.zoo.blocks import conv_norm_relu, pool, pooled_norm

RATES: Final = {16: (6, 12, 18), 8: (12, 24, 36)}
"""Dilations by output stride."""


class Pyramid(nn.Module):
    """Branches side by side: 1 x 1, a dilated 3 x 3 for each rate, and the mean of the tile."""

    def __init__(self, in_channels: int, channels: int, rates: Sequence[int], *, image_pooling: bool = True) -> None:
        super().__init__()
        self.branches = nn.ModuleList([conv_norm_relu(in_channels, channels, kernel=1)])
        self.branches.extend(conv_norm_relu(in_channels, channels, dilation=rate) for rate in rates)
        self.pooled = _pooled_branch(in_channels, channels) if image_pooling else None
        self.out_channels = channels * (len(self.branches) + image_pooling)

    def forward(self, features: Tensor) -> Tensor:
        """(n, channels * branches, h, w) of (n, in_channels, h, w)."""
        found = [branch(features) for branch in self.branches]
        if self.pooled is not None:
            found.append(self.pooled(pool(features)).expand(-1, -1, *features.shape[-2:]))
        return torch.cat(found, dim=1)


class ASPP(nn.Module):
    """The pyramid and its projection to `channels`."""

    def __init__(
        self, in_channels: int, rates: Sequence[int], *, channels: int = 256, image_pooling: bool = True
    ) -> None:
        super().__init__()
        self.pyramid = Pyramid(in_channels, channels, rates, image_pooling=image_pooling)
        self.project = nn.Sequential(
            conv_norm_relu(self.pyramid.out_channels, channels, kernel=1),
            nn.Dropout(0.5),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(n, channels, h, w) of (n, in_channels, h, w)."""
        projected: Tensor = self.project(self.pyramid(features))
        return projected


def _pooled_branch(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, channels, kernel_size=1, bias=False), pooled_norm(channels), nn.ReLU())
