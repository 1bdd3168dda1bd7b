"""Gated-SCNN: a shape stream at full size, gated by the regular one, whose edges join the atrous pyramid.

Takikawa et al. (2019), "Gated-SCNN: Gated Shape CNNs for Semantic Segmentation", arXiv:1907.05740; written from the
paper. Its Canny edges of an 8-bit picture are replaced by the gradient over all bands.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoseg.model.architecture import Architecture
from geoseg.model.inflate import Bands
from geoseg.model.zoo.aspp import RATES, Pyramid
from geoseg.model.zoo.blocks import check_channels, conv_norm_relu, initialise, resize
from geoseg.model.zoo.resnet import RESNETS, ResNetTrunk
from geoseg.model.zoo.wide_resnet import WideResNet38

_DIVISOR: Final = 8
_WIDE: Final = "wide_resnet38"
_SHAPE_WIDTHS: Final = (64, 32, 16, 8)
_SIDES: Final[Mapping[str, tuple[int, int, int]]] = {_WIDE: (2, 3, 6)}
"""Levels of the trunk that gate the shape stream; of a ResNet its last three."""
_FLAT: Final = 1e-12
"""Keeps roots differentiable where the image is flat."""


class GSCNN(nn.Module):
    """Logits (n, classes, h, w); h and w are multiples of 8."""

    def __init__(self, *, in_channels: int, classes: int, encoder: str = _WIDE, channels: int = 256) -> None:
        """Builds the network.

        Args:
            in_channels: bands.
            classes: channels of the logits.
            encoder: wide_resnet38 or one of `RESNETS`, with output stride 8.
            channels: of the branches of the pyramid and of the decoder.

        Raises:
            ValueError: an unknown encoder, or a count below 1.
        """
        super().__init__()
        check_channels(classes=classes, channels=channels)
        self.sides = _SIDES.get(encoder, (2, 3, 4))
        widths: tuple[int, ...] = WideResNet38.channels if encoder == _WIDE else ResNetTrunk.channels
        self.shape = ShapeStream([widths[side] for side in self.sides])
        self.pyramid = Pyramid(widths[-1], channels, RATES[8])
        self.edge_branch = conv_norm_relu(1, channels, kernel=1)
        self.reduce_deep = nn.Conv2d(self.pyramid.out_channels + channels, channels, kernel_size=1, bias=False)
        self.reduce_low = nn.Conv2d(widths[1], 48, kernel_size=1, bias=False)
        self.decoder = nn.Sequential(
            conv_norm_relu(48 + channels, channels),
            conv_norm_relu(channels, channels),
            nn.Conv2d(channels, classes, kernel_size=1, bias=False),
        )
        initialise(self)
        self.trunk: nn.Module
        if encoder == _WIDE:
            self.trunk = WideResNet38(in_channels=in_channels)
        else:
            self.trunk = ResNetTrunk(encoder, in_channels=in_channels, output_stride=_DIVISOR)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits at the input's size, bilinear."""
        return self.forward_train(pixels)["out"]

    def forward_train(self, pixels: Tensor) -> dict[str, Tensor]:
        """`out`, and `edge`: logits (n, 1, h, w) of a pixel to lie on the border of two classes."""
        levels = self.trunk(pixels)
        edge = self.shape(levels[0], [levels[side] for side in self.sides], pixels)
        attention = self.shape.attention(edge, pixels)
        deep = self.pyramid(levels[-1])
        edges = self.edge_branch(resize(attention, deep))
        deep = self.reduce_deep(torch.cat([deep, edges], dim=1))
        low = self.reduce_low(levels[1])
        return {"out": resize(self.decoder(torch.cat([low, resize(deep, low)], dim=1)), pixels), "edge": edge}

    def load_encoder(self, state: Mapping[str, Tensor], *, rgb: Bands | None = None) -> None:
        """Loads the state dict of a torchvision ResNet, or of the trunk itself where that is the Wide ResNet-38.

        `rgb`: positions of red, green and blue among the bands; None: unknown.

        Raises:
            RuntimeError: shapes or names differ (of torch).
            ValueError: `rgb` does not fit.
        """
        if isinstance(self.trunk, ResNetTrunk):
            self.trunk.load_encoder(state, rgb=rgb)
        else:
            self.trunk.load_state_dict(dict(state))


class ShapeStream(nn.Module):
    """Residual blocks at full size, each followed by a gate that the regular stream opens where it sees an edge."""

    def __init__(self, side_channels: list[int]) -> None:
        super().__init__()
        pairs = list(pairwise(_SHAPE_WIDTHS))
        self.blocks = nn.ModuleList(_Residual(above) for above, _ in pairs)
        self.narrow = nn.ModuleList(nn.Conv2d(above, below, kernel_size=1) for above, below in pairs)
        self.sides = nn.ModuleList(nn.Conv2d(channels, 1, kernel_size=1) for channels in side_channels)
        self.gates = nn.ModuleList(_Gate(below) for _, below in pairs)
        self.fuse = nn.Conv2d(_SHAPE_WIDTHS[-1], 1, kernel_size=1, bias=False)
        self.weigh = nn.Conv2d(2, 1, kernel_size=1, bias=False)

    def forward(self, first: Tensor, sides: list[Tensor], pixels: Tensor) -> Tensor:
        """Edge logits (n, 1, h, w) from the trunk's first level and from those that gate."""
        shape = resize(first, pixels)
        steps = zip(self.blocks, self.narrow, self.sides, self.gates, sides, strict=True)
        for block, narrow, look, gate, side in steps:
            shape = gate(narrow(block(shape)), resize(look(side), pixels))
        return cast(Tensor, self.fuse(shape))

    def attention(self, edge: Tensor, pixels: Tensor) -> Tensor:
        """(n, 1, h, w) in 0 … 1: the edges found, weighed against the image's own gradient."""
        both = torch.cat([edge.sigmoid(), image_gradient(pixels).to(edge.dtype)], dim=1)
        return cast(Tensor, self.weigh(both)).sigmoid()


class _Residual(nn.Module):
    """Two 3 x 3 convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(conv_norm_relu(channels, channels), conv_norm_relu(channels, channels, relu=False))

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.main(features) + features)


class _Gate(nn.Module):
    """Gated convolution: the attention of shape and side features, times the shape features, residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attend = nn.Sequential(
            nn.BatchNorm2d(channels + 1),
            nn.Conv2d(channels + 1, channels + 1, kernel_size=1),
            nn.ReLU(),
            nn.Conv2d(channels + 1, 1, kernel_size=1),
            nn.BatchNorm2d(1),
            nn.Sigmoid(),
        )
        self.mix = nn.Conv2d(channels, channels, kernel_size=1, bias=False)

    def forward(self, shape: Tensor, side: Tensor) -> Tensor:
        gate = self.attend(torch.cat([shape, side], dim=1))
        return cast(Tensor, self.mix(shape * (gate + 1)))


def image_gradient(pixels: Tensor) -> Tensor:
    """The prior of edges: (n, 1, h, w) in 0 … 1 of normalised pixels (n, bands, h, w).

    The largest eigenvalue of the bands' mean structure tensor (Di Zenzo 1986, doi:10.1016/0734-189X(86)90223-9), by
    central differences: the same for any order or sign of the bands, and for one band given twice; a step of one
    standard deviation in every band gives 0.46.
    """
    padded = F.pad(pixels, (1, 1, 1, 1), mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    xx, yy, xy = (
        (one * two).mean(dim=1, keepdim=True) for one, two in ((across, across), (down, down), (across, down))
    )
    largest = (xx + yy + ((xx - yy).square() + 4 * xy.square() + _FLAT).sqrt()) / 2
    return (largest + _FLAT).sqrt().tanh()


ARCHITECTURES: Final = (
    Architecture(
        name="gscnn",
        title="Gated-SCNN",
        build=GSCNN,
        source="Takikawa et al. 2019, arXiv:1907.05740",
        licence="Apache-2.0; ResNet: BSD-3-Clause (torchvision)",
        divisor=_DIVISOR,
        min_size=_DIVISOR,
        margin=None,
        encoders=(_WIDE, *RESNETS),
        default_encoder=_WIDE,
    ),
)
