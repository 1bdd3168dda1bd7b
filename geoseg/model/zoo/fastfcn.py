"""FastFCN: an undilated ResNet, joint pyramid upsampling to stride 8, and atrous pyramid pooling.

Wu et al. (2019), "FastFCN: Rethinking Dilated Convolution in the Backbone", arXiv:1903.11816.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

import torch
from torch import Tensor, nn

from geoseg.model.architecture import Architecture
from geoseg.model.inflate import Bands
from geoseg.model.zoo.aspp import ASPP, RATES
from geoseg.model.zoo.blocks import check_channels, conv_norm_relu, initialise, resize
from geoseg.model.zoo.fcn_resnet import fcn_head
from geoseg.model.zoo.resnet import RESNETS, ResNetTrunk

_DIVISOR: Final = 32
_DILATIONS: Final = (1, 2, 4, 8)


class JointPyramidUpsampling(nn.Module):
    """Features of strides 8, 16 and 32 -> (n, 4 width, h / 8, w / 8)."""

    def __init__(self, in_channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(conv_norm_relu(below, width) for below in in_channels)
        joined = width * len(in_channels)
        self.branches = nn.ModuleList(_separable(joined, width, dilation) for dilation in _DILATIONS)
        self.out_channels = width * len(_DILATIONS)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels shallow to deep."""
        features = [layer(level) for layer, level in zip(self.levels, levels, strict=True)]
        joined = torch.cat([features[0], *(resize(one, features[0]) for one in features[1:])], dim=1)
        return torch.cat([branch(joined) for branch in self.branches], dim=1)


class FastFCN(nn.Module):
    """Logits (n, classes, h, w); h and w are multiples of 32."""

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        encoder: str = "resnet50",
        image_pooling: bool = True,
        aux: bool = False,
        width: int = 512,
    ) -> None:
        """Builds the network.

        Args:
            in_channels: bands.
            classes: channels of the logits.
            encoder: one of `RESNETS`.
            image_pooling: False leaves out the mean of the tile, so that tiles can equal the whole image.
            aux: True = a second head, on the level before the last, for training.
            width: channels of each level and branch of the joint pyramid.

        Raises:
            ValueError: an unknown encoder, or a count below 1.
        """
        super().__init__()
        check_channels(classes=classes, width=width)
        self.jpu = JointPyramidUpsampling(ResNetTrunk.channels[-3:], width)
        self.head = nn.Sequential(
            ASPP(self.jpu.out_channels, RATES[8], image_pooling=image_pooling),
            conv_norm_relu(256, 256),
            nn.Conv2d(256, classes, kernel_size=1),
        )
        self.aux = fcn_head(ResNetTrunk.channels[-2], classes) if aux else None
        initialise(self)
        self.trunk = ResNetTrunk(encoder, in_channels=in_channels, output_stride=32)

    def coarse(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h / 8, w / 8)."""
        return self._scores(self.trunk(pixels))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits at the input's size, bilinear."""
        return resize(self.coarse(pixels), pixels)

    def forward_train(self, pixels: Tensor) -> dict[str, Tensor]:
        """`out`, and `aux` where there is that head, at the input's size."""
        levels = self.trunk(pixels)
        outputs = {"out": resize(self._scores(levels), pixels)}
        if self.aux is not None:
            outputs["aux"] = resize(self.aux(levels[-2]), pixels)
        return outputs

    def load_encoder(self, state: Mapping[str, Tensor], *, rgb: Bands | None = None) -> None:
        """Loads the state dict of a torchvision ResNet.

        `rgb`: positions of red, green and blue among the bands; None: unknown.

        Raises:
            RuntimeError: shapes or names differ (of torch).
            ValueError: `rgb` does not fit.
        """
        self.trunk.load_encoder(state, rgb=rgb)

    def _scores(self, levels: Sequence[Tensor]) -> Tensor:
        return cast(Tensor, self.head(self.jpu(levels[-3:])))


def _separable(below: int, above: int, dilation: int) -> nn.Sequential:
    """No ReLU between its two convolutions."""
    return nn.Sequential(
        conv_norm_relu(below, below, dilation=dilation, groups=below, relu=False),
        conv_norm_relu(below, above, kernel=1),
    )


ARCHITECTURES: Final = (
    Architecture(
        name="fastfcn",
        title="FastFCN (JPU, ASPP)",
        build=FastFCN,
        source="Wu et al. 2019, arXiv:1903.11816",
        licence="Apache-2.0; trunk: BSD-3-Clause (torchvision)",
        divisor=_DIVISOR,
        min_size=_DIVISOR,
        margin=None,
        encoders=RESNETS,
        default_encoder="resnet50",
    ),
)
