"""DeepLab v3+ with dense convolutions in its pyramid and decoder; the one with separable ones is smp's.

Chen et al. (2018), "Encoder-Decoder with Atrous Separable Convolution", arXiv:1802.02611.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import torch
from torch import Tensor, nn

from geoseg.model.architecture import Architecture
from geoseg.model.inflate import Bands
from geoseg.model.zoo.aspp import ASPP, RATES
from geoseg.model.zoo.blocks import check_channels, conv_norm_relu, initialise, resize
from geoseg.model.zoo.resnet import RESNETS, ResNetTrunk
from geoseg.model.zoo.xception import AlignedXception

_DIVISOR: Final = 16
_XCEPTION: Final = "xception"


class DeepLabV3PlusConv(nn.Module):
    """Logits (n, classes, h, w); h and w are multiples of 16."""

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        encoder: str = "resnet101",
        output_stride: int = 16,
        image_pooling: bool = True,
        channels: int = 256,
    ) -> None:
        """Builds the network.

        Args:
            in_channels: bands.
            classes: channels of the logits.
            encoder: xception or one of `RESNETS`.
            output_stride: 16, or 8 with twice the dilations.
            image_pooling: False leaves out the mean of the tile, so that tiles can equal the whole image.
            channels: of the pyramid and the decoder.

        Raises:
            ValueError: an unknown encoder or stride, or a count below 1.
        """
        super().__init__()
        check_channels(classes=classes, channels=channels)
        if output_stride not in RATES:
            raise ValueError(f"output_stride is {output_stride}; it must be 8 or 16")
        low, deep = _channels(encoder)
        self.aspp = ASPP(deep, RATES[output_stride], channels=channels, image_pooling=image_pooling)
        self.reduce = conv_norm_relu(low, 48, kernel=1)
        self.decoder = nn.Sequential(
            conv_norm_relu(48 + channels, channels),
            nn.Dropout(0.5),
            conv_norm_relu(channels, channels),
            nn.Dropout(0.1),
        )
        self.score = nn.Conv2d(channels, classes, kernel_size=1)
        initialise(self)
        self.trunk: ResNetTrunk | AlignedXception
        if encoder == _XCEPTION:
            self.trunk = AlignedXception(in_channels=in_channels, output_stride=output_stride)
        else:
            self.trunk = ResNetTrunk(encoder, in_channels=in_channels, output_stride=output_stride)

    def coarse(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h / 4, w / 4)."""
        levels = self.trunk(pixels)
        low, deep = levels if len(levels) == 2 else (levels[1], levels[-1])
        deep = resize(self.aspp(deep), low)
        return cast(Tensor, self.score(self.decoder(torch.cat([deep, self.reduce(low)], dim=1))))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits at the input's size, bilinear."""
        return resize(self.coarse(pixels), pixels)

    def load_encoder(self, state: Mapping[str, Tensor], *, rgb: Bands | None = None) -> None:
        """Loads the state dict of a torchvision ResNet, or of the trunk itself where that is an Xception.

        `rgb`: positions of red, green and blue among the bands; None: unknown.

        Raises:
            RuntimeError: shapes or names differ (of torch).
            ValueError: `rgb` does not fit.
        """
        if isinstance(self.trunk, ResNetTrunk):
            self.trunk.load_encoder(state, rgb=rgb)
        else:
            self.trunk.load_state_dict(dict(state))


def _channels(encoder: str) -> tuple[int, int]:
    if encoder == _XCEPTION:
        return AlignedXception.channels
    return ResNetTrunk.channels[1], ResNetTrunk.channels[-1]


ARCHITECTURES: Final = (
    Architecture(
        name="deeplabv3plus_conv",
        title="DeepLab v3+ with dense convolutions",
        build=DeepLabV3PlusConv,
        source="Chen et al. 2018, arXiv:1802.02611",
        licence="Apache-2.0; ResNet: BSD-3-Clause (torchvision)",
        divisor=_DIVISOR,
        min_size=_DIVISOR,
        margin=None,
        encoders=(*RESNETS, _XCEPTION),
        default_encoder="resnet101",
    ),
)
