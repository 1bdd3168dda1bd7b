"""DeepLab v1, v2 and dense v3+: published counts, dilations, and what tutorials get wrong about atrous pooling."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.segmentation import deeplabv3

from geoseg.errors import SettingsError
from geoseg.model.margin import probe_margin
from geoseg.model.registry import build_network, create_model, find_architecture
from geoseg.model.zoo.aspp import ASPP
from geoseg.model.zoo.deeplab_plus import DeepLabV3PlusConv
from tests.model.zoo.network_laws import on_meta, overfitted, parameters, tiling_difference, trained_briefly

SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "deeplabv1": ("deeplabv1:vgg11", {"width": 1 / 4, "fov_channels": 128}),
    "deeplabv2": ("deeplabv2:resnet14", {}),
    "deeplabv3plus_conv": ("deeplabv3plus_conv:resnet14", {"channels": 32}),
}


def small(family: str, *, in_channels: int = 3, classes: int = 3, **more: Any) -> Any:
    torch.manual_seed(0)
    name, options = SMALL[family]
    return build_network(name, in_channels=in_channels, classes=classes, options={**options, **more})


def kernels(network: nn.Module, side: int) -> list[tuple[int, int]]:
    """(kernel, dilation) of the convolutions with a kernel above 1, in the order of their making."""
    found = [one for one in network.modules() if isinstance(one, nn.Conv2d) and one.kernel_size[0] > 1]
    return [(one.kernel_size[0], one.dilation[0]) for one in found][:side]


@pytest.mark.parametrize(
    ("name", "classes", "options", "count"),
    [
        ("deeplabv1", 21, {}, 20_505_429),
        ("deeplabv1", 4, {}, 20_488_004),
        ("deeplabv1", 21, {"fov_kernel": 4, "fov_dilation": 4, "fov_channels": 4096}, 65_140_565),
        ("deeplabv1", 21, {"fov_kernel": 7, "fov_dilation": 4, "fov_channels": 4096}, 134_346_581),
        ("deeplabv2", 21, {}, 44_048_532),
        ("deeplabv3plus_conv", 21, {}, 59_344_309),
        ("deeplabv3plus_conv:xception", 21, {}, 54_705_317),
    ],
)
def test_counts_are_the_published_ones(name: str, classes: int, options: dict[str, int], count: int) -> None:
    assert parameters(on_meta(name, classes=classes, **options)) == count


def test_the_count_of_a_tutorial_made_right() -> None:
    """It has one 3 x 3 convolution of 256 channels less in its decoder than the paper."""
    assert parameters(on_meta("deeplabv3plus_conv:resnet50", classes=21)) - (256 * 256 * 9 + 2 * 256) == 39_761_845


@pytest.mark.parametrize(
    ("name", "side", "gmacs", "stride"),
    [("deeplabv1", 321, 50.9, 8), ("deeplabv2", 321, 75.3, 8), ("deeplabv3plus_conv", 513, 92.8, 4)],
)
def test_work_and_coarse_size(name: str, side: int, gmacs: float, stride: int) -> None:
    """With v2, 75.1 were published for strides in the 1 x 1 convolutions; torchvision has them in the 3 x 3."""
    network: Any = on_meta(name, classes=21).eval()
    with FlopCounterMode(display=False) as counter:
        coarse = network.coarse(torch.zeros(1, 3, side, side, device="meta"))
    assert coarse.shape[-2:] == (-(-side // stride),) * 2
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=0.05)


def test_the_large_field_of_view_is_dilated() -> None:
    network = on_meta("deeplabv1:vgg16", classes=2)
    assert kernels(network, 14) == [(3, 1)] * 10 + [(3, 2)] * 3 + [(3, 12)]
    pools = [one for one in network.modules() if isinstance(one, nn.MaxPool2d)]
    assert [(one.kernel_size, one.stride) for one in pools] == [(3, 2), (3, 2), (3, 2), (3, 1), (3, 1)]


@pytest.mark.parametrize(
    ("name", "options", "trunk", "rates"),
    [
        ("deeplabv2", {}, [1] * 8 + [1] + [2] * 22 + [2, 4, 4], [6, 12, 18, 24]),
        ("deeplabv3plus_conv", {}, [1] * 8 + [1] * 23 + [1, 2, 2], [6, 12, 18]),
        ("deeplabv3plus_conv", {"output_stride": 8}, [1] * 8 + [1] + [2] * 22 + [2, 4, 4], [12, 24, 36]),
    ],
)
def test_dilation_stands_in_for_stride(name: str, options: dict[str, Any], trunk: list[int], rates: list[int]) -> None:
    """Of the 3 x 3 of 33 blocks (the first 7 x 7 left out); rates of the pyramid go with the stride."""
    network: Any = on_meta(name, classes=2, **options)
    seen = [dilation for kernel, dilation in kernels(network.trunk, 99) if kernel == 3]
    assert seen == trunk[1:]
    pyramid = network.branches if name == "deeplabv2" else network.aspp.pyramid.branches
    assert [dilation for _, dilation in kernels(pyramid, 9)] == rates


def test_the_branches_of_v2_are_summed() -> None:
    network = small("deeplabv2").eval()
    for number, branch in enumerate(network.branches, start=1):
        nn.init.zeros_(branch.weight)
        nn.init.constant_(branch.bias, number)
    with torch.inference_mode():
        assert bool((network(torch.randn(1, 3, 32, 32)) == 1 + 2 + 3 + 4).all())


def test_the_xception_is_aligned() -> None:
    """Depthwise: 3 x 3 in each of 20 blocks of three and 3 at the end; strides 2 at the stem and thrice."""
    trunk: Any = DeepLabV3PlusConv(in_channels=4, classes=2, encoder="xception", channels=8).trunk
    depthwise = [one for one in trunk.modules() if isinstance(one, nn.Conv2d) and one.groups > 1]
    assert [one.groups for one in depthwise].count(728) == 2 + 48 + 2
    assert len(depthwise) == 20 * 3 + 3
    assert [one.dilation[0] for one in depthwise] == [1] * 60 + [2] * 3
    strided = [one.out_channels for one in trunk.modules() if isinstance(one, nn.Conv2d) and one.stride == (2, 2)]
    assert strided == [32, 128, 128, 256, 256, 728, 728]
    with torch.device("meta"):
        low, deep = trunk.to("meta")(torch.zeros(1, 4, 64, 96))
    assert low.shape == (1, 128, 16, 24)
    assert deep.shape == (1, 2048, 4, 6)


def test_the_pyramid_is_torchvisions_but_for_the_norm_of_the_pooled() -> None:
    torch.manual_seed(0)
    theirs: Any = deeplabv3.ASPP(12, [2, 4, 6], out_channels=5).eval()
    mine = ASPP(12, [2, 4, 6], channels=5).eval()
    theirs.project[0].weight.data[:, -5:] = 0
    with torch.no_grad():
        for number in range(4):
            mine.pyramid.branches[number].load_state_dict(theirs.convs[number].state_dict())
        mine.project[0].load_state_dict({k: v for k, v in theirs.project.state_dict().items()})
    features = torch.randn(2, 12, 9, 14)
    with torch.inference_mode():
        torch.testing.assert_close(mine(features), theirs(features))
    theirs = deeplabv3.ASPP(12, [2, 4, 6], out_channels=5)
    assert parameters(mine) == parameters(theirs)


@pytest.mark.parametrize("family", SMALL)
def test_a_batch_of_one_trains_every_layer_once_registered(family: str) -> None:
    """No BatchNorm over one value, the whole trunk in use, no layer under two names, any shape of the input."""
    network = small(family, in_channels=4)
    names = [one.data_ptr() for one in network.state_dict(keep_vars=True).values() if one.numel()]
    assert len(set(names)) == len(names)
    losses = trained_briefly(network, torch.randn(1, 4, 32, 48), 3)
    assert all(torch.isfinite(torch.tensor(losses)))
    unused = [name for name, one in network.named_parameters() if one.grad is None or not one.grad.any()]
    assert unused == []
    assert network(torch.zeros(1, 4, 48, 64)).shape == (1, 3, 48, 64)


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize("classes", [1, 21])
def test_sizes_hold(family: str, classes: int) -> None:
    facts = find_architecture(family)
    network = small(family, in_channels=13, classes=classes).eval()
    for height, width in ((0, 0), (1, 1), (0, 3)):
        shape = (facts.min_size + height * facts.divisor, facts.min_size + width * facts.divisor)
        with torch.inference_mode():
            assert network(torch.zeros(2, 13, *shape)).shape == (2, classes, *shape)
    name, options = SMALL[family]
    framed = create_model(name, in_channels=13, classes=classes, options=options).eval()
    with torch.inference_mode():
        assert framed(torch.zeros(1, 13, 97, 131)).shape == (1, classes, 97, 131)


@pytest.mark.parametrize(("family", "margin"), [("deeplabv1", 192), ("deeplabv2", 240)])
def test_tiles_equal_the_image_beyond_the_margin(family: str, margin: int) -> None:
    network = small(family).double()
    assert probe_margin(network, 3, 8) == margin
    assert tiling_difference(network.float(), 3, 8, margin) <= 1e-5
    assert tiling_difference(network, 3, 8, margin // 2) > 1e-5


def test_without_image_pooling_v3plus_has_a_margin() -> None:
    assert probe_margin(small("deeplabv3plus_conv"), 3, 16) is None
    network = small("deeplabv3plus_conv", image_pooling=False)
    assert probe_margin(network, 3, 16) == 368
    assert tiling_difference(network, 3, 16, 368) <= 1e-5


def test_the_margin_of_v1_is_the_declared_one() -> None:
    network = build_network("deeplabv1", in_channels=1, classes=2, options={"width": 1 / 32, "fov_channels": 8})
    assert probe_margin(network, 1, 8) == find_architecture("deeplabv1").margin


@pytest.mark.long
def test_the_margin_of_v2_is_the_declared_one() -> None:
    network = build_network("deeplabv2", in_channels=1, classes=1)
    assert probe_margin(network, 1, 8) == find_architecture("deeplabv2").margin


@pytest.mark.parametrize(
    ("family", "steps"),
    [
        ("deeplabv1", 120),
        pytest.param("deeplabv2", 45, marks=pytest.mark.long),
        pytest.param("deeplabv3plus_conv", 40, marks=pytest.mark.long),
    ],
)
def test_one_image_is_learnt(family: str, steps: int) -> None:
    assert overfitted(small(family), in_channels=3, classes=3, steps=steps) > 0.99


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("deeplabv3plus_conv", {"output_stride": 32}, "output_stride is 32; it must be 8 or 16"),
        ("deeplabv2", {"rates": ()}, "rates is 0; it must be at least 1"),
        ("deeplabv1", {"fov_channels": 0}, "fov_channels is 0"),
        ("deeplabv2:vgg16", {}, "encoder of deeplabv2"),
    ],
)
def test_unfit_options_are_one_line(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build_network(name, in_channels=3, classes=2, options=options)
