"""Margins: the exact one by structure equals what tiles show; the tolerance one by counting pixels."""

import pytest
import torch
from torch import Tensor, nn

from geoseg.errors import BundleError
from geoseg.model.margin import disagreement_by_margin, probe_margin, tolerance_margin
from geoseg.model.registry import build_network


@pytest.mark.parametrize(
    ("architecture", "divisor", "margin"),
    [
        ("pointwise", 1, 0),
        ("unet", 16, 96),
        ("unet:resnet18", 32, 288),
        ("fpn:resnet18", 32, None),  # GroupNorm
        ("unet:efficientnet-b0", 32, None),  # squeeze-excitation
        ("deeplabv3plus:resnet18", 16, None),  # image pooling
    ],
)
def test_margins_are_those_found_for_the_libraries(architecture: str, divisor: int, margin: int | None) -> None:
    options = {"init_features": 2} if architecture == "unet" else {}
    network = build_network(architecture, in_channels=1, classes=2, options=options)
    assert probe_margin(network, 1, divisor) == margin


def test_a_chain_of_convolutions_has_the_margin_of_its_sum() -> None:
    chain = nn.Sequential(nn.Conv2d(2, 3, 5, padding=4, dilation=2), nn.ReLU(), nn.Conv2d(3, 1, 7, padding=3))
    assert probe_margin(chain, 2, 1) == 2 * 2 + 3
    assert probe_margin(chain, 2, 4) == 8


class Attention(nn.Module):
    """Every pixel looks at every other."""

    def forward(self, pixels: Tensor) -> Tensor:
        flat = pixels.flatten(2)
        weights = torch.softmax(flat.transpose(1, 2) @ flat, dim=-1)
        return (flat @ weights).reshape(pixels.shape)


def test_attention_sees_the_whole_tile() -> None:
    assert probe_margin(Attention(), 2, 1) is None


def test_the_probe_leaves_the_network_alone() -> None:
    network = build_network("unet", in_channels=1, classes=2, options={"init_features": 2}).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    probe_margin(network, 1, 16)
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def unet() -> nn.Module:
    """Random weights, BatchNorm statistics of random pixels, so that logits are of the order of one."""
    torch.manual_seed(5)
    network = build_network("unet", in_channels=2, classes=3, options={"init_features": 4})
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(torch.randn(2, 2, 128, 128))
    return network.eval()


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_a_tile_with_the_exact_margin_equals_the_whole_image(dtype: torch.dtype, rounding: float) -> None:
    network, margin, tile = unet().to(dtype), 96, 224
    image = torch.randn(1, 2, 448, 464, generator=torch.Generator().manual_seed(1)).to(dtype)
    row, col = 112, 128

    def tile_at(top: int) -> Tensor:
        probabilities: Tensor = network(image[..., top : top + tile, col : col + tile]).softmax(1)
        return probabilities

    with torch.inference_mode():
        whole = network(image).softmax(1)[..., row : row + tile, col : col + tile]
        alone, shifted = tile_at(row), tile_at(row + 8)
    centre = slice(margin, tile - margin)
    assert float((whole - alone)[..., centre, centre].abs().max()) <= rounding
    wider = slice(16, tile - 16)
    assert float((whole - alone)[..., wider, wider].abs().max()) > 1e-6
    moved = slice(margin - 8, tile - margin - 8)  # the same ground, off the network's divisor
    assert float((whole[..., centre, centre] - shifted[..., moved, centre]).abs().max()) > 1e-4


class EdgeCounter(nn.Module):
    """Class 1 within `reach` pixels of the tile's edge, class 0 elsewhere: wrong by construction."""

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach = reach

    def forward(self, pixels: Tensor) -> Tensor:
        edge = torch.zeros(pixels.shape[-2:])
        for cut in range(self.reach):
            edge[cut], edge[-1 - cut], edge[:, cut], edge[:, -1 - cut] = 1, 1, 1, 1
        return torch.stack([0.5 + 0 * edge, edge])[None]


def test_the_tolerance_margin_counts_the_pixels_of_the_centre() -> None:
    image, tile = torch.zeros(1, 192, 192), 64
    shares = disagreement_by_margin(EdgeCounter(9), [image], tile=tile, divisor=8)
    assert list(shares) == [0, 8, 16, 24]
    assert shares[0] == pytest.approx(1 - (64 - 18) ** 2 / 64**2)
    assert shares[8] == pytest.approx(1 - (48 - 2) ** 2 / 48**2)
    assert shares[16] == 0
    assert tolerance_margin(EdgeCounter(9), [image], tile=tile, divisor=8) == 16
    assert tolerance_margin(EdgeCounter(9), [image], tile=tile, divisor=8, tolerance=0.09) == 8
    with pytest.raises(BundleError, match=r"no margin below 24 px .* measure with a tile larger than 64"):
        tolerance_margin(EdgeCounter(30), [image], tile=tile, divisor=8)


def test_the_tolerance_margin_is_within_the_exact_one() -> None:
    image = torch.randn(2, 480, 480, generator=torch.Generator().manual_seed(2))
    assert tolerance_margin(unet(), [image], tile=256, divisor=16) <= 96
