"""The networks over VGG, ResNet and alike: same seed, same network; memory layouts, bfloat16; a user's encoder."""

import inspect
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import vgg11
from torchvision.models.resnet import Bottleneck, ResNet

from geoseg.model.inflate import inflate_conv
from geoseg.model.registry import build_network, find_architecture
from tests.model.zoo.network_laws import all_outputs

DENSE: dict[str, dict[str, Any]] = {
    "fcn2s:vgg11": {"width": 1 / 16},
    "fcn8s_orig:vgg11": {"width": 1 / 16},
    "deeplabv1:vgg11": {"width": 1 / 16, "fov_channels": 16},
    "deeplabv2:resnet14": {},
    "deeplabv3plus_conv:resnet14": {"channels": 16},
    "fastfcn:resnet14": {"width": 16},
    "gscnn:resnet14": {"channels": 16},
    "unet_valid": {"init_features": 4},
}
WITH_ENCODER = [name for name in DENSE if ":" in name]


def built(name: str, in_channels: int = 4) -> Any:
    torch.manual_seed(0)
    return build_network(name, in_channels=in_channels, classes=3, options=DENSE[name])


@pytest.mark.parametrize("name", DENSE)
def test_layout_and_seed_change_nothing(name: str) -> None:
    side = max(64, find_architecture(name).min_size)
    pixels = torch.randn(1, 4, side, side)
    network, again = built(name).eval(), built(name).eval()
    with torch.inference_mode():
        expected = network(pixels)
        assert torch.equal(expected, again(pixels))
        last = again.to(memory_format=torch.channels_last)(pixels.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(last, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = network(pixels).float()
    assert float((half - expected).abs().mean()) < 0.1 * float(expected.abs().mean()) + 1e-6


@pytest.mark.parametrize("name", DENSE)
def test_no_weight_is_idle(name: str) -> None:
    """Every parameter that is trained gets a finite gradient, by one sample, in bfloat16."""
    side = max(64, find_architecture(name).min_size)
    network = built(name).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = all_outputs(network, torch.randn(1, 4, side, side))
    sum((one.float().square().mean() for one in outputs.values()), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
    idle = [key for key, one in network.named_parameters() if one.requires_grad and one.grad is None]
    assert idle == []
    assert all(bool(one.grad.isfinite().all()) for one in network.parameters() if one.grad is not None)


@pytest.mark.parametrize("name", DENSE)
def test_training_and_evaluation_have_the_same_outputs(name: str) -> None:
    side = max(64, find_architecture(name).min_size)
    network, pixels = built(name), torch.randn(2, 4, side, side)
    with torch.no_grad():
        shape = network.train()(pixels).shape
        found = network.eval()(pixels)
        assert found.shape == shape == (2, 3, side, side)
        assert torch.equal(found, all_outputs(network, pixels)["out"])


@pytest.mark.parametrize("name", DENSE)
def test_no_default_can_be_changed(name: str) -> None:
    build = find_architecture(name).build
    for one in inspect.signature(build).parameters.values():
        assert one.default is inspect.Parameter.empty or isinstance(one.default, int | float | str | bool | tuple)


@pytest.mark.parametrize("name", [name for name in DENSE if "resnet" in name])
def test_a_resnet_of_three_bands_is_inflated(name: str) -> None:
    theirs: Any = ResNet(Bottleneck, [1, 1, 1, 1])
    network = built(name)
    network.load_encoder(theirs.state_dict(), rgb=(2, 1, 0))
    expected = inflate_conv(theirs.conv1.weight, 4, (2, 1, 0))
    torch.testing.assert_close(network.trunk.conv1.weight, expected)
    assert torch.equal(network.trunk.layer3[0].conv2.weight, theirs.layer3[0].conv2.weight)
    grey = torch.randn(1, 1, 32, 32)
    with torch.inference_mode():  # the same answer where all bands are equal
        want = theirs.conv1(grey.repeat(1, 3, 1, 1))
        for rgb in ((2, 1, 0), None):
            network.load_encoder(theirs.state_dict(), rgb=rgb)
            torch.testing.assert_close(network.trunk.conv1(grey.repeat(1, 4, 1, 1)), want, rtol=1e-4, atol=1e-5)


def test_a_vgg_of_three_bands_is_inflated() -> None:
    with torch.device("meta"):
        vgg: Any = vgg11(weights=None)
    state = {key: torch.randn(one.shape) for key, one in vgg.features.state_dict(prefix="features.").items()}
    options = {"fov_channels": 4}
    network: Any = build_network("deeplabv1:vgg11", in_channels=2, classes=2, options=options)
    network.load_encoder(state)
    torch.testing.assert_close(network.features[0].weight.sum(1), state["features.0.weight"].sum(1))
    assert torch.equal(network.features[3].weight, state["features.3.weight"])
    with pytest.raises(RuntimeError, match="Missing key"):
        network.load_encoder({key: one for key, one in state.items() if key != "features.3.bias"})


@pytest.mark.parametrize("name", WITH_ENCODER)
def test_nothing_is_normalised_over_one_value(name: str) -> None:
    """The mean of a tile has one value per channel: BatchNorm there would raise with one sample, or give zeros."""
    seen: list[int] = []

    def look(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(inputs[0].shape[0] * inputs[0].shape[2] * inputs[0].shape[3])

    network = built(name).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(look)
    network(torch.randn(1, 4, 64, 64))
    assert min(seen, default=2) > 1
