"""The released FCN-32s, 16s and 8s: 100 pixels of zeros around the image, unpadded fc6, fixed bilinear upsampling.

Long, Shelhamer, Darrell (2015), arXiv:1411.4038; Shelhamer, Long, Darrell (2017), arXiv:1605.06211 (skips at once).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, cast

import torch
from torch import Tensor, nn

from geoseg.model.architecture import Architecture
from geoseg.model.inflate import Bands
from geoseg.model.zoo.blocks import check_channels, initialise
from geoseg.model.zoo.fcn import bilinear_kernel
from geoseg.model.zoo.vgg import VGGS, load_features, load_hidden, pooled, vgg_features

_DIVISOR: Final = 32
_PADDING: Final = 100
_FC_CHANNELS: Final = 4096
_SKIP_SCALES: Final = (1e-2, 1e-4)
"""Of the features of pooling 4 and 3, so that all skips can be trained at once (the paper of 2017)."""
_SKIP_OFFSETS: Final = (5, 9)
_FINAL_OFFSETS: Final = {32: 19, 16: 27, 8: 31}
"""Where finer scores, and the image, begin in upsampled coarser ones. Scores at j have their centre at 32 j + 12.5 of
the image (12.5 = 15.5 of the poolings + 3 x 32 of fc6 - 99 of the padding), and at 32 j + 31.5 of what is upsampled
from them: 19 more. The others follow alike."""


class OriginalFCN(nn.Module):
    """Logits (n, classes, h, w) for any h and w; tiles agree at multiples of 32.

    The bilinear upsampling is a parameter, as in the released networks, but is not trained.
    """

    def __init__(
        self, *, in_channels: int, classes: int, stride: int, encoder: str = "vgg16", width: float = 1.0
    ) -> None:
        """Builds the network; scores of the skips start at zero.

        Args:
            in_channels: bands.
            classes: channels of the logits.
            stride: of the finest scores: 32, 16 or 8.
            encoder: vgg11, vgg13, vgg16 or vgg19.
            width: channels of every layer relative to the paper's.

        Raises:
            ValueError: a count below 1.
        """
        super().__init__()
        check_channels(classes=classes)
        self.stride = stride
        self.features = vgg_features(encoder, in_channels=in_channels, width=width)
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                layer.ceil_mode = True
        cast(nn.Conv2d, self.features[0]).padding = (_PADDING, _PADDING)
        deep, hidden = round(512 * width), round(_FC_CHANNELS * width)
        self.fc6 = nn.Conv2d(deep, hidden, kernel_size=7)
        self.fc7 = nn.Conv2d(hidden, hidden, kernel_size=1)
        self.drop = nn.Dropout(0.5)
        self.score = nn.Conv2d(hidden, classes, kernel_size=1)
        initialise(self)
        skips = (32 // stride).bit_length() - 1
        widths = (deep, round(256 * width))[:skips]
        self.skips = nn.ModuleList(nn.Conv2d(one, classes, kernel_size=1) for one in widths)
        self.upsamplers = nn.ModuleList(_upsampler(classes, step) for step in [2] * skips + [stride])
        for parameter in self.skips.parameters():
            nn.init.zeros_(parameter)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits at the input's size."""
        levels = pooled(self.features, pixels)
        deep = self.drop(torch.relu(self.fc6(levels[-1])))
        scores: Tensor = self.score(self.drop(torch.relu(self.fc7(deep))))
        steps = zip(self.skips, self.upsamplers, levels[-2::-1], _SKIP_SCALES, _SKIP_OFFSETS, strict=False)
        for skip, upsampler, level, scale, offset in steps:
            scores = upsampler(scores)
            scores = scores + _crop(skip(level * scale), offset, scores.shape[-2:])
        return _crop(self.upsamplers[-1](scores), _FINAL_OFFSETS[self.stride], pixels.shape[-2:])

    def load_encoder(self, state: Mapping[str, Tensor], *, rgb: Bands | None = None) -> None:
        """Loads a torchvision VGG: its features, and its two hidden layers as fc6 and fc7 where it has them.

        `rgb`: positions of red, green and blue among the bands; None: unknown.

        Raises:
            RuntimeError: shapes or names differ (of torch).
            ValueError: `rgb` does not fit.
        """
        load_features(self.features, state, rgb=rgb)
        load_hidden((self.fc6, self.fc7), state)


def _crop(values: Tensor, offset: int, shape: tuple[int, ...]) -> Tensor:
    return values[..., offset : offset + shape[0], offset : offset + shape[1]]


def _upsampler(channels: int, stride: int) -> nn.ConvTranspose2d:
    layer = nn.ConvTranspose2d(channels, channels, kernel_size=2 * stride, stride=stride, bias=False)
    with torch.no_grad():
        layer.weight.copy_(bilinear_kernel(channels, stride))
    layer.requires_grad_(False)
    return layer


def _entry(stride: int, margin: int) -> Architecture:
    return Architecture(
        name=f"fcn{stride}s_orig",
        title=f"FCN-{stride}s as released",
        build=partial(OriginalFCN, stride=stride),
        source="Long et al. 2015, arXiv:1411.4038",
        licence="Apache-2.0; features: BSD-3-Clause (torchvision)",
        divisor=_DIVISOR,
        min_size=_DIVISOR,
        margin=margin,
        encoders=VGGS,
        default_encoder="vgg16",
    )


ARCHITECTURES: Final = (_entry(32, 224), _entry(16, 224), _entry(8, 224))
