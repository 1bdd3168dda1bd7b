"""BiSeNet v1 and v2: counts that two public implementations agree on, and the layers of the papers."""

import pytest
import torch
from torch import nn

from geoseg.model.registry import build_network
from geoseg.model.zoo.bisenet_v1 import BiSeNetV1
from geoseg.model.zoo.bisenet_v2 import BiSeNetV2
from tests.model.zoo.network_laws import on_meta, parameters


@pytest.mark.parametrize(
    ("name", "aux", "count"),
    [
        ("bisenetv1", True, 13_425_721),
        ("bisenetv1", False, 13_275_539),
        ("bisenetv2", True, 5_231_487),
        ("bisenetv2", False, 3_358_627),
    ],
)
def test_parameters_for_19_classes(name: str, aux: bool, count: int) -> None:
    assert parameters(on_meta(name, classes=19, aux=aux)) == count


def test_a_band_costs_its_first_convolutions() -> None:
    """V1 has 7 x 7 x 64 twice, v2 3 x 3 x (64 + 16)."""
    for name, cost in (("bisenetv1", 2 * 49 * 64), ("bisenetv2", 9 * (64 + 16))):
        assert parameters(on_meta(name, in_channels=4, classes=2)) - parameters(on_meta(name, classes=2)) == cost


def test_paths_of_v1_have_the_papers_sizes() -> None:
    network = build_network("bisenetv1", in_channels=3, classes=2)
    assert isinstance(network, BiSeNetV1)
    pixels = torch.zeros(1, 3, 64, 96)
    with torch.inference_mode():
        eighth, sixteenth = network.eval().context(pixels)
        assert network.detail(pixels).shape == (1, 128, 8, 12)
        assert (eighth.shape, sixteenth.shape) == ((1, 128, 8, 12), (1, 128, 4, 6))
        assert network.coarse(pixels).shape == (1, 2, 8, 12)


def test_stages_of_v2_have_the_papers_widths() -> None:
    network = build_network("bisenetv2", in_channels=3, classes=2)
    assert isinstance(network, BiSeNetV2)
    shapes = []
    with torch.inference_mode():
        features = network.eval().stem(torch.zeros(1, 3, 64, 64))
        shapes.append(tuple(features.shape[1:3]))
        for stage in network.stages:
            features = stage(features)
            shapes.append(tuple(features.shape[1:3]))
        assert network.detail(torch.zeros(1, 3, 64, 64)).shape == (1, 128, 8, 8)
    assert shapes == [(16, 16), (32, 8), (64, 4), (128, 2)]
    assert [len(list(stage.children())) for stage in network.stages] == [2, 2, 4]


def test_the_mean_of_the_tile_reaches_every_pixel() -> None:
    """A far corner moves the logits: what makes these networks global."""
    for name in ("bisenetv1", "bisenetv2"):
        network = build_network(name, in_channels=1, classes=2).eval()
        pixels = torch.randn(1, 1, 64, 1024)
        moved = pixels.clone()
        moved[..., :8] = 5
        with torch.inference_mode():
            assert not torch.equal(network(pixels)[..., -8:], network(moved)[..., -8:])


@pytest.mark.parametrize("name", ["bisenetv1", "bisenetv2", "fast_scnn"])
def test_pooled_features_meet_no_batch_norm(name: str) -> None:
    """BatchNorm has nothing to compare at 1 x 1 pixel of one sample; it never gets such features."""
    network = build_network(name, in_channels=1, classes=2).train()
    sizes: list[int] = []
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda _m, args: sizes.append(args[0].shape[-2:].numel()))
    network(torch.randn(1, 1, 64, 64))
    assert min(sizes) >= 4
