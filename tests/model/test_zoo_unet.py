"""The padded U-Net: published parameter counts, sizes, and a margin beyond which tiles equal the whole image."""

import pytest
import torch

from geoseg.model.zoo.unet import DIVISOR, EXACT_MARGIN, UNet


@pytest.mark.parametrize(
    ("in_channels", "classes", "init_features", "parameters"),
    [
        (3, 4, 64, 31_037_828),
        (3, 2, 64, 31_037_698),
        (1, 2, 64, 31_036_546),
        (13, 10, 64, 31_043_978),
        (3, 1, 32, 7_763_041),
        (3, 1, 16, 1_942_577),
    ],
)
def test_parameter_counts_are_the_published_ones(
    in_channels: int, classes: int, init_features: int, parameters: int
) -> None:
    with torch.device("meta"):
        network = UNet(in_channels=in_channels, classes=classes, init_features=init_features)
    assert sum(one.numel() for one in network.parameters()) == parameters


@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 48), (112, 64)])
def test_logits_have_the_size_of_the_input(height: int, width: int) -> None:
    network = UNet(in_channels=5, classes=3, init_features=4).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 5, height, width)).shape == (2, 3, height, width)


def test_other_sizes_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="100 x 64 pixels; both must be multiples of 16: pad"):
        UNet(in_channels=1, classes=2, init_features=2)(torch.zeros(1, 1, 100, 64))


def test_impossible_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="classes is 0"):
        UNet(in_channels=1, classes=0)


def test_beyond_the_exact_margin_a_tile_equals_the_whole_image() -> None:
    torch.manual_seed(0)
    network = UNet(in_channels=2, classes=2, init_features=4).double().eval()
    image = torch.randn(1, 2, 336, 368, dtype=torch.float64)
    top, left = 2 * DIVISOR, 3 * DIVISOR
    with torch.inference_mode():
        whole = network(image)[..., top : top + 288, left : left + 272]
        tile = network(image[..., top : top + 288, left : left + 272])
    inside = (..., slice(EXACT_MARGIN, -EXACT_MARGIN), slice(EXACT_MARGIN, -EXACT_MARGIN))
    assert torch.allclose(whole[inside], tile[inside], rtol=0, atol=1e-12)
    near = (..., slice(80, -80), slice(80, -80))
    assert not torch.allclose(whole[near], tile[near], rtol=0, atol=1e-12)
