"""What several families of networks are built of; a layer of one family stays with it."""

from torch import Tensor, nn
from torch.nn import functional as F


def conv_norm_relu(
    below: int,
    above: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    relu: bool = True,
) -> nn.Sequential:
    """Convolution without bias that keeps the size (divided by the stride), BatchNorm, ReLU."""
    convolution = nn.Conv2d(
        below,
        above,
        kernel,
        stride=stride,
        padding=kernel // 2 * dilation,
        dilation=dilation,
        groups=groups,
        bias=False,
    )
    layers = [convolution, nn.BatchNorm2d(above)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


def separable(below: int, above: int, *, stride: int = 1) -> nn.Sequential:
    """Depthwise 3 x 3 and pointwise convolution, each with BatchNorm and ReLU."""
    return nn.Sequential(
        conv_norm_relu(below, below, stride=stride, groups=below), conv_norm_relu(below, above, kernel=1)
    )


def pooled_norm(channels: int) -> nn.GroupNorm:
    """The normalisation of pooled features, where BatchNorm has one value per channel and sample, none to compare.

    Over the channels of each sample: as many parameters as BatchNorm, the same in training and evaluation, and for
    any batch size.
    """
    return nn.GroupNorm(1, channels)


def pool(features: Tensor) -> Tensor:
    """The mean over rows and columns: (n, channels, 1, 1)."""
    return features.mean(dim=(2, 3), keepdim=True)


def resize(features: Tensor, like: Tensor) -> Tensor:
    """Bilinear, to the height and width of `like`; at whole ratios the same for a tile as for the whole image."""
    return F.interpolate(features, size=like.shape[-2:], mode="bilinear", align_corners=False)


def check_channels(**counts: int) -> None:
    """Raises ValueError where one of them, by name, is below 1."""
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")


def initialise(network: nn.Module) -> None:
    """He initialisation of the convolutions, zeros for their biases."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
