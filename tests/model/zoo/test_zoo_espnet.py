"""ESPNet and ESPNetv2: the authors' counts, the pyramids' branches, fewer classes than branches."""

from typing import Any

import pytest
import torch
from torch import nn

from geoseg.model.registry import build_network
from tests.model.zoo.network_laws import on_meta, parameters


@pytest.mark.parametrize(
    ("name", "classes", "options", "count"),
    [
        ("espnet", 20, {}, 364_569),
        ("espnet", 20, {"p": 2, "q": 3}, 202_649),
        ("espnet_c", 20, {"p": 2, "q": 8}, 349_449),
        ("espnet_c", 20, {"p": 5, "q": 8}, 373_065),
        ("espnetv2", 20, {"s": 0.5}, 99_418),
        ("espnetv2", 20, {"s": 1}, 340_782),
        ("espnetv2", 20, {"s": 1.5}, 725_166),
        ("espnetv2", 20, {"s": 2}, 1_253_038),
        ("espnetv2", 21, {}, 1_253_542),
    ],
)
def test_parameters_are_the_authors(name: str, classes: int, options: dict[str, Any], count: int) -> None:
    assert parameters(on_meta(name, classes=classes, **options)) == count


@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5, 6, 9])
def test_fewer_classes_than_branches_are_taken(classes: int) -> None:
    """A fifth of four channels is no channel: the pyramid of the decoder is at least five wide."""
    network = build_network("espnet", in_channels=4, classes=classes, options={"q": 1}).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 4, 32, 48)).shape == (1, classes, 32, 48)
    assert all(min(one.weight.shape) > 0 for one in network.modules() if isinstance(one, nn.Conv2d))


def test_a_network_still_lists_its_modules() -> None:
    """The authors' code keeps a list under the name of nn.Module.modules."""
    network = build_network("espnet", in_channels=3, classes=2)
    assert sum(1 for _ in network.modules()) > 50


@pytest.mark.parametrize("name", ["espnet", "espnet_c"])
def test_every_pyramid_dilates_by_1_2_4_8_16(name: str) -> None:
    network = on_meta(name, classes=20)
    dilations = [
        one.dilation[0]
        for one in network.modules()
        if isinstance(one, nn.Conv2d) and one.kernel_size == (3, 3) and one.stride == (1, 1)
    ]
    pyramids = 2 + 2 + 8 + (name == "espnet")
    assert sorted(dilations) == sorted([1, 2, 4, 8, 16] * pyramids + [1] * (name == "espnet"))


def test_dilations_of_version_2_shrink_with_the_level() -> None:
    """Receptive fields of 13, 11, 9 and 7 pixels bound the kernels of 3, 5, 7, 9, the rest being 3."""
    network = on_meta("espnetv2", classes=20)
    found = []
    for name, module in network.named_modules():
        if name.endswith("branches"):
            found.append([one.dilation[0] for one in module.children() if isinstance(one, nn.Conv2d)])
    wide, narrow = [1, 2, 3, 4], [1, 1, 2, 3]
    assert found == [wide] * (1 + 1 + 3 + 1) + [narrow] * (7 + 1)


def test_version_2_takes_sizes_of_16() -> None:
    """Its divisor of 128 is for tiles that agree; it computes at multiples of 16."""
    network = build_network("espnetv2", in_channels=3, classes=2, options={"s": 0.5}).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 80, 112)).shape == (1, 2, 80, 112)
