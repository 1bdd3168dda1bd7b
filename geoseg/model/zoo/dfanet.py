"""DFANet A: three light Xception backbones, each refining what the one before saw, and a small decoder.

Li, Xiong, Fan, Sun (2019), "DFANet: Deep Feature Aggregation for Real-Time Semantic Segmentation". The paper leaves
open how the attention is activated (here by a sigmoid) and the layers of the decoder (here 1 x 1 to 32 channels, and
1 x 1 to the classes), and no public code has the paper's 7.8 M parameters.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from geoseg.model.architecture import Architecture
from geoseg.model.zoo.blocks import check_channels, conv_norm_relu, initialise, pool, pooled_norm, resize, separable

_STEM: Final = 8
_WIDTHS: Final = (48, 96, 192)
"""Channels of the three stages of a backbone."""
_REPEATS: Final = (4, 6, 4)
_EXPANSION: Final = 4
_DECODER: Final = 32


class DFANet(nn.Module):
    """Logits at the input's size, computed at a quarter of it."""

    def __init__(self, *, in_channels: int, classes: int, attention: int = 1000) -> None:
        """Builds the network with He-initialised weights.

        Args:
            in_channels: bands of the input.
            classes: channels of the logits.
            attention: width of the fully connected layer of the attention: ImageNet's classes.

        Raises:
            ValueError: a number below 1.
        """
        super().__init__()
        check_channels(in_channels=in_channels, classes=classes, attention=attention)
        first, second, third = _WIDTHS
        joined = (third + first, first + second, second + third)
        self.stem = conv_norm_relu(in_channels, _STEM, stride=2)
        self.backbones = nn.ModuleList(
            _Backbone(below, attention) for below in ((_STEM, first, second), joined, joined)
        )
        self.details = nn.ModuleList(conv_norm_relu(first, _DECODER, kernel=1) for _ in self.backbones)
        self.meanings = nn.ModuleList(conv_norm_relu(third, _DECODER, kernel=1) for _ in self.backbones)
        self.head = nn.Conv2d(_DECODER, classes, 1)
        initialise(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w)."""
        return resize(self.coarse(pixels), pixels)

    def coarse(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h / 4, w / 4)."""
        meaning, stages = self.stem(pixels), None
        found: list[tuple[Tensor, Tensor]] = []
        for backbone in self.backbones:
            if stages is not None:  # the same network again, on finer features
                meaning = resize(meaning, stages[0])
            meaning, stages = backbone(meaning, stages)
            found.append((stages[0], meaning))
        finest = found[0][0]
        parts = [resize(layer(detail), finest) for layer, (detail, _) in zip(self.details, found, strict=True)]
        parts += [resize(layer(meaning), finest) for layer, (_, meaning) in zip(self.meanings, found, strict=True)]
        logits: Tensor = self.head(torch.stack(parts).sum(0))
        return logits


class _Backbone(nn.Module):
    """(attended features, features of the three stages) of features and the stages of the backbone before."""

    def __init__(self, below: tuple[int, int, int], attention: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(_Block(narrow, width, stride=2), *(_Block(width, width) for _ in range(repeats - 1)))
            for narrow, width, repeats in zip(below, _WIDTHS, _REPEATS, strict=True)
        )
        last = _WIDTHS[-1]
        self.attention = nn.Sequential(
            nn.Conv2d(last, attention, 1),  # a fully connected layer, as the input is one pixel
            nn.Conv2d(attention, last, 1, bias=False),
            pooled_norm(last),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor, before: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        made: list[Tensor] = []
        for k, stage in enumerate(self.stages):
            features = stage(features if before is None else torch.cat([features, before[k]], dim=1))
            made.append(features)
        return features * self.attention(pool(features)), made


class _Block(nn.Module):
    """Three separable convolutions, the first two of a quarter of the channels, and a way past."""

    def __init__(self, below: int, above: int, *, stride: int = 1) -> None:
        super().__init__()
        narrow = above // _EXPANSION
        self.residual = nn.Sequential(
            separable(below, narrow),
            separable(narrow, narrow),
            conv_norm_relu(narrow, narrow, stride=stride, groups=narrow),
            conv_norm_relu(narrow, above, kernel=1, relu=False),
        )
        self.past = nn.Identity() if stride == 1 else conv_norm_relu(below, above, kernel=1, stride=stride, relu=False)

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.past(features) + self.residual(features))


ARCHITECTURES: Final = (
    Architecture(
        name="dfanet_a",
        title="DFANet A",
        build=DFANet,
        source="Li et al. 2019, arXiv:1904.02216",
        licence="Apache-2.0",
        divisor=64,  # of the last stage of the last backbone
        min_size=128,  # at 1 x 1 pixel BatchNorm cannot be trained with one sample
        margin=None,
    ),
)
