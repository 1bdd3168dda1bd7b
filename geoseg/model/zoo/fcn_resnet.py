"""FCN over a dilated ResNet as torchvision has it, for any bands; the VGG ones are in `fcn`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, cast

from torch import Tensor, nn

from geoseg.model.architecture import Architecture
from geoseg.model.inflate import Bands
from geoseg.model.zoo.blocks import check_channels, conv_norm_relu, initialise, resize
from geoseg.model.zoo.resnet import ResNetTrunk

_DIVISOR: Final = 8


class FCNResNet(nn.Module):
    """Logits (n, classes, h, w); h and w are multiples of 8. Keys of its state dict are torchvision's."""

    def __init__(self, *, in_channels: int, classes: int, encoder: str, aux: bool = False) -> None:
        """Builds the network.

        Args:
            in_channels: bands.
            classes: channels of the logits.
            encoder: one of `resnet.RESNETS`, with output stride 8.
            aux: True = a second head, on the level before the last, for training.

        Raises:
            ValueError: an unknown encoder, or a count below 1.
        """
        super().__init__()
        check_channels(classes=classes)
        self.backbone = ResNetTrunk(encoder, in_channels=in_channels, output_stride=_DIVISOR)
        before, last = ResNetTrunk.channels[-2:]
        self.classifier = fcn_head(last, classes)
        self.aux_classifier = fcn_head(before, classes) if aux else None

    def coarse(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h / 8, w / 8), rounded up for sizes that are no multiples."""
        return cast(Tensor, self.classifier(self.backbone(pixels)[-1]))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits at the input's size, bilinear."""
        return resize(self.coarse(pixels), pixels)

    def forward_train(self, pixels: Tensor) -> dict[str, Tensor]:
        """`out`, and `aux` where there is that head, at the input's size."""
        levels = self.backbone(pixels)
        outputs = {"out": resize(self.classifier(levels[-1]), pixels)}
        if self.aux_classifier is not None:
            outputs["aux"] = resize(self.aux_classifier(levels[-2]), pixels)
        return outputs

    def load_encoder(self, state: Mapping[str, Tensor], *, rgb: Bands | None = None) -> None:
        """Loads the state dict of a torchvision ResNet.

        `rgb`: positions of red, green and blue among the bands; None: unknown.

        Raises:
            RuntimeError: shapes or names differ (of torch).
            ValueError: `rgb` does not fit.
        """
        self.backbone.load_encoder(state, rgb=rgb)


def fcn_head(in_channels: int, classes: int) -> nn.Sequential:
    """Logits from features at their size: a 3 x 3 convolution to a quarter of the channels, and the scores."""
    head = nn.Sequential(
        *conv_norm_relu(in_channels, in_channels // 4),
        nn.Dropout(0.1),
        nn.Conv2d(in_channels // 4, classes, kernel_size=1),
    )
    initialise(head)
    return head


def _entry(depth: int, margin: int) -> Architecture:
    return Architecture(
        name=f"fcn_resnet{depth}",
        title=f"FCN over ResNet-{depth}",
        build=partial(FCNResNet, encoder=f"resnet{depth}"),
        source="Long et al. 2015, arXiv:1411.4038",
        licence="Apache-2.0; trunk: BSD-3-Clause (torchvision)",
        divisor=_DIVISOR,
        min_size=_DIVISOR,
        margin=margin,
    )


ARCHITECTURES: Final = (_entry(50, 232), _entry(101, 504))
