"""FC-DenseNet: the paper's layers and sizes, counted and listed; any size; exact tiles; it learns."""

import pytest
import torch
from torch import nn

from geoseg.model.margin import probe_margin
from geoseg.model.registry import build_network, find_architecture
from tests.model.zoo.network_laws import on_meta, overfitted, parameters, tiling_difference

LIGHT = {"growth_rate": 2, "init_features": 4}
LAYERS = {56: (4,) * 6, 67: (5,) * 6, 103: (4, 5, 7, 10, 12, 15)}


@pytest.mark.parametrize(
    ("name", "classes", "count"),
    [
        ("fc_densenet56", 12, 1_376_988),
        ("fc_densenet56", 4, 1_375_444),
        ("fc_densenet67", 11, 3_463_243),
        ("fc_densenet67", 4, 3_461_220),
        ("fc_densenet103", 12, 9_322_348),
        ("fc_densenet103", 11, 9_322_091),
        ("fc_densenet103", 4, 9_320_292),
    ],
)
def test_parameters_are_the_published_ones(name: str, classes: int, count: int) -> None:
    assert parameters(on_meta(name, classes=classes)) == count


@pytest.mark.parametrize(("depth", "published"), [(56, 1_397_963), (67, 3_502_923), (103, 9_425_163)])
def test_with_running_statistics_the_count_is_the_papers(depth: int, published: int) -> None:
    """Lasagne counts a mean and a variance per channel of BatchNorm as parameters."""
    network = on_meta(f"fc_densenet{depth}", classes=11)
    running = sum(2 * one.num_features for one in network.modules() if isinstance(one, nn.BatchNorm2d))
    assert parameters(network) + running == published


@pytest.mark.parametrize("depth", [56, 67, 103])
def test_the_name_is_the_number_of_convolutions(depth: int) -> None:
    network = on_meta(f"fc_densenet{depth}", classes=2)
    assert sum(isinstance(one, nn.Conv2d | nn.ConvTranspose2d) for one in network.modules()) == depth


@pytest.mark.parametrize(("depth", "growth"), [(56, 12), (67, 16), (103, 16)])
def test_widths_follow_the_paper(depth: int, growth: int) -> None:
    """A layer sees all that was made before it; only what a block made goes up; nothing is compressed."""
    network = on_meta(f"fc_densenet{depth}", classes=2)
    seen = [one.in_channels for one in network.modules() if isinstance(one, nn.Conv2d) and one.out_channels == growth]
    layers = LAYERS[depth]
    expected, width, skips = [], 48, []
    for count in layers[:-1]:
        expected += [width + k * growth for k in range(count)]
        width += count * growth
        skips.append(width)
    expected += [width + k * growth for k in range(layers[-1])]
    for below, count, skip in zip(layers[:0:-1], layers[-2::-1], skips[::-1], strict=True):
        expected += [below * growth + skip + k * growth for k in range(count)]
    assert sorted(seen) == sorted(expected)
    transposed = [one for one in network.modules() if isinstance(one, nn.ConvTranspose2d)]
    assert [one.in_channels for one in transposed] == [growth * count for count in layers[:0:-1]]
    assert all(one.kernel_size == (3, 3) and one.stride == (2, 2) for one in transposed)


@pytest.mark.parametrize(("height", "width"), [(250, 32), (97, 131), (33, 64)])
def test_any_size_is_given_back(height: int, width: int) -> None:
    network = build_network("fc_densenet56", in_channels=2, classes=3, options=LIGHT).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 2, height, width)).shape == (1, 3, height, width)


@pytest.mark.parametrize(
    "name", ["fc_densenet56", *(pytest.param(f"fc_densenet{n}", marks=pytest.mark.long) for n in (67, 103))]
)
def test_the_margin_is_the_receptive_field(name: str) -> None:
    network = build_network(name, in_channels=1, classes=2, options={"growth_rate": 1, "init_features": 1})
    facts = find_architecture(name)
    assert probe_margin(network, 1, facts.divisor) == facts.margin


def test_tiles_equal_the_whole_image_beyond_the_margin() -> None:
    facts = find_architecture("fc_densenet56")
    torch.manual_seed(0)
    network = build_network("fc_densenet56", in_channels=2, classes=3, options=LIGHT)
    assert facts.margin is not None
    assert tiling_difference(network, 2, facts.divisor, facts.margin) < 1e-5
    assert tiling_difference(network, 2, facts.divisor, 32) > 1e-5


def test_it_learns_an_image() -> None:
    torch.manual_seed(0)
    network = build_network("fc_densenet56", in_channels=3, classes=2, options={"growth_rate": 4, "init_features": 8})
    assert overfitted(network, in_channels=3, classes=2, side=32, steps=30) > 0.99


def test_impossible_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="classes is 0; it must be at least 1"):
        find_architecture("fc_densenet56").build(in_channels=1, classes=0)
