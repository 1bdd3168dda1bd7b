"""Fast-SCNN: one shared shallow stem, bottlenecks and pyramid pooling below it, and a light fusion.

Poudel, Liwicki, Cipolla (2019), "Fast-SCNN: Fast Semantic Segmentation Network". The mean of the tile is normalised
over its channels, where others have BatchNorm, so that one sample can be trained.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoseg.model.architecture import Architecture
from geoseg.model.zoo.blocks import check_channels, conv_norm_relu, initialise, pooled_norm, resize, separable

_EXPANSION: Final = 6
_BINS: Final = (1, 2, 3, 6)


class FastSCNN(nn.Module):
    """Logits at the input's size, computed at an eighth of it."""

    def __init__(self, *, in_channels: int, classes: int, aux: bool = False) -> None:
        """Builds the network with He-initialised weights.

        Args:
            in_channels: bands of the input.
            classes: channels of the logits.
            aux: True = a head on the stem, for `forward_train`.

        Raises:
            ValueError: a number below 1.
        """
        super().__init__()
        check_channels(in_channels=in_channels, classes=classes)
        self.stem = nn.Sequential(
            conv_norm_relu(in_channels, 32, stride=2), separable(32, 48, stride=2), separable(48, 64, stride=2)
        )
        self.context = nn.Sequential(
            *_bottlenecks(64, 64, stride=2), *_bottlenecks(64, 96, stride=2), *_bottlenecks(96, 128), _Pyramid(128, 128)
        )
        self.fusion = _Fusion(64, 128)
        self.head = nn.Sequential(separable(128, 128), separable(128, 128), nn.Dropout(0.1), nn.Conv2d(128, classes, 1))
        self.aux = nn.Sequential(conv_norm_relu(64, 32), nn.Dropout(0.1), nn.Conv2d(32, classes, 1)) if aux else None
        initialise(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w)."""
        return resize(self.coarse(pixels), pixels)

    def coarse(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h / 8, w / 8)."""
        return self._coarse(self.stem(pixels))

    def forward_train(self, pixels: Tensor) -> dict[str, Tensor]:
        """The logits as `out`, and with `aux` those of the stem as `aux`; all at the input's size."""
        fine = self.stem(pixels)
        outputs = {"out": resize(self._coarse(fine), pixels)}
        if self.aux is not None:
            outputs["aux"] = resize(self.aux(fine), pixels)
        return outputs

    def _coarse(self, fine: Tensor) -> Tensor:
        logits: Tensor = self.head(self.fusion(fine, self.context(fine)))
        return logits


class _Bottleneck(nn.Module):
    """Expanded, depthwise, projected without activation; past it goes the input where the shape is kept."""

    def __init__(self, below: int, above: int, stride: int) -> None:
        super().__init__()
        wide = below * _EXPANSION
        self.residual = nn.Sequential(
            conv_norm_relu(below, wide, kernel=1),
            conv_norm_relu(wide, wide, stride=stride, groups=wide),
            conv_norm_relu(wide, above, kernel=1, relu=False),
        )
        self.keeps_shape = stride == 1 and below == above

    def forward(self, features: Tensor) -> Tensor:
        made: Tensor = self.residual(features)
        return features + made if self.keeps_shape else made


def _bottlenecks(below: int, above: int, *, stride: int = 1) -> list[nn.Module]:
    """Three, the first of which changes the shape."""
    return [_Bottleneck(below, above, stride), _Bottleneck(above, above, 1), _Bottleneck(above, above, 1)]


class _Pyramid(nn.Module):
    """Means over 1, 2 x 2, 3 x 3 and 6 x 6 parts of the tile beside the features themselves."""

    def __init__(self, below: int, above: int) -> None:
        super().__init__()
        width = below // len(_BINS)
        self.parts = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(below, width, 1, bias=False),
                pooled_norm(width) if bins == 1 else nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            )
            for bins in _BINS
        )
        self.out = conv_norm_relu(2 * below, above, kernel=1)

    def forward(self, features: Tensor) -> Tensor:
        parts = [
            resize(part(F.adaptive_avg_pool2d(features, bins)), features)
            for bins, part in zip(_BINS, self.parts, strict=True)
        ]
        made: Tensor = self.out(torch.cat([features, *parts], dim=1))
        return made


class _Fusion(nn.Module):
    """Context brought to the size of the detail, smoothed, and added to it."""

    def __init__(self, fine: int, width: int) -> None:
        super().__init__()
        self.context = nn.Sequential(
            conv_norm_relu(width, width, groups=width), nn.Conv2d(width, width, 1), nn.BatchNorm2d(width)
        )
        self.detail = nn.Sequential(nn.Conv2d(fine, width, 1), nn.BatchNorm2d(width))

    def forward(self, fine: Tensor, context: Tensor) -> Tensor:
        return torch.relu(self.detail(fine) + self.context(resize(context, fine)))


ARCHITECTURES: Final = (
    Architecture(
        name="fast_scnn",
        title="Fast-SCNN",
        build=FastSCNN,
        source="Poudel et al. 2019, arXiv:1902.04502",
        licence="Apache-2.0",
        divisor=32,
        min_size=64,  # at 1 x 1 pixel BatchNorm cannot be trained with one sample
        margin=None,
    ),
)
