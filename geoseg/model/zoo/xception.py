"""The Aligned Xception trunk of DeepLab v3+ alone.

Chollet (2017), arXiv:1610.02357; as changed by Chen et al. (2018), arXiv:1802.02611: sixteen middle blocks, strided
separable convolutions in place of pooling, BatchNorm and ReLU after each depthwise convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torch import Tensor, nn

from geoseg.model.zoo.blocks import check_channels, conv_norm_relu, initialise

_MIDDLE_BLOCKS: Final = 16
_STRIDES: Final = {16: (2, 1, 1, 2), 8: (1, 2, 2, 4)}
"""By output stride: stride of the third block, dilation of the middle blocks, of the exit block, of what follows."""


class AlignedXception(nn.Module):
    """Features at stride 4 and at the output stride."""

    channels: Final = (128, 2048)
    """Of the two levels."""

    def __init__(self, *, in_channels: int, output_stride: int = 16, middle_blocks: int = _MIDDLE_BLOCKS) -> None:
        """Builds the trunk; sides of the input are multiples of the output stride.

        Raises:
            ValueError: an output stride that is not 8 or 16, or a count below 1.
        """
        super().__init__()
        check_channels(in_channels=in_channels, middle_blocks=middle_blocks)
        if output_stride not in _STRIDES:
            raise ValueError(f"output_stride is {output_stride}; it must be 8 or 16")
        third, middle, leave, last = _STRIDES[output_stride]
        self.stem = nn.Sequential(conv_norm_relu(in_channels, 32, stride=2), conv_norm_relu(32, 64))
        self.first = _Block(64, (128, 128, 128), stride=2)
        self.entry = nn.Sequential(_Block(128, (256, 256, 256), stride=2), _Block(256, (728, 728, 728), stride=third))
        self.middle = nn.Sequential(*(_Block(728, (728, 728, 728), dilation=middle) for _ in range(middle_blocks)))
        self.leave = _Block(728, (728, 1024, 1024), dilation=leave)
        self.last = nn.Sequential(
            *(
                layer
                for below, above in ((1024, 1536), (1536, 1536), (1536, 2048))
                for layer in (nn.ReLU(), _separable(below, above, dilation=last))
            ),
            nn.ReLU(),
        )
        initialise(self)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 128, h / 4, w / 4) and (n, 2048, h / output_stride, w / output_stride)."""
        low = self.first(self.stem(pixels))
        return low.relu(), self.last(self.leave(self.middle(self.entry(low))))


class _Block(nn.Module):
    """Three separable convolutions, each after a ReLU, beside a projection where the shape changes; the sum is not
    rectified. The third has the stride.
    """

    def __init__(self, below: int, channels: Sequence[int], *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        widths = [below, *channels]
        layers: list[nn.Module] = []
        for number, (one, two) in enumerate(zip(widths, channels, strict=False)):
            last = number == len(channels) - 1
            layers += [nn.ReLU(), _separable(one, two, stride=stride if last else 1, dilation=dilation)]
        self.main = nn.Sequential(*layers)
        same = stride == 1 and below == channels[-1]
        self.beside = (
            nn.Identity() if same else conv_norm_relu(below, channels[-1], kernel=1, stride=stride, relu=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        total: Tensor = self.main(features) + self.beside(features)
        return total


def _separable(below: int, above: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        conv_norm_relu(below, below, stride=stride, dilation=dilation, groups=below),
        conv_norm_relu(below, above, kernel=1, relu=False),
    )
