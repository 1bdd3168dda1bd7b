"""FCN over ResNets and FastFCN: torchvision as the oracle, the joint pyramid's shapes, auxiliary heads."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.segmentation import fcn_resnet50

from geoseg.errors import SettingsError
from geoseg.model.margin import probe_margin
from geoseg.model.registry import build_network, create_model, find_architecture
from geoseg.model.zoo.fastfcn import JointPyramidUpsampling
from geoseg.model.zoo.fcn_resnet import FCNResNet
from tests.model.zoo.network_laws import on_meta, overfitted, parameters, tiling_difference, trained_briefly


def small(family: str, *, in_channels: int = 3, classes: int = 3, **more: Any) -> Any:
    torch.manual_seed(0)
    if family == "fcn_resnet":
        return FCNResNet(in_channels=in_channels, classes=classes, encoder="resnet14", **more)
    options = {"width": 32, **more}
    return build_network("fastfcn:resnet14", in_channels=in_channels, classes=classes, options=options)


FAMILIES = {"fcn_resnet": "fcn_resnet50", "fastfcn": "fastfcn"}


@pytest.mark.parametrize(
    ("name", "aux", "count"),
    [
        ("fcn_resnet50", False, 32_957_013),
        ("fcn_resnet50", True, 35_322_218),
        ("fcn_resnet101", False, 51_949_141),
        ("fcn_resnet101", True, 54_314_346),
        ("fastfcn", False, 59_374_421),
    ],
)
def test_counts_are_the_published_ones(name: str, aux: bool, count: int) -> None:
    assert parameters(on_meta(name, classes=21, aux=aux)) == count


@pytest.mark.parametrize(("name", "gmacs"), [("fcn_resnet50", 152.717), ("fcn_resnet101", 232.738)])
def test_work_is_that_of_torchvision(name: str, gmacs: float) -> None:
    """With the auxiliary head."""
    network: Any = on_meta(name, classes=21, aux=True).eval()
    with FlopCounterMode(display=False) as counter:
        network.forward_train(torch.zeros(1, 3, 520, 520, device="meta"))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=0.001)


def test_weights_of_torchvision_give_its_logits() -> None:
    torch.manual_seed(0)
    theirs: Any = fcn_resnet50(weights=None, weights_backbone=None, num_classes=5, aux_loss=True).eval()
    mine: Any = build_network("fcn_resnet50", in_channels=3, classes=5, options={"aux": True}).eval()
    mine.load_state_dict(theirs.state_dict())
    pixels = torch.randn(2, 3, 64, 40)
    with torch.inference_mode():
        expected, found = theirs(pixels), mine.forward_train(pixels)
        assert list(found) == list(expected) == ["out", "aux"]
        for key in found:
            torch.testing.assert_close(found[key], expected[key])
        torch.testing.assert_close(mine(pixels), expected["out"])


def test_the_joint_pyramid_has_the_published_counts_and_stride() -> None:
    with torch.device("meta"):
        whole: Any = build_network("fastfcn", in_channels=3, classes=21)
    assert parameters(whole.jpu) == 19_735_552
    assert parameters(whole.head) == 16_130_837
    assert parameters(whole.trunk) == 23_508_032
    depthwise = [one for one in whole.jpu.modules() if isinstance(one, nn.Conv2d) and one.groups > 1]
    assert [one.dilation[0] for one in depthwise] == [1, 2, 4, 8]
    levels = [torch.zeros(1, channels, 64 // s, 96 // s) for channels, s in ((5, 8), (6, 16), (7, 32))]
    assert JointPyramidUpsampling((5, 6, 7), 4)(levels).shape == (1, 16, 8, 12)


def test_fastfcn_is_undilated() -> None:
    network = small("fastfcn")
    assert all(one.dilation == (1, 1) for one in network.trunk.modules() if isinstance(one, nn.Conv2d))
    shapes = [tuple(one.shape[-2:]) for one in network.trunk(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    assert network.coarse(torch.zeros(1, 3, 64, 96)).shape == (1, 3, 8, 12)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_one_trains_both_heads(family: str) -> None:
    network = small(family, in_channels=4, aux=True)
    assert list(network.forward_train(torch.zeros(2, 4, 32, 64))) == ["out", "aux"]
    losses = trained_briefly(network, torch.randn(1, 4, 32, 64), 3)
    assert all(torch.isfinite(torch.tensor(losses)))
    assert [name for name, one in network.named_parameters() if one.grad is None or not one.grad.any()] == []
    assert list(small(family).forward_train(torch.zeros(2, 3, 32, 64))) == ["out"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("classes", [1, 21])
def test_sizes_hold(family: str, classes: int) -> None:
    facts = find_architecture(FAMILIES[family])
    network = small(family, in_channels=13, classes=classes).eval()
    for height, width in ((0, 0), (1, 1), (0, 3)):
        shape = (facts.min_size + height * facts.divisor, facts.min_size + width * facts.divisor)
        with torch.inference_mode():
            assert network(torch.zeros(2, 13, *shape)).shape == (2, classes, *shape)


def test_any_size_by_the_frame() -> None:
    network = create_model("fastfcn:resnet14", in_channels=2, classes=3, options={"width": 16, "aux": True}).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 2, 97, 131)).shape == (1, 3, 97, 131)
        outputs = network.forward_train(torch.zeros(1, 2, 97, 131))
    assert [tuple(one.shape) for one in outputs.values()] == [(1, 3, 97, 131)] * 2


def test_tiles_equal_the_image_beyond_the_margin() -> None:
    network = small("fcn_resnet")
    assert probe_margin(network, 3, 8) == 56
    assert tiling_difference(network, 3, 8, 56) <= 1e-5
    assert tiling_difference(network, 3, 8, 24) > 1e-5


@pytest.mark.long
def test_the_margin_of_resnet_50_is_the_declared_one() -> None:
    network = build_network("fcn_resnet50", in_channels=1, classes=1)
    assert probe_margin(network, 1, 8) == find_architecture("fcn_resnet50").margin


@pytest.mark.long
def test_the_margin_of_resnet_101_is_the_declared_one() -> None:
    network = build_network("fcn_resnet101", in_channels=1, classes=1)
    assert probe_margin(network, 1, 8) == find_architecture("fcn_resnet101").margin


@pytest.mark.long
def test_without_image_pooling_fastfcn_has_a_margin() -> None:
    assert probe_margin(small("fastfcn"), 3, 32) is None
    network = small("fastfcn", image_pooling=False)
    assert probe_margin(network, 3, 32) == 480
    assert tiling_difference(network, 3, 32, 480) <= 1e-5


def test_one_image_is_learnt() -> None:
    """FCN has torchvision's logits, so FastFCN alone."""
    assert overfitted(small("fastfcn"), in_channels=3, classes=3, steps=30) > 0.99


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fastfcn:resnet50", {"width": 0}, "width is 0; it must be at least 1"),
        ("fastfcn:resnet18", {}, "encoder of fastfcn"),
        ("fcn_resnet50", {"encoder": "resnet18"}, "encoder is 'resnet18'; it must be one of resnet14"),
    ],
)
def test_unfit_options_are_one_line(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build_network(name, in_channels=3, classes=2, options=options)
