"""Fully convolutional networks over VGG with skips: FCN-32s, 16s, 8s, and 4s, 2s in the same manner.

Long, Shelhamer, Darrell (2015), arXiv:1411.4038; Shelhamer, Long, Darrell (2017), arXiv:1605.06211. Padded, so that
scores stay aligned without cropping; the released networks with their 100 pixels of padding are in `fcn_original`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, Literal, cast

import torch
from torch import Tensor, nn

from geoseg.model.architecture import Architecture
from geoseg.model.inflate import Bands
from geoseg.model.zoo.blocks import check_channels, initialise
from geoseg.model.zoo.vgg import VGGS, load_features, load_hidden, pooled, vgg_features

_DEEPEST: Final = 32
_FC_CHANNELS: Final = 4096


class FCN(nn.Module):
    """Logits (n, classes, h, w); h and w are multiples of 32.

    Scores of the deepest level are upsampled by two and added to those of the next pooling, down to `stride`; the
    last upsampling reaches the input's size. No ReLU after scores: evidence against a class is negative.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        stride: int,
        encoder: str = "vgg16",
        variant: Literal["paper", "tutorial"] = "paper",
        width: float = 1.0,
    ) -> None:
        """Builds the network; scores of the skips start at zero and upsampling starts as bilinear.

        Args:
            in_channels: bands.
            classes: channels of the logits.
            stride: of the finest scores: 32, 16, 8, 4 or 2.
            encoder: vgg11, vgg13, vgg16 or vgg19.
            variant: `tutorial` has fc6 of 1 x 1 and transposed convolutions whose kernel is their stride, as many
                re-implementations have; `paper` has 7 x 7 and twice the stride.
            width: channels of every layer relative to the paper's.

        Raises:
            ValueError: an unknown variant, or a count below 1.
        """
        super().__init__()
        if variant not in ("paper", "tutorial"):
            raise ValueError(f"variant is {variant!r}; it must be paper or tutorial")
        check_channels(classes=classes)
        self.features = vgg_features(encoder, in_channels=in_channels, width=width)
        levels = [one.out_channels for one in self.features if isinstance(one, nn.Conv2d)]
        kernel = 7 if variant == "paper" else 1
        hidden = round(_FC_CHANNELS * width)
        self.fc6 = nn.Conv2d(levels[-1], hidden, kernel_size=kernel, padding=kernel // 2)
        self.fc7 = nn.Conv2d(hidden, hidden, kernel_size=1)
        self.drop = nn.Dropout(0.5)
        self.score = nn.Conv2d(hidden, classes, kernel_size=1)
        initialise(self)
        skips = (_DEEPEST // stride).bit_length() - 1
        widths = [levels[index] for index in _last_of_levels(self.features)]
        self.skips = nn.ModuleList(nn.Conv2d(one, classes, kernel_size=1) for one in widths[-2 : -2 - skips : -1])
        steps = [2] * skips + [stride]
        self.upsamplers = nn.ModuleList(_upsampler(classes, step, variant) for step in steps)
        for parameter in self.skips.parameters():
            nn.init.zeros_(parameter)

    def coarse(self, pixels: Tensor) -> Tensor:
        """Scores (n, classes, h / stride, w / stride)."""
        levels = pooled(self.features, pixels)
        deep = self.drop(torch.relu(self.fc6(levels[-1])))
        scores: Tensor = self.score(self.drop(torch.relu(self.fc7(deep))))
        for skip, upsampler, level in zip(self.skips, self.upsamplers, levels[-2::-1], strict=False):
            scores = upsampler(scores) + skip(level)
        return scores

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits at the input's size."""
        return cast(Tensor, self.upsamplers[-1](self.coarse(pixels)))

    def load_encoder(self, state: Mapping[str, Tensor], *, rgb: Bands | None = None) -> None:
        """Loads a torchvision VGG: its features, and its two hidden layers as fc6 and fc7 where fc6 is 7 x 7.

        `rgb`: positions of red, green and blue among the bands; None: unknown.

        Raises:
            RuntimeError: shapes or names differ (of torch).
            ValueError: `rgb` does not fit.
        """
        load_features(self.features, state, rgb=rgb)
        if self.fc6.kernel_size == (7, 7):
            load_hidden((self.fc6, self.fc7), state)


def bilinear_kernel(channels: int, stride: int) -> Tensor:
    """Weights (channels, channels, 2 stride, 2 stride) of a transposed convolution that upsamples bilinearly, each
    channel by itself.
    """
    along = 1 - (torch.arange(2 * stride) + 0.5 - stride).abs() / stride
    return torch.eye(channels)[:, :, None, None] * (along[:, None] * along)


def _upsampler(channels: int, stride: int, variant: str) -> nn.ConvTranspose2d:
    if variant == "tutorial":
        return nn.ConvTranspose2d(channels, channels, kernel_size=stride, stride=stride, bias=False)
    layer = nn.ConvTranspose2d(
        channels, channels, kernel_size=2 * stride, stride=stride, padding=stride // 2, bias=False
    )
    with torch.no_grad():
        layer.weight.copy_(bilinear_kernel(channels, stride))
    return layer


def _last_of_levels(features: nn.Sequential) -> list[int]:
    """Of each level, the number of its last convolution among all convolutions."""
    numbers: list[int] = []
    seen = 0
    for layer in features:
        seen += isinstance(layer, nn.Conv2d)
        if isinstance(layer, nn.MaxPool2d):
            numbers.append(seen - 1)
    return numbers


def _entry(stride: int, margin: int) -> Architecture:
    return Architecture(
        name=f"fcn{stride}s",
        title=f"FCN-{stride}s",
        build=partial(FCN, stride=stride),
        source="Long et al. 2015, arXiv:1411.4038",
        licence="Apache-2.0; features: BSD-3-Clause (torchvision)",
        divisor=_DEEPEST,
        min_size=_DEEPEST,
        margin=margin,
        encoders=VGGS,
        default_encoder="vgg16",
    )


ARCHITECTURES: Final = (_entry(32, 224), _entry(16, 224), _entry(8, 224), _entry(4, 224), _entry(2, 224))
