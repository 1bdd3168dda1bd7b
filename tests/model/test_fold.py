"""Folding: fewer layers, the same answer, or no folding at all."""

import torch
from torch import Tensor, nn

from geoseg.model.fold import fold_batch_norm
from geoseg.model.registry import build_network


def settled(network: nn.Module) -> nn.Module:
    """In eval mode, with BatchNorm statistics and weights that are far from their start."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=generator) * 0.2
            module.running_var = torch.rand(module.num_features, generator=generator) + 0.5
            module.weight.data = torch.rand(module.num_features, generator=generator) + 0.5
            module.bias.data = torch.randn(module.num_features, generator=generator) * 0.2
    return network.eval()


def batch_norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_every_batch_norm_of_the_main_networks_is_folded_and_nothing_changes() -> None:
    torch.manual_seed(0)
    pixels = torch.randn(2, 3, 64, 96)
    for name, count, options in (("unet", 18, {"init_features": 4}), ("unet:resnet18", 30, {})):
        network = settled(build_network(name, in_channels=3, classes=3, options=options))
        folded, pairs = fold_batch_norm(network, torch.randn(1, 3, 64, 64))
        with torch.inference_mode():
            expected, given = network(pixels), folded(pixels)
        assert (pairs, batch_norms(folded), batch_norms(network)) == (count, 0, count)
        # logits of these networks go up to tens of units; float32 has seven digits
        assert float((given - expected).abs().max() / expected.abs().max().clamp(min=1)) <= 1e-5


class Branching(nn.Module):
    """The convolution's output is used before the BatchNorm as well: folding would change it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.conv(pixels)
        result: Tensor = self.norm(features) + features
        return result


class Shared(nn.Module):
    """One convolution, two BatchNorms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.first = nn.BatchNorm2d(3)
        self.second = nn.BatchNorm2d(3)

    def forward(self, pixels: Tensor) -> Tensor:
        result: Tensor = self.second(self.conv(self.first(self.conv(pixels))))
        return result


def test_what_cannot_be_folded_is_left_as_it_is() -> None:
    for network in (settled(Branching()), settled(Shared()), build_network("pointwise", in_channels=3, classes=2)):
        kept, pairs = fold_batch_norm(network.eval(), torch.randn(1, 3, 16, 16))
        assert pairs == 0
        assert kept is network


def test_a_layer_that_is_called_twice_does_not_hinder_the_others() -> None:
    network = settled(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), Shared()))
    folded, pairs = fold_batch_norm(network, torch.randn(1, 3, 16, 16))
    assert (pairs, batch_norms(folded)) == (1, 2)
