"""What libraries give: measured sizes, margins that tiles confirm, batches of one, licences that allow every use."""

import re
from functools import partial

import pytest
import torch
from torch import nn

from geoseg.errors import SettingsError
from geoseg.model.margin import probe_margin
from geoseg.model.registry import build_network, find_architecture, list_architectures
from geoseg.model.single_value import SingleValueBatchNorm2d, allow_single_values
from tests.model.zoo.attention_checks import count

SMP = {  # over resnet34, resnet50
    "unet": (24_436_514, 32_521_250),
    "unetplusplus": (26_078_754, 48_985_890),
    "manet": (31_783_778, 147_440_138),
    "linknet": (21_771_970, 31_177_810),
    "fpn": (23_155_522, 26_116_162),
    "pspnet": (21_442_594, 24_305_602),
    "deeplabv3": (26_007_362, 39_633_986),
    "deeplabv3plus": (22_437_714, 26_677_842),
    "pan": (21_476_105, 24_260_105),
    "upernet": (29_599_938, 37_284_930),
    "segformer": (21_876_802, 24_837_442),
}


@pytest.mark.parametrize("family", SMP)
def test_sizes_over_two_encoders(family: str) -> None:
    found = [count(partial(build_network, f"{family}:{e}", in_channels=3, classes=2)) for e in ("resnet34", "resnet50")]
    assert tuple(found) == SMP[family]


@pytest.mark.parametrize(
    ("name", "in_channels", "classes", "parameters"),
    [
        ("unet:efficientnet-b0", 3, 2, 6_251_614),
        ("unet:vgg16", 3, 2, 23_748_386),
        ("unet:tu-convnext_tiny", 3, 2, 31_928_898),
        ("upernet:tu-convnext_tiny", 3, 2, 37_044_130),
        ("deeplabv3:resnet50", 3, 21, 39_638_869),
        ("deeplabv3:resnet101", 3, 21, 58_630_997),
        ("deeplabv3plus:resnet50", 3, 21, 26_682_725),
        ("deeplabv3plus:resnet101", 3, 21, 45_674_853),
        ("deeplabv3plus:tu-xception65", 3, 21, 41_042_005),
        ("deeplabv3plus:mobilenet_v2", 3, 2, 4_378_770),
        ("dpt:tu-vit_small_patch16_dinov3", 4, 6, 52_275_206),
        ("dpt:tu-vit_large_patch16_dinov3", 4, 6, 342_945_286),
    ],
)
def test_sizes_over_other_encoders(name: str, in_channels: int, classes: int, parameters: int) -> None:
    assert count(lambda: build_network(name, in_channels=in_channels, classes=classes)) == parameters


def test_options_that_change_the_size() -> None:
    """DPT with the positions of 512² instead of 224²; SegFormer's head of 768, which smp makes 256 for all."""
    name = "dpt:tu-vit_base_patch16_224.augreg_in21k"
    options = {"img_size": 512}
    assert count(lambda: build_network(name, in_channels=4, classes=6, options=options)) == 138_640_217
    wide = {"decoder_segmentation_channels": 768}
    channels = (64, 64, 128, 256, 512)  # of resnet34 at 1/2 ... 1/32, each to the width with a bias
    linear = (768 - 256) * (sum(channels) + len(channels))
    fuse, norm, head = len(channels) * (768**2 - 256**2), 2 * (768 - 256), 2 * (768 - 256)
    assert (
        count(lambda: build_network("segformer:resnet34", in_channels=3, classes=2, options=wide))
        == SMP["segformer"][0] + linear + fuse + norm + head
    )


@pytest.mark.parametrize("family", ["unet", "unetplusplus", "linknet", "segformer"])
def test_a_tile_at_the_declared_margin_equals_the_whole_image(family: str) -> None:
    """On a strip; with half of it it does not."""
    facts = find_architecture(f"{family}:resnet34")
    margin, step = facts.margin, facts.divisor
    assert margin is not None
    torch.manual_seed(0)
    network = build_network(f"{family}:resnet34", in_channels=1, classes=1).eval().double()
    spread(network)
    whole = torch.rand(1, 1, 64, 2 * margin + 3 * step, dtype=torch.double)
    with torch.inference_mode():
        expected = network(whole)[..., margin + step : margin + 2 * step]
        tile = network(whole[..., step:-step])[..., margin : margin + step]
        cut = margin // 2 // step * step
        less = network(whole[..., step + cut : -step - cut])[..., margin - cut : margin - cut + step]
    assert torch.allclose(tile, expected, rtol=1e-12, atol=1e-12)
    assert not torch.equal(less, expected)


def spread(network: nn.Module) -> None:
    """Positive weights, so that nothing cancels and no ReLU cuts what is seen."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.constant_(module.weight, 2 / module.weight[0].numel())


@pytest.mark.parametrize("family", SMP)
def test_declared_margins_are_the_probed_ones(family: str) -> None:
    facts = find_architecture(f"{family}:resnet34")
    if facts.margin is not None and family != "segformer":
        pytest.skip("probed by hand: 20 s; its tiles are compared above")
    network = build_network(f"{family}:resnet34", in_channels=1, classes=1)
    assert probe_margin(network, 1, facts.divisor, min_size=facts.min_size) == facts.margin


@pytest.mark.parametrize("family", SMP)
def test_a_batch_of_one_trains_at_the_smallest_size(family: str) -> None:
    torch.manual_seed(0)
    side = find_architecture(f"{family}:resnet18").min_size
    network = build_network(f"{family}:resnet18", in_channels=2, classes=3).train()
    torch.autograd.backward(network(torch.randn(1, 2, side, side)).square().mean())
    assert all(one.grad is None or one.grad.isfinite().all() for one in network.parameters())


def test_other_batches_and_evaluation_are_those_of_batch_norm() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.BatchNorm2d(3, eps=0.01, momentum=0.3))
    for one in plain.parameters():
        nn.init.normal_(one)
    ours = allow_single_values(nn.Sequential(nn.BatchNorm2d(3, eps=0.01, momentum=0.3)))
    assert isinstance(ours[0], SingleValueBatchNorm2d)  # type: ignore[index]
    ours.load_state_dict(plain.state_dict())
    for shape in ((2, 3, 1, 1), (1, 3, 2, 1)):
        pixels = torch.randn(shape)
        assert torch.equal(plain(pixels), ours(pixels))
    before = {name: one.clone() for name, one in ours.state_dict().items()}
    single = torch.randn(1, 3, 1, 1)
    trained = ours(single)
    assert all(torch.equal(before[name], one) for name, one in ours.state_dict().items())
    assert torch.equal(trained, ours.eval()(single))
    assert torch.equal(ours(single), plain.eval()(single))


def test_weights_of_the_library_fit_and_give_its_logits_but_for_the_anchor_of_upsampling() -> None:
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    theirs = smp.DeepLabV3Plus("resnet18", encoder_weights=None, in_channels=3, classes=2).eval()
    ours = build_network("deeplabv3plus:resnet18", in_channels=3, classes=2).eval()
    ours.load_state_dict(theirs.state_dict())
    pixels = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert not torch.equal(ours(pixels), theirs(pixels))
        for module in theirs.modules():
            if isinstance(module, nn.Upsample):
                module.align_corners = False
        assert torch.equal(ours(pixels), theirs(pixels))


def test_a_network_anchored_at_the_corners_of_its_tile_is_global() -> None:
    """A pixel of a doubled row is taken from another place when the row is longer."""
    for corners, margin in ((True, None), (False, 2)):
        doubling = nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=corners))
        assert probe_margin(doubling, 1, 2) == margin


@pytest.mark.parametrize("name", ["upernet:tu-swin_tiny_patch4_window7_224", "dpt:tu-vit_tiny_patch16_224"])
def test_encoders_made_for_one_size_take_others(name: str) -> None:
    network = build_network(name, in_channels=4, classes=2).eval()
    with torch.inference_mode():
        for height, width in ((64, 96), (256, 224)):
            assert network(torch.zeros(1, 4, height, width)).shape == (1, 2, height, width)


ALLOWED = ("Apache-2.0", "MIT", "BSD-3-Clause")


def test_every_entry_has_a_free_licence_a_source_and_sizes_that_agree() -> None:
    names = [(one.name, bool(one.encoders)) for one in list_architectures()]
    assert len(set(names)) == len(names)
    for one in list_architectures():
        assert re.split("[ ;]", one.licence)[0] in ALLOWED, one.name
        assert one.source, one.name
        assert one.title, one.name
        assert one.min_size % one.divisor == 0, one.name
        assert one.margin is None or one.margin % one.divisor == 0, one.name
        assert one.default_encoder is None or one.encoders, one.name


@pytest.mark.parametrize("encoder", ["mit_b0", "mit_b5", "mobileone_s0", "mobileone_s4"])
@pytest.mark.parametrize("family", ["unet", "segformer", "deeplabv3plus"])
def test_encoders_that_are_not_free_are_refused(family: str, encoder: str) -> None:
    with pytest.raises(SettingsError, match=f"encoder '{encoder}' is refused: smp's"):
        build_network(f"{family}:{encoder}", in_channels=3, classes=2)
