"""ResNet trunks of torchvision for the families that start with them: any bands, dilated or not, five levels out.

He et al. (2016), arXiv:1512.03385; the stride of a block is in its 3 x 3 convolution, as in torchvision's weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from geoseg.model.inflate import Bands, inflate_conv
from geoseg.model.zoo.blocks import check_channels

_BLOCKS: Final[Mapping[str, list[int]]] = {
    "resnet14": [1, 1, 1, 1],
    "resnet26": [2, 2, 2, 2],
    "resnet50": [3, 4, 6, 3],
    "resnet101": [3, 4, 23, 3],
    "resnet152": [3, 8, 36, 3],
}
RESNETS: Final = tuple(_BLOCKS)
_DILATED: Final[Mapping[int, list[bool]]] = {
    32: [False, False, False],
    16: [False, False, True],
    8: [False, True, True],
}


class ResNetTrunk(nn.Module):
    """A ResNet of bottleneck blocks without its classifier; keys of its state dict are torchvision's."""

    channels: Final = (64, 256, 512, 1024, 2048)
    """Of the five levels."""

    def __init__(self, encoder: str, *, in_channels: int, output_stride: int) -> None:
        """Builds the trunk.

        Args:
            encoder: one of `RESNETS`.
            in_channels: bands.
            output_stride: 32; 16 or 8 by dilation in place of stride.

        Raises:
            ValueError: an unknown encoder or stride, or no bands.
        """
        super().__init__()
        check_channels(in_channels=in_channels)
        if encoder not in _BLOCKS:
            raise ValueError(f"encoder is {encoder!r}; it must be one of {', '.join(RESNETS)}")
        if output_stride not in _DILATED:
            raise ValueError(f"output_stride is {output_stride}; it must be 8, 16 or 32")
        from torchvision.models.resnet import Bottleneck, ResNet

        full: Any = ResNet(Bottleneck, _BLOCKS[encoder], replace_stride_with_dilation=_DILATED[output_stride])
        self.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1: nn.Module = full.bn1
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1: nn.Module = full.layer1
        self.layer2: nn.Module = full.layer2
        self.layer3: nn.Module = full.layer3
        self.layer4: nn.Module = full.layer4

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Features at strides 2, 4, 8, 16, 32; none above the output stride."""
        levels = [torch.relu(self.bn1(self.conv1(pixels)))]
        deep = self.maxpool(levels[0])
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            deep = layer(deep)
            levels.append(deep)
        return tuple(levels)

    def load_encoder(self, state: Mapping[str, Tensor], *, rgb: Bands | None = None) -> None:
        """Loads the state dict of a torchvision ResNet, with or without its classifier.

        The first convolution is inflated to the bands; `rgb`: positions of red, green and blue among them.

        Raises:
            RuntimeError: shapes or names differ (of torch).
            ValueError: `rgb` does not fit.
        """
        own = {key: one for key, one in state.items() if not key.startswith("fc.")}
        if "conv1.weight" in own:
            own["conv1.weight"] = inflate_conv(own["conv1.weight"], self.conv1.in_channels, rgb)
        self.load_state_dict(own)
