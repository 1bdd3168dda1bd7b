"""LiteSeg: a light trunk, a deeper pyramid of atrous convolutions with its input beside it, and a small decoder.

Emara, Abd El Munim, Abbas (2019), "LiteSeg: A Novel Lightweight ConvNet for Semantic Segmentation": each atrous 3 x 3
convolution of the pyramid is followed by a plain one, and both have 96 channels. The widths of the decoder are not in
the text: here 48 for the detail, as in DeepLab v3+, and 96 for the two separable convolutions after it.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from geoseg.model.architecture import Architecture
from geoseg.model.zoo.blocks import check_channels, conv_norm_relu, initialise, pool, pooled_norm, resize, separable

_WIDTH: Final = 96
_DETAIL: Final = 48
_RATES: Final = (3, 6, 9)


class LiteSeg(nn.Module):
    """Logits at the input's size, computed at a quarter of it."""

    def __init__(self, *, in_channels: int, classes: int, encoder: str = "mobilenet_v2") -> None:
        """Builds the network with He-initialised weights.

        Args:
            in_channels: bands of the input.
            classes: channels of the logits.
            encoder: `mobilenet_v2` or `shufflenet_v2`.

        Raises:
            ValueError: a number below 1, or another encoder.
        """
        super().__init__()
        check_channels(in_channels=in_channels, classes=classes)
        self.detail, self.meaning, fine, deep = _trunk(encoder, in_channels)
        self.pyramid = _DeepPyramid(deep)
        self.project_detail = conv_norm_relu(fine, _DETAIL, kernel=1)
        self.head = nn.Sequential(
            separable(_WIDTH + _DETAIL, _WIDTH), separable(_WIDTH, _WIDTH), nn.Conv2d(_WIDTH, classes, 1)
        )
        initialise(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w)."""
        return resize(self.coarse(pixels), pixels)

    def coarse(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h / 4, w / 4)."""
        detail = self.detail(pixels)
        meaning = resize(self.pyramid(self.meaning(detail)), detail)
        logits: Tensor = self.head(torch.cat([meaning, self.project_detail(detail)], dim=1))
        return logits


def _trunk(encoder: str, in_channels: int) -> tuple[nn.Sequential, nn.Sequential, int, int]:
    """(layers down to a quarter, layers down to a thirty-second, channels of the one, of the other)."""
    from torchvision.models import mobilenet_v2, shufflenet_v2_x1_0

    layers: list[nn.Module]
    if encoder == "mobilenet_v2":
        layers = list(mobilenet_v2(weights=None).features)[:-1]
        detail, meaning, channels = layers[:4], layers[4:], (24, 320)
    elif encoder == "shufflenet_v2":
        trunk = shufflenet_v2_x1_0(weights=None)
        detail, meaning, channels = [trunk.conv1, trunk.maxpool], [trunk.stage2, trunk.stage3, trunk.stage4], (24, 464)
    else:
        raise ValueError(f"LiteSeg encoder is {encoder!r}; it must be mobilenet_v2 or shufflenet_v2")
    first = detail[0][0]  # type: ignore[index]
    if in_channels != first.in_channels:
        width = first.out_channels
        detail[0][0] = nn.Conv2d(in_channels, width, 3, stride=2, padding=1, bias=False)  # type: ignore[operator]
    return nn.Sequential(*detail), nn.Sequential(*meaning), *channels


class _DeepPyramid(nn.Module):
    """1 x 1, atrous and plain 3 x 3 at three rates, the mean of the tile, and the input itself, put together."""

    def __init__(self, below: int) -> None:
        super().__init__()
        self.point = conv_norm_relu(below, _WIDTH, kernel=1)
        self.atrous = nn.ModuleList(
            nn.Sequential(conv_norm_relu(below, _WIDTH, dilation=rate), conv_norm_relu(_WIDTH, _WIDTH))
            for rate in _RATES
        )
        self.mean = nn.Sequential(nn.Conv2d(below, _WIDTH, 1, bias=False), pooled_norm(_WIDTH), nn.ReLU(inplace=True))
        self.project = conv_norm_relu(below + _WIDTH * (len(_RATES) + 2), _WIDTH, kernel=1)

    def forward(self, features: Tensor) -> Tensor:
        mean = self.mean(pool(features)).expand(-1, -1, *features.shape[-2:])
        parts = [features, self.point(features), *(branch(features) for branch in self.atrous), mean]
        projected: Tensor = self.project(torch.cat(parts, dim=1))
        return projected


ARCHITECTURES: Final = (
    Architecture(
        name="liteseg",
        title="LiteSeg",
        build=LiteSeg,
        source="Emara et al. 2019, arXiv:1912.06683",
        licence="Apache-2.0; trunk: BSD-3-Clause (torchvision)",
        divisor=32,
        min_size=64,  # at 1 x 1 pixel BatchNorm cannot be trained with one sample
        margin=None,
        encoders=("mobilenet_v2", "shufflenet_v2"),
        default_encoder="mobilenet_v2",
    ),
)
