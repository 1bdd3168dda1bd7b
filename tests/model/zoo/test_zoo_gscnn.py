"""Gated-SCNN: published counts of every part, the shape stream at full size, a prior that knows no bands."""

import inspect
import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from geoseg.errors import SettingsError
from geoseg.model.margin import probe_margin
from geoseg.model.registry import build_network, create_model, find_architecture
from geoseg.model.zoo.gscnn import GSCNN, image_gradient
from geoseg.model.zoo.wide_resnet import WideResNet38
from tests.model.zoo.network_laws import calibrated, on_meta, overfitted, parameters


def small(*, in_channels: int = 3, classes: int = 3) -> Any:
    torch.manual_seed(0)
    return build_network("gscnn:resnet14", in_channels=in_channels, classes=classes, options={"channels": 16})


def test_counts_are_the_published_ones() -> None:
    """The published 137,278,190 include a 1 x 1 convolution of 64 channels that nothing uses."""
    network: Any = on_meta("gscnn", classes=19)
    assert parameters(network) == 137_278_190 - (64 + 1)
    shape = network.shape
    assert [parameters(one) for one in shape.blocks] == [73_984, 18_560, 4_672]
    assert [parameters(one) for one in shape.narrow] == [2_080, 528, 136]
    assert [parameters(one) for one in shape.gates] == [2_248, 616, 184]
    assert [parameters(one) for one in shape.sides] == [257, 513, 4_097]
    assert (parameters(shape.fuse), parameters(shape.weigh)) == (8, 2)
    assert parameters(network.pyramid) + parameters(network.edge_branch) == 30_412_032
    assert parameters(network.reduce_deep) == 393_216
    assert parameters(network.decoder) == 1_296_128


def test_work_is_the_measured_one() -> None:
    network = on_meta("gscnn", classes=19).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, 256, 256, device="meta"))
    assert counter.get_total_flops() / 2e9 == pytest.approx(188.8, abs=0.05)


def test_the_wide_trunk_has_38_layers_at_stride_8() -> None:
    """Convolutions on the main path, and the classifier that it lost: 38; dilation 2 and 4 in place of strides."""
    with torch.device("meta"):
        trunk = WideResNet38(in_channels=4)
        levels = trunk(torch.zeros(1, 4, 64, 96))
    assert [tuple(one.shape[1:]) for one in levels] == [
        (64, 64, 96),
        (128, 32, 48),
        (256, 16, 24),
        (512, 8, 12),
        (1024, 8, 12),
        (2048, 8, 12),
        (4096, 8, 12),
    ]
    main = [one for name, one in trunk.named_modules() if isinstance(one, nn.Conv2d) and "beside" not in name]
    assert len(main) + 1 == 38
    assert sorted(one.dilation[0] for one in main if one.kernel_size == (3, 3)) == [1] * 25 + [2] * 6 + [4] * 2


@pytest.mark.parametrize("encoder", ["wide_resnet38", "resnet50"])
def test_the_shape_stream_sees_early_detail_and_deep_meaning(encoder: str) -> None:
    network: Any = on_meta(f"gscnn:{encoder}", classes=2)
    expected = [256, 512, 4096] if encoder == "wide_resnet38" else [512, 1024, 2048]
    assert [one.in_channels for one in network.shape.sides] == expected
    outputs = network.forward_train(torch.zeros(2, 3, 40, 64, device="meta"))
    assert {key: tuple(one.shape) for key, one in outputs.items()} == {"out": (2, 2, 40, 64), "edge": (2, 1, 40, 64)}


def test_a_closed_gate_passes_and_an_open_one_doubles() -> None:
    gate = small().shape.gates[0].eval()
    nn.init.dirac_(gate.mix.weight)
    shape, side = torch.randn(1, 32, 5, 6), torch.randn(1, 1, 5, 6)
    for bias, factor in ((-1e4, 1.0), (1e4, 2.0)):
        nn.init.constant_(gate.attend[3].bias, bias)
        torch.testing.assert_close(gate(shape, side).detach(), factor * shape)


def test_the_edges_reach_the_classes() -> None:
    """The shape stream is a part of the segmentation, not an output beside it."""
    network: Any = calibrated(small(), torch.randn(2, 3, 64, 64))
    pixels = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before = network(pixels)
        network.shape.fuse.weight.neg_()
        assert not torch.allclose(before, network(pixels), atol=1e-4)


def test_the_prior_is_the_gradient_over_all_bands() -> None:
    """A step of one in each band has a central difference of 0.5; neither order, sign nor repetition of bands tell."""
    step = torch.zeros(1, 1, 8, 9)
    step[..., 4:] = 1
    found = image_gradient(step)
    assert found.shape == (1, 1, 8, 9)
    expected = torch.zeros(8, 9)
    expected[:, 3:5] = math.tanh(0.5)
    torch.testing.assert_close(found[0, 0], expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(image_gradient(step.mT)[0, 0], expected.T, rtol=0, atol=1e-3)
    image = torch.randn(2, 5, 20, 30)
    for other in (image.flip(1), -image, image.repeat(1, 2, 1, 1), image + 7):
        torch.testing.assert_close(image_gradient(other), image_gradient(image), rtol=1e-4, atol=1e-5)


def test_the_prior_is_the_largest_eigenvalue() -> None:
    image = torch.randn(1, 4, 12, 13).double()
    down, across = torch.gradient(image, dim=(2, 3))
    jacobian = torch.stack([down, across], dim=-1)[0].movedim(0, -2)  # (h, w, bands, 2)
    largest = torch.linalg.matrix_norm(jacobian, ord=2) / math.sqrt(4)
    torch.testing.assert_close(
        image_gradient(image)[0, 0, 1:-1, 1:-1], largest.tanh()[1:-1, 1:-1], rtol=1e-6, atol=1e-6
    )


def test_a_flat_image_has_gradients() -> None:
    pixels = torch.zeros(1, 3, 16, 16, requires_grad=True)
    image_gradient(pixels).sum().backward()  # type: ignore[no-untyped-call]
    assert pixels.grad is not None
    assert bool(pixels.grad.isfinite().all())


@pytest.mark.parametrize("bands", [1, 13])
@pytest.mark.parametrize("classes", [1, 21])
def test_sizes_hold(bands: int, classes: int) -> None:
    facts = find_architecture("gscnn")
    network = small(in_channels=bands, classes=classes).eval()
    for height, width in ((0, 0), (1, 1), (0, 3)):
        shape = (facts.min_size + height * facts.divisor, facts.min_size + width * facts.divisor)
        with torch.inference_mode():
            assert network(torch.zeros(2, bands, *shape)).shape == (2, classes, *shape)


def test_any_size_by_the_frame() -> None:
    framed = create_model("gscnn:resnet14", in_channels=2, classes=3, options={"channels": 8}).eval()
    with torch.inference_mode():
        outputs = framed.forward_train(torch.zeros(1, 2, 97, 131))
    assert {key: tuple(one.shape) for key, one in outputs.items()} == {"out": (1, 3, 97, 131), "edge": (1, 1, 97, 131)}


def test_it_sees_the_whole_tile() -> None:
    assert find_architecture("gscnn").is_global
    assert probe_margin(small(), 3, 8) is None


def test_a_batch_of_one_trains_every_layer_by_both_outputs() -> None:
    network = small(in_channels=4).train()
    network.to(memory_format=torch.channels_last)
    pixels = torch.randn(1, 4, 32, 48).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = network.forward_train(pixels)
    loss = outputs["out"].float().square().mean() + outputs["edge"].float().square().mean()
    loss.backward()
    unused = [name for name, one in network.named_parameters() if one.grad is None or not one.grad.any()]
    assert unused == []
    assert all(bool(one.grad.isfinite().all()) for one in network.parameters())


def test_one_image_is_learnt() -> None:
    assert overfitted(small(), in_channels=3, classes=3, side=32, steps=45) > 0.99


def test_no_default_can_be_changed() -> None:
    for one in inspect.signature(GSCNN).parameters.values():
        assert isinstance(one.default, int | float | str | bool | tuple) or one.default is inspect.Parameter.empty


def test_unfit_options_are_one_line() -> None:
    with pytest.raises(SettingsError, match="channels is 0; it must be at least 1"):
        build_network("gscnn:resnet14", in_channels=3, classes=2, options={"channels": 0})
    with pytest.raises(SettingsError, match="encoder of gscnn"):
        build_network("gscnn:vgg16", in_channels=3, classes=2)
