"""BiSeNet V2: a wide shallow branch for detail, a narrow deep one for meaning, each guiding the other.

Yu, Gao, Wang, Yu, Shen, Sang (2021), "BiSeNet V2: Bilateral Network with Guided Aggregation for Real-time Semantic
Segmentation". Pooled features are normalised over their channels, where the paper has BatchNorm, so that one sample
can be trained.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from geoseg.model.architecture import Architecture
from geoseg.model.zoo.blocks import check_channels, conv_norm_relu, initialise, pool, pooled_norm, resize

_EXPANSION: Final = 6
_MEANING: Final = (16, 32, 64, 128)
"""Channels of the semantic branch at a quarter, an eighth, a sixteenth and a thirty-second."""


class BiSeNetV2(nn.Module):
    """Logits at the input's size, computed at an eighth of it."""

    def __init__(self, *, in_channels: int, classes: int, aux: bool = False, head_features: int = 1024) -> None:
        """Builds the network with He-initialised weights.

        Args:
            in_channels: bands of the input.
            classes: channels of the logits.
            aux: True = a head on each stage of the semantic branch, for `forward_train`.
            head_features: channels of the last hidden layer.

        Raises:
            ValueError: a number below 1.
        """
        super().__init__()
        check_channels(in_channels=in_channels, classes=classes, head_features=head_features)
        self.detail = _detail_branch(in_channels)
        self.stem = _Stem(in_channels, _MEANING[0])
        self.stages = nn.ModuleList(
            nn.Sequential(_GatherDown(below, above), *(_Gather(above) for _ in range(repeats)))
            for below, above, repeats in zip(_MEANING, _MEANING[1:], (1, 1, 3), strict=False)
        )
        self.embedding = _ContextEmbedding(_MEANING[-1])
        self.aggregation = _GuidedAggregation(_MEANING[-1])
        self.head = nn.Sequential(
            conv_norm_relu(_MEANING[-1], head_features), nn.Dropout(0.1), nn.Conv2d(head_features, classes, 1)
        )
        strides = (4, 8, 16, 32) if aux else ()
        self.aux = nn.ModuleList(
            _auxiliary_head(width, stride, classes) for width, stride in zip(_MEANING, strides, strict=False)
        )
        initialise(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w)."""
        return resize(self.coarse(pixels), pixels)

    def coarse(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h / 8, w / 8)."""
        return self._coarse(pixels)[0]

    def forward_train(self, pixels: Tensor) -> dict[str, Tensor]:
        """The logits as `out`, and with `aux` those of the stages as `aux4` … `aux32`; all at the input's size."""
        coarse, meanings = self._coarse(pixels)
        outputs = {"out": resize(coarse, pixels)}
        for stride, head, meaning in zip((4, 8, 16, 32), self.aux, meanings, strict=False):
            outputs[f"aux{stride}"] = resize(head(meaning), pixels)
        return outputs

    def _coarse(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the semantic branch at a quarter to a thirty-second."""
        meanings = [self.stem(pixels)]
        for stage in self.stages:
            meanings.append(stage(meanings[-1]))
        fused = self.aggregation(self.detail(pixels), self.embedding(meanings[-1]))
        return self.head(fused), meanings


def _detail_branch(in_channels: int) -> nn.Sequential:
    """128 channels at an eighth."""
    layers: list[nn.Module] = []
    below = in_channels
    for width, depth in ((64, 2), (64, 3), (128, 3)):
        for k in range(depth):
            layers.append(conv_norm_relu(below, width, stride=1 if k else 2))
            below = width
    return nn.Sequential(*layers)


class _Stem(nn.Module):
    """A quarter of the size by convolution and by pooling."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.first = conv_norm_relu(in_channels, width, stride=2)
        self.convolved = nn.Sequential(
            conv_norm_relu(width, width // 2, kernel=1), conv_norm_relu(width // 2, width, stride=2)
        )
        self.pooled = nn.MaxPool2d(3, stride=2, padding=1)
        self.fuse = conv_norm_relu(2 * width, width)

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.first(pixels)
        fused: Tensor = self.fuse(torch.cat([self.convolved(features), self.pooled(features)], dim=1))
        return fused


class _Gather(nn.Module):
    """Gather and expand: 3 x 3, depthwise to six times the channels, and back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = width * _EXPANSION
        self.residual = nn.Sequential(
            conv_norm_relu(width, width),
            conv_norm_relu(width, wide, groups=width),
            conv_norm_relu(wide, width, kernel=1, relu=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(features + self.residual(features))


class _GatherDown(nn.Module):
    """Gather and expand to half the size: two depthwise convolutions, and one on the way past."""

    def __init__(self, below: int, above: int) -> None:
        super().__init__()
        wide = below * _EXPANSION
        self.residual = nn.Sequential(
            conv_norm_relu(below, below),
            conv_norm_relu(below, wide, stride=2, groups=below, relu=False),
            conv_norm_relu(wide, wide, groups=wide),
            conv_norm_relu(wide, above, kernel=1, relu=False),
        )
        self.past = nn.Sequential(
            conv_norm_relu(below, below, stride=2, groups=below, relu=False),
            conv_norm_relu(below, above, kernel=1, relu=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.past(features) + self.residual(features))


class _ContextEmbedding(nn.Module):
    """Features with the mean of the tile added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(
            pooled_norm(width), nn.Conv2d(width, width, 1, bias=False), pooled_norm(width), nn.ReLU(inplace=True)
        )
        self.last = conv_norm_relu(width, width)

    def forward(self, features: Tensor) -> Tensor:
        embedded: Tensor = self.last(features + self.mean(pool(features)))
        return embedded


class _GuidedAggregation(nn.Module):
    """Detail weighted by meaning at an eighth, meaning weighted by detail at a thirty-second, summed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.detail = _depthwise_then_pointwise(width)
        self.detail_down = nn.Sequential(
            conv_norm_relu(width, width, stride=2, relu=False), nn.AvgPool2d(3, stride=2, padding=1)
        )
        self.meaning_up = conv_norm_relu(width, width, relu=False)
        self.meaning = _depthwise_then_pointwise(width)
        self.fuse = conv_norm_relu(width, width)

    def forward(self, detail: Tensor, meaning: Tensor) -> Tensor:
        fine = self.detail(detail) * torch.sigmoid(resize(self.meaning_up(meaning), detail))
        coarse = self.detail_down(detail) * torch.sigmoid(self.meaning(meaning))
        fused: Tensor = self.fuse(fine + resize(coarse, detail))
        return fused


def _depthwise_then_pointwise(width: int) -> nn.Sequential:
    return nn.Sequential(conv_norm_relu(width, width, groups=width, relu=False), nn.Conv2d(width, width, 1, bias=False))


def _auxiliary_head(width: int, stride: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        conv_norm_relu(width, 128),
        nn.Dropout(0.1),
        nn.Upsample(scale_factor=2),
        conv_norm_relu(128, stride**2),
        nn.Conv2d(stride**2, classes, 1),
    )


ARCHITECTURES: Final = (
    Architecture(
        name="bisenetv2",
        title="BiSeNet V2",
        build=BiSeNetV2,
        source="Yu et al. 2021, arXiv:2004.02147",
        licence="Apache-2.0",
        divisor=32,
        min_size=64,  # at 1 x 1 pixel BatchNorm cannot be trained with one sample
        margin=None,
    ),
)
