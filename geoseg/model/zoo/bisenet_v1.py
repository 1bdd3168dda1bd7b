"""BiSeNet: a wide shallow path for detail, ResNet-18 for context, fused by attention.

Yu, Wang, Peng, Gao, Yu, Sang (2018), "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation".
Pooled features are normalised over their channels, where the paper has BatchNorm, so that one sample can be trained.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from geoseg.model.architecture import Architecture
from geoseg.model.zoo.blocks import check_channels, conv_norm_relu, initialise, pool, pooled_norm, resize

_CONTEXT: Final = 128
"""Channels of the context path."""


class BiSeNetV1(nn.Module):
    """Logits at the input's size, computed at an eighth of it."""

    def __init__(self, *, in_channels: int, classes: int, aux: bool = False) -> None:
        """Builds the network with He-initialised weights.

        Args:
            in_channels: bands of the input.
            classes: channels of the logits.
            aux: True = heads on the context of an eighth and of a sixteenth, for `forward_train`.

        Raises:
            ValueError: a number below 1.
        """
        super().__init__()
        check_channels(in_channels=in_channels, classes=classes)
        self.detail = nn.Sequential(
            conv_norm_relu(in_channels, 64, kernel=7, stride=2),
            conv_norm_relu(64, 64, stride=2),
            conv_norm_relu(64, 64, stride=2),
            conv_norm_relu(64, 128, kernel=1),
        )
        self.context = _ContextPath(in_channels)
        self.fusion = _Fusion(128 + _CONTEXT, 256)
        self.head = _head(256, 256, classes)
        self.aux8 = _head(_CONTEXT, 64, classes) if aux else None
        self.aux16 = _head(_CONTEXT, 64, classes) if aux else None
        initialise(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w)."""
        return resize(self.coarse(pixels), pixels)

    def coarse(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h / 8, w / 8)."""
        return self._coarse(pixels)[0]

    def forward_train(self, pixels: Tensor) -> dict[str, Tensor]:
        """The logits as `out`, and with `aux` those of the context as `aux8` and `aux16`; all at the input's size."""
        coarse, eighth, sixteenth = self._coarse(pixels)
        outputs = {"out": resize(coarse, pixels)}
        if self.aux8 is not None and self.aux16 is not None:
            outputs["aux8"] = resize(self.aux8(eighth), pixels)
            outputs["aux16"] = resize(self.aux16(sixteenth), pixels)
        return outputs

    def _coarse(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, context at an eighth, context at a sixteenth."""
        eighth, sixteenth = self.context(pixels)
        return self.head(self.fusion(self.detail(pixels), eighth)), eighth, sixteenth


class _ContextPath(nn.Module):
    """(context at an eighth, context at a sixteenth) of pixels."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        from torchvision.models import resnet18

        trunk = resnet18(weights=None)
        if in_channels != 3:
            trunk.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.eighth = nn.Sequential(trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool, trunk.layer1, trunk.layer2)
        self.sixteenth, self.thirty_second = trunk.layer3, trunk.layer4
        self.attend16, self.attend32 = _Attention(256, _CONTEXT), _Attention(512, _CONTEXT)
        self.smooth16, self.smooth8 = conv_norm_relu(_CONTEXT, _CONTEXT), conv_norm_relu(_CONTEXT, _CONTEXT)
        self.tail = nn.Sequential(nn.Conv2d(512, _CONTEXT, 1, bias=False), pooled_norm(_CONTEXT), nn.ReLU(inplace=True))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        eighth = self.eighth(pixels)
        sixteenth = self.sixteenth(eighth)
        deepest = self.thirty_second(sixteenth)
        context = self.attend32(deepest) + self.tail(pool(deepest))
        context16 = self.smooth16(resize(context, sixteenth))
        context8 = self.smooth8(resize(self.attend16(sixteenth) + context16, eighth))
        return context8, context16


class _Attention(nn.Module):
    """Features of fewer channels, each weighted by what its mean over the tile tells (the paper's ARM)."""

    def __init__(self, below: int, above: int) -> None:
        super().__init__()
        self.reduce = conv_norm_relu(below, above)
        self.weight = nn.Sequential(nn.Conv2d(above, above, 1, bias=False), pooled_norm(above), nn.Sigmoid())

    def forward(self, features: Tensor) -> Tensor:
        reduced: Tensor = self.reduce(features)
        return torch.mul(reduced, self.weight(pool(reduced)))


class _Fusion(nn.Module):
    """Detail and context side by side, then weighted by channel (the paper's FFM)."""

    def __init__(self, below: int, above: int) -> None:
        super().__init__()
        self.mix = conv_norm_relu(below, above, kernel=1)
        self.weight = nn.Sequential(nn.Conv2d(above, above, 1, bias=False), pooled_norm(above), nn.Sigmoid())

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        mixed: Tensor = self.mix(torch.cat([detail, context], dim=1))
        return torch.addcmul(mixed, mixed, self.weight(pool(mixed)))


def _head(below: int, width: int, classes: int) -> nn.Sequential:
    return nn.Sequential(conv_norm_relu(below, width), nn.Conv2d(width, classes, 1))


ARCHITECTURES: Final = (
    Architecture(
        name="bisenetv1",
        title="BiSeNet with ResNet-18",
        build=BiSeNetV1,
        source="Yu et al. 2018, arXiv:1808.00897",
        licence="Apache-2.0; trunk: BSD-3-Clause (torchvision)",
        divisor=32,
        min_size=64,  # at 1 x 1 pixel BatchNorm cannot be trained with one sample
        margin=None,
    ),
)
