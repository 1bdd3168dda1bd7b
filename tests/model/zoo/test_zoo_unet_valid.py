"""The unpadded U-Net and the padded one's published figures: sizes, counts, work, mirroring, and one kernel by hand."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from geoseg.errors import SettingsError
from geoseg.model.margin import probe_margin
from geoseg.model.registry import build_network, create_model, find_architecture
from tests.model.zoo.network_laws import on_meta, overfitted, parameters, trained_briefly


def small(*, in_channels: int = 2, classes: int = 3, init_features: int = 4) -> Any:
    torch.manual_seed(0)
    options = {"init_features": init_features}
    return build_network("unet_valid", in_channels=in_channels, classes=classes, options=options)


@pytest.mark.parametrize(
    ("name", "bands", "classes", "count"),
    [
        ("unet_valid", 1, 2, 31_030_658),
        ("unet_valid", 3, 4, 31_031_940),
        ("unet_valid", 3, 2, 31_031_810),
        ("unet", 3, 1, 31_037_633),
        ("unet", 3, 21, 31_038_933),
        ("unet", 4, 4, 31_038_404),
    ],
)
def test_counts_are_the_published_ones(name: str, bands: int, classes: int, count: int) -> None:
    assert parameters(on_meta(name, in_channels=bands, classes=classes)) == count


def test_the_padded_one_grows_by_576_a_band_and_65_a_class() -> None:
    def count(bands: int, classes: int) -> int:
        return parameters(on_meta("unet", in_channels=bands, classes=classes))

    assert count(64, 2) - count(3, 2) == 61 * 576
    assert count(3, 21) - count(3, 2) == 19 * 65
    buffers = on_meta("unet", classes=4).buffers()
    assert sum(one.numel() for one in buffers) == 11_794


@pytest.mark.parametrize(
    ("name", "side", "features", "gmacs"),
    [("unet", 512, 64, 192.72), ("unet", 512, 32, 48.29), ("unet_valid", 572, 64, 150.4)],
)
def test_work_is_the_measured_one(name: str, side: int, features: int, gmacs: float) -> None:
    network: Any = on_meta(name, in_channels=1 if name == "unet_valid" else 3, classes=2, init_features=features).eval()
    compute = network.valid if name == "unet_valid" else network
    with FlopCounterMode(display=False) as counter:
        compute(torch.zeros(1, 1 if name == "unet_valid" else 3, side, side, device="meta"))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, rel=1e-3)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((572, 572), (388, 388)), ((188, 188), (4, 4)), ((204, 204), (20, 20)), ((188, 204), (4, 20))],
)
def test_the_valid_pass_loses_184(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    network: Any = on_meta("unet_valid", classes=2)
    assert network.valid(torch.zeros(1, 3, *shape, device="meta")).shape[-2:] == expected


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((573, 572), "got 573 x 572 pixels; each side must be 16 k . 12 and at least 188: 572 in place of 573"),
        ((188, 172), "188 in place of 172"),
    ],
)
def test_other_sizes_are_refused_with_the_remedy(shape: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small().valid(torch.zeros(1, 2, *shape))


def test_the_logits_are_the_valid_ones_of_the_mirrored_tile() -> None:
    """Inside they need no mirror, at the corner they see the mirrored image: made here row by row."""
    network = small().double().eval()
    image = torch.randn(1, 2, 320, 304).double()
    index = [[abs(k) if k < n else 2 * (n - 1) - k for k in range(-92, n + 96)] for n in (320, 304)]
    mirrored = image[:, :, index[0]][..., index[1]]
    with torch.inference_mode():
        logits = network(image)
        assert torch.equal(logits, network.valid(mirrored)[..., :320, :304])
        inner = network.valid(image[..., 4:304, 4:304])  # 4 + 92 is where the poolings agree
    torch.testing.assert_close(logits[..., 96:212, 96:212], inner, rtol=0, atol=1e-12)


def test_skips_are_cut_from_the_middle() -> None:
    """With weights that average, an image that grows evenly gives one that grows evenly at the same place (in the
    mean over 16 pixels, since 2 x 2 upsampling makes stairs); a skip cut elsewhere is shifted.
    """
    network = small().double().eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            inputs = module.weight[:, 0] if isinstance(module, nn.ConvTranspose2d) else module.weight[0]
            per_pixel = 4 if isinstance(module, nn.ConvTranspose2d) else 1
            nn.init.constant_(module.weight, per_pixel / inputs.numel())
            module.bias = None
    network.pool = nn.AvgPool2d(2)
    ramp = torch.arange(1.0, 401).double().expand(1, 2, 400, 400)
    for image in (ramp, ramp.mT):
        with torch.inference_mode():
            response = network(image) / network(torch.ones_like(image))
        inside = (..., slice(160, 240), slice(160, 240))
        found, expected = (F.avg_pool2d(one[inside][:, :1], 16) for one in (response, image))
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)


def test_tiles_equal_the_image_beyond_the_margin() -> None:
    facts: Any = find_architecture("unet_valid")
    network = small()
    assert probe_margin(network, 2, facts.divisor, min_size=facts.min_size) == facts.margin
    image = torch.randn(1, 2, 112, 512)
    network.eval().double()
    with torch.inference_mode():
        whole, tile = network(image.double())[..., 64:448], network(image.double()[..., 64:448])
    inside = (..., slice(facts.margin, -facts.margin))
    torch.testing.assert_close(whole[inside], tile[inside], rtol=0, atol=1e-12)
    assert not torch.allclose(whole, tile)


def test_sizes_hold() -> None:
    facts = find_architecture("unet_valid")
    network = small(in_channels=13, classes=21).eval()
    for height, width in ((0, 0), (1, 1), (0, 3)):
        shape = (facts.min_size + height * facts.divisor, facts.min_size + width * facts.divisor)
        with torch.inference_mode():
            assert network(torch.zeros(2, 13, *shape)).shape == (2, 21, *shape)
    framed = create_model("unet_valid", in_channels=1, classes=1, options={"init_features": 2}).eval()
    for shape in ((97, 131), (20, 31)):
        with torch.inference_mode():
            assert framed(torch.zeros(1, 1, *shape)).shape == (1, 1, *shape)


def test_a_batch_of_one_trains() -> None:
    network = small(in_channels=4)
    losses = trained_briefly(network, torch.randn(1, 4, 112, 128), 3)
    assert all(torch.isfinite(torch.tensor(losses)))
    assert [name for name, one in network.named_parameters() if one.grad is None] == []
    assert not [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]


def test_one_image_is_learnt() -> None:
    assert overfitted(small(init_features=8), in_channels=2, classes=3, side=112, steps=60) > 0.99


def test_unfit_options_are_one_line() -> None:
    with pytest.raises(SettingsError, match="init_features is 0; it must be at least 1"):
        small(init_features=0)
    with pytest.raises(SettingsError, match="dropout"):
        build_network("unet_valid", in_channels=1, classes=2, options={"dropout": 2})


def test_a_transposed_convolution_by_hand() -> None:
    """Each pixel puts the kernel, times its value, where it stands: 4 x 4 from 2 x 2 with stride 1, 5 x 5 with 2."""
    pixels = torch.tensor([[1.0, 2.0], [1.0, 0.0]])[None, None]
    kernel = torch.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    expected = [[1, 4, 7, 6], [5, 15, 19, 12], [11, 27, 31, 18], [7, 8, 9, 0]]
    assert F.conv_transpose2d(pixels, kernel)[0, 0].tolist() == expected
    assert F.conv_transpose2d(pixels, kernel, stride=2).shape[-2:] == (5, 5)
