"""DeepLab before v3: v1 with a large field of view over VGG-16, v2 with summed atrous branches over a ResNet.

Chen et al. (2015), arXiv:1412.7062; Chen et al. (2018), arXiv:1606.00915. Their fully connected CRF is not here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

import torch
from torch import Tensor, nn

from geoseg.model.architecture import Architecture
from geoseg.model.inflate import Bands
from geoseg.model.zoo.blocks import check_channels, initialise, resize
from geoseg.model.zoo.resnet import RESNETS, ResNetTrunk
from geoseg.model.zoo.vgg import VGGS, load_features, pooled, vgg_features

_DIVISOR: Final = 8
_LEVELS_OF_STRIDE_8: Final = 3


class DeepLabV1(nn.Module):
    """Logits (n, classes, h, w); h and w are multiples of 8.

    The last two poolings keep the size and the convolutions after pooling 4 are dilated by 2. The default head is
    the paper's LargeFOV: 3 x 3 with dilation 12; its others are kernel 7 or 4, dilation 4, 4096 channels.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        encoder: str = "vgg16",
        fov_kernel: int = 3,
        fov_dilation: int = 12,
        fov_channels: int = 1024,
        width: float = 1.0,
    ) -> None:
        """Builds the network.

        Args:
            in_channels: bands.
            classes: channels of the logits.
            encoder: vgg11, vgg13, vgg16 or vgg19.
            fov_kernel: of fc6.
            fov_dilation: of fc6.
            fov_channels: of fc6 and fc7.
            width: channels of the features relative to the paper's.

        Raises:
            ValueError: a count below 1.
        """
        super().__init__()
        check_channels(classes=classes, fov_kernel=fov_kernel, fov_dilation=fov_dilation, fov_channels=fov_channels)
        self.features = _flattened(vgg_features(encoder, in_channels=in_channels, width=width))
        self.fc6 = nn.Conv2d(
            round(512 * width), fov_channels, kernel_size=fov_kernel, dilation=fov_dilation, padding="same"
        )
        self.fc7 = nn.Conv2d(fov_channels, fov_channels, kernel_size=1)
        self.drop = nn.Dropout(0.5)
        self.score = nn.Conv2d(fov_channels, classes, kernel_size=1)
        initialise(self)

    def coarse(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h / 8, w / 8), rounded up for sizes that are no multiples."""
        deep = self.drop(torch.relu(self.fc6(pooled(self.features, pixels)[-1])))
        return cast(Tensor, self.score(self.drop(torch.relu(self.fc7(deep)))))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits at the input's size, bilinear."""
        return resize(self.coarse(pixels), pixels)

    def load_encoder(self, state: Mapping[str, Tensor], *, rgb: Bands | None = None) -> None:
        """Loads the features of a torchvision VGG.

        `rgb`: positions of red, green and blue among the bands; None: unknown.

        Raises:
            RuntimeError: shapes or names differ (of torch).
            ValueError: `rgb` does not fit.
        """
        load_features(self.features, state, rgb=rgb)


class DeepLabV2(nn.Module):
    """Logits (n, classes, h, w); h and w are multiples of 8."""

    def __init__(
        self, *, in_channels: int, classes: int, encoder: str = "resnet101", rates: Sequence[int] = (6, 12, 18, 24)
    ) -> None:
        """Builds the network.

        Args:
            in_channels: bands.
            classes: channels of the logits.
            encoder: one of `RESNETS`, with output stride 8.
            rates: dilations of the 3 x 3 convolutions whose logits are summed.

        Raises:
            ValueError: an unknown encoder, no rate, or a count below 1.
        """
        super().__init__()
        check_channels(classes=classes, rates=min(rates, default=0))
        self.trunk = ResNetTrunk(encoder, in_channels=in_channels, output_stride=_DIVISOR)
        deepest = ResNetTrunk.channels[-1]
        self.branches = nn.ModuleList(
            nn.Conv2d(deepest, classes, kernel_size=3, padding=rate, dilation=rate) for rate in rates
        )
        for branch in self.branches:
            nn.init.normal_(cast(Tensor, branch.weight), std=0.01)
            nn.init.zeros_(cast(Tensor, branch.bias))

    def coarse(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h / 8, w / 8), rounded up for sizes that are no multiples."""
        deepest = self.trunk(pixels)[-1]
        return torch.stack([branch(deepest) for branch in self.branches]).sum(dim=0)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits at the input's size, bilinear."""
        return resize(self.coarse(pixels), pixels)

    def load_encoder(self, state: Mapping[str, Tensor], *, rgb: Bands | None = None) -> None:
        """Loads the state dict of a torchvision ResNet.

        `rgb`: positions of red, green and blue among the bands; None: unknown.

        Raises:
            RuntimeError: shapes or names differ (of torch).
            ValueError: `rgb` does not fit.
        """
        self.trunk.load_encoder(state, rgb=rgb)


def _flattened(features: nn.Sequential) -> nn.Sequential:
    """VGG at stride 8: poolings of 3 x 3, the last two without stride, dilation 2 after the first of these two."""
    seen = 0
    for number, layer in enumerate(features):
        if isinstance(layer, nn.MaxPool2d):
            seen += 1
            features[number] = nn.MaxPool2d(3, stride=2 if seen <= _LEVELS_OF_STRIDE_8 else 1, padding=1)
        elif isinstance(layer, nn.Conv2d) and seen > _LEVELS_OF_STRIDE_8:
            layer.dilation = layer.padding = (2, 2)
    return features


ARCHITECTURES: Final = (
    Architecture(
        name="deeplabv1",
        title="DeepLab v1 (LargeFOV)",
        build=DeepLabV1,
        source="Chen et al. 2015, arXiv:1412.7062",
        licence="Apache-2.0; features: BSD-3-Clause (torchvision)",
        divisor=_DIVISOR,
        min_size=_DIVISOR,
        margin=224,
        encoders=VGGS,
        default_encoder="vgg16",
    ),
    Architecture(
        name="deeplabv2",
        title="DeepLab v2 (ASPP)",
        build=DeepLabV2,
        source="Chen et al. 2018, arXiv:1606.00915",
        licence="Apache-2.0; trunk: BSD-3-Clause (torchvision)",
        divisor=_DIVISOR,
        min_size=_DIVISOR,
        margin=688,
        encoders=RESNETS,
        default_encoder="resnet101",
    ),
)
