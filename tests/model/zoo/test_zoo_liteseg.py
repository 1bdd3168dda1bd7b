"""LiteSeg: the pyramid of the paper over torchvision's trunks; counts by algebra."""

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2, shufflenet_v2_x1_0

from geoseg.model.registry import build_network
from geoseg.model.zoo.liteseg import LiteSeg
from tests.model.zoo.network_laws import on_meta, parameters


def head(deep: int, fine: int, classes: int) -> int:
    """What comes after the trunk: a convolution has its weights and 2 for BatchNorm a channel."""

    def conv(below: int, above: int, area: int) -> int:
        return area * below * above + 2 * above

    pyramid = 2 * conv(deep, 96, 1) + 3 * (conv(deep, 96, 9) + conv(96, 96, 9)) + conv(deep + 5 * 96, 96, 1)
    separable = 11 * 144 + conv(144, 96, 1) + 11 * 96 + conv(96, 96, 1)
    return pyramid + conv(fine, 48, 1) + separable + 97 * classes


def test_counts_are_trunk_and_layers() -> None:
    """The trunks are torchvision's without their last convolution and classifier."""
    with torch.device("meta"):
        mobile, shuffle = mobilenet_v2(weights=None), shufflenet_v2_x1_0(weights=None)
    trunk = parameters(mobile) - parameters(mobile.features[-1]) - parameters(mobile.classifier)
    assert parameters(on_meta("liteseg", classes=19)) == trunk + head(320, 24, 19)
    trunk = parameters(shuffle) - parameters(shuffle.conv5) - parameters(shuffle.fc)
    assert parameters(on_meta("liteseg:shufflenet_v2", classes=19)) == trunk + head(464, 24, 19)


@pytest.mark.parametrize("name", ["liteseg:mobilenet_v2", "liteseg:shufflenet_v2"])
def test_strides_and_rates_are_the_papers(name: str) -> None:
    network = build_network(name, in_channels=4, classes=2).eval()
    assert isinstance(network, LiteSeg)
    with torch.inference_mode():
        detail = network.detail(torch.zeros(1, 4, 128, 192))
        assert detail.shape == (1, 24, 32, 48)
        assert network.meaning(detail).shape[-2:] == (4, 6)
        assert network.coarse(torch.zeros(1, 4, 128, 192)).shape == (1, 2, 32, 48)
    convolutions = [one for one in network.pyramid.modules() if isinstance(one, nn.Conv2d)]
    assert [one.dilation[0] for one in convolutions if one.kernel_size == (3, 3)] == [3, 1, 6, 1, 9, 1]


@pytest.mark.parametrize("side", [97, 100])
def test_any_size_is_given_back(side: int) -> None:
    network = build_network("liteseg", in_channels=3, classes=2).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, side, side + 3)).shape == (1, 2, side, side + 3)


def test_another_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match="'resnet18'; it must be mobilenet_v2 or shufflenet_v2"):
        LiteSeg(in_channels=3, classes=2, encoder="resnet18")
