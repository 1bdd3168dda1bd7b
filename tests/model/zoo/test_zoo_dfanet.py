"""DFANet: the paper's layers, counts by algebra, sizes of four that another code gets wrong."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from geoseg.model.registry import build_network
from geoseg.model.zoo.dfanet import DFANet
from tests.model.zoo.network_laws import on_meta, parameters

WIDTHS, REPEATS = (48, 96, 192), (4, 6, 4)
FIRST, LATER = (8, 48, 96), (192 + 48, 48 + 96, 96 + 192)


def encoders(block: Callable[[int, int, bool], int]) -> int:
    """Parameters of the three backbones: the second and third take two stages joined."""
    total = 0
    for below in (FIRST, LATER, LATER):
        for narrow, width, repeats in zip(below, WIDTHS, REPEATS, strict=True):
            total += block(narrow, width, True) + (repeats - 1) * block(width, width, False)
    return total


def separable(below: int, above: int, *, bias: int = 0) -> int:
    return 9 * below + 2 * below + below * above + bias * above + 2 * above


def test_the_count_is_that_of_the_layers() -> None:
    """A depthwise weight has 9, a BatchNorm 2 a channel; 1 x 1 past a halving; attention 192 -> 1000 -> 192."""

    def block(below: int, above: int, halves: bool) -> int:
        quarter = above // 4
        residual = separable(below, quarter) + separable(quarter, quarter) + separable(quarter, above)
        return residual + halves * (below * above + 2 * above)

    attention = 192 * 1000 + 1000 + 1000 * 192 + 2 * 192
    decoder = 3 * (48 * 32 + 64) + 3 * (192 * 32 + 64) + 32 * 19 + 19
    expected = 27 * 8 + 16 + encoders(block) + 3 * attention + decoder
    assert parameters(on_meta("dfanet_a", classes=19)) == expected


def test_a_known_count_of_another_wiring_is_explained() -> None:
    """3,046,952: wide depthwise and plain 1 x 1 at the end of a block, biases, and 3 x 3 heads of 48 and 128."""

    def block(below: int, above: int, halves: bool) -> int:
        quarter = above // 4
        last = 9 * above + 2 * above + above * above
        return separable(below, quarter, bias=1) + separable(quarter, quarter, bias=1) + last + halves * below * above

    attention = 192 * 1000 + 1000 + 1000 * 192 + 2 * 192
    decoder = 3 * (9 * 48 * 48 + 96) + 48 * 19 + 3 * (9 * 192 * 128 + 256 + 128 * 19)
    assert 27 * 8 + 16 + encoders(block) + 3 * attention + decoder == 3_046_952


def test_stages_have_the_papers_widths_and_strides() -> None:
    network = build_network("dfanet_a", in_channels=3, classes=2).eval()
    assert isinstance(network, DFANet)
    shapes = []
    for backbone in network.backbones:
        for stage in backbone.stages:  # type: ignore[union-attr]
            stage.register_forward_hook(lambda _m, _i, out: shapes.append((out.shape[1], 256 // out.shape[2])))
    with torch.inference_mode():
        assert network.coarse(torch.zeros(1, 3, 256, 256)).shape == (1, 2, 64, 64)
    assert shapes == [
        *((48, 4), (96, 8), (192, 16)),
        *((48, 8), (96, 16), (192, 32)),
        *((48, 16), (96, 32), (192, 64)),
    ]


def test_backbones_have_4_6_and_4_blocks_of_three_convolutions() -> None:
    network = on_meta("dfanet_a", classes=2)
    assert isinstance(network, DFANet)
    for backbone in network.backbones:
        assert [len(list(stage.children())) for stage in backbone.stages] == [4, 6, 4]  # type: ignore[union-attr]
    depthwise = [one for one in network.modules() if isinstance(one, nn.Conv2d) and one.groups > 1]
    assert len(depthwise) == 3 * 14 * 3
    assert sum(one.stride == (2, 2) for one in depthwise) == 9


def test_the_attention_is_a_thousand_wide() -> None:
    network = on_meta("dfanet_a", classes=2)
    wide = [one for one in network.modules() if isinstance(one, nn.Conv2d) and 1000 in one.weight.shape]
    assert [(one.in_channels, one.out_channels) for one in wide] == [(192, 1000), (1000, 192)] * 3


@pytest.mark.parametrize(("height", "width"), [(100, 132), (97, 131), (128, 192)])
def test_sizes_are_given_back_whatever_they_are(height: int, width: int) -> None:
    """Upsampling by four gives 100 rows for 97, and fails where a stage is rounded up."""
    network = build_network("dfanet_a", in_channels=2, classes=3).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 2, height, width)).shape == (1, 3, height, width)
