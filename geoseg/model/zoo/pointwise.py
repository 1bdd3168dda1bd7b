"""One 1 x 1 convolution: each pixel by itself; it cannot see tiles."""

from typing import Final

from torch import nn

from geoseg.model.architecture import Architecture


class Pointwise(nn.Conv2d):
    """Logits (n, classes, h, w) of pixels (n, in_channels, h, w)."""

    def __init__(self, *, in_channels: int, classes: int) -> None:
        super().__init__(in_channels, classes, kernel_size=1)


ARCHITECTURES: Final = (
    Architecture(
        name="pointwise",
        title="One 1 x 1 convolution",
        build=Pointwise,
        source="multinomial logistic regression",
        licence="Apache-2.0",
        divisor=1,
        min_size=1,
        margin=0,
    ),
)
