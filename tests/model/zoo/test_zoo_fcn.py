"""FCN over VGG: published and derived counts, alignment of every upsampling, tiles, a user's VGG weights."""

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from geoseg.errors import SettingsError
from geoseg.model.margin import probe_margin
from geoseg.model.registry import build_network, find_architecture
from geoseg.model.zoo.fcn import FCN
from geoseg.model.zoo.fcn_original import OriginalFCN

STRIDES = (32, 16, 8, 4, 2)
FEATURES = {"vgg11": 9_220_480, "vgg13": 9_404_992, "vgg16": 14_714_688, "vgg19": 20_024_384}
TUTORIAL = {
    ("vgg11", 21): (28_640_661, 28_314_510, 28_236_999, 28_220_304, 28_218_141),
    ("vgg11", 2): (28_115_330, 28_113_300, 28_113_062, 28_113_144, 28_113_242),
    ("vgg13", 21): (28_825_173, 28_499_022, 28_421_511, 28_404_816, 28_402_653),
    ("vgg16", 21): (34_134_869, 33_808_718, 33_731_207, 33_714_512, 33_712_349),
    ("vgg16", 2): (33_609_538, 33_607_508, 33_607_270, 33_607_352, 33_607_450),
    ("vgg16", 4): (33_630_020, 33_619_848, 33_617_868, 33_617_680, 33_617_812),
    ("vgg19", 21): (39_444_565, 39_118_414, 39_040_903, 39_024_208, 39_022_045),
}


def parameters(network: nn.Module) -> int:
    return sum(one.numel() for one in network.parameters())


def small(name: str, **options: object) -> Any:
    """With 1/16 of the channels and random scores, so that every branch is seen."""
    torch.manual_seed(3)
    network: Any = build_network(name, in_channels=2, classes=3, options={"width": 1 / 16, **options})
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.out_channels == 3:
            nn.init.normal_(module.weight)
    return network.eval()


@pytest.mark.parametrize(("encoder", "classes"), TUTORIAL)
def test_the_tutorial_wiring_has_the_published_counts(encoder: str, classes: int) -> None:
    options = {"variant": "tutorial"}
    with torch.device("meta"):
        counts = [
            parameters(build_network(f"fcn{stride}s:{encoder}", in_channels=3, classes=classes, options=options))
            for stride in STRIDES
        ]
    assert tuple(counts) == TUTORIAL[encoder, classes]


def own_count(encoder: str, stride: int, classes: int) -> int:
    """fc6 of 7 x 7, fc7, a score per level, and of each upsampling by s a kernel of (2 s)^2 between all classes."""
    skips = {32: [], 16: [512], 8: [512, 256], 4: [512, 256, 128], 2: [512, 256, 128, 64]}[stride]
    hidden = 49 * 512 * 4096 + 4096 + 4096 * 4096 + 4096
    scores = sum((channels + 1) * classes for channels in [4096, *skips])
    upsampling = classes**2 * (sum(4**2 for _ in skips) + (2 * stride) ** 2)
    return FEATURES[encoder] + hidden + scores + upsampling


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("encoder", FEATURES)
def test_the_papers_wiring_has_the_counts_of_its_layers(encoder: str, stride: int) -> None:
    with torch.device("meta"):
        network = build_network(f"fcn{stride}s:{encoder}", in_channels=3, classes=5)
    assert parameters(network) == own_count(encoder, stride, 5)


@pytest.mark.parametrize(
    ("stride", "count", "fixed"),
    [(32, 136_152_917, 1_806_336), (16, 134_815_994, 458_640), (8, 134_489_759, 127_008)],
)
def test_the_released_networks_have_the_published_counts(stride: int, count: int, fixed: int) -> None:
    with torch.device("meta"):
        network = build_network(f"fcn{stride}s_orig", in_channels=3, classes=21)
    assert parameters(network) == count
    assert sum(one.numel() for one in network.parameters() if not one.requires_grad) == fixed


def test_the_gmacs_are_the_measured_ones() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = build_network("fcn8s:vgg16", in_channels=3, classes=21, options={"variant": "tutorial"}).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, 512, 512))
    assert counter.get_total_flops() / 2e9 == pytest.approx(85.2, abs=0.05)


def averaging(network: Any) -> Any:
    """The network with weights that average and no bias: of an image that grows evenly it must give an image that
    grows evenly, at the same place, wherever no border is seen.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            module.bias = None
    for number, layer in enumerate(network.features):
        if isinstance(layer, nn.MaxPool2d):
            network.features[number] = nn.AvgPool2d(2, ceil_mode=layer.ceil_mode)
    return network.double()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(f"fcn{stride}s{kind}", marks=[] if stride == 8 else pytest.mark.long)
        for kind in ("", "_orig")
        for stride in (32, 16, 8)
    ],
)
def test_scores_of_all_levels_lie_where_the_pixels_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong crop, offset or order of upsampling (twice, add, then eight times) shifts or bends the ramp."""
    monkeypatch.setattr("geoseg.model.zoo.fcn.pooled", averaged)
    monkeypatch.setattr("geoseg.model.zoo.fcn_original.pooled", averaged)
    linear = averaging(small(name))
    side = 544
    ramp = torch.arange(1.0, side + 1)[None, None, None, :].expand(1, 2, side, side)
    for image in (ramp.double(), ramp.transpose(2, 3).double()):
        with torch.inference_mode():
            response = linear(image) / linear(torch.ones_like(image))
        middle = (..., slice(256, 288), slice(256, 288))
        torch.testing.assert_close(response[middle][:, 0], image[middle][:, 0], rtol=1e-9, atol=0)


def averaged(features: nn.Sequential, pixels: Tensor) -> list[Tensor]:
    """As `pooled`, for poolings that average."""
    levels = []
    for layer in features:
        pixels = layer(pixels)
        if isinstance(layer, nn.AvgPool2d):
            levels.append(pixels)
    return levels


def test_upsampling_starts_as_bilinear_interpolation() -> None:
    for stride in (2, 8):
        layer = FCN(in_channels=1, classes=2, stride=stride, width=1 / 64).upsamplers[-1]
        scores = torch.randn(1, 2, 6, 7)
        expected = nn.functional.interpolate(scores, scale_factor=stride, mode="bilinear", align_corners=False)
        inside = (..., slice(stride, -stride), slice(stride, -stride))
        torch.testing.assert_close(layer(scores)[inside], expected[inside], rtol=1e-5, atol=1e-5)


def test_evidence_against_a_class_reaches_the_logits() -> None:
    """No ReLU after scores."""
    network = small("fcn8s")
    nn.init.constant_(network.score.bias, -1e6)
    assert float(network(torch.randn(1, 2, 64, 64)).detach()[:, :, 16:-16, 16:-16].max()) < -1e4


@pytest.mark.parametrize("name", ["fcn8s", "fcn8s_orig"])
def test_skips_start_at_zero_and_learn(name: str) -> None:
    torch.manual_seed(0)
    network: Any = build_network(name, in_channels=2, classes=3, options={"width": 1 / 16}).train()
    assert all(not one.any() for skip in network.skips for one in skip.parameters())
    network(torch.randn(1, 2, 64, 64)).square().sum().backward()
    assert all(bool(skip.weight.grad.any()) for skip in network.skips)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (100, 100), (224, 224), (37, 301)])
def test_the_released_networks_take_any_size(height: int, width: int) -> None:
    for stride in (32, 16, 8):
        network = OriginalFCN(in_channels=1, classes=2, stride=stride, width=1 / 64).eval()
        with torch.inference_mode():
            assert network(torch.zeros(1, 1, height, width)).shape == (1, 2, height, width)


@pytest.mark.parametrize("stride", STRIDES)
def test_coarse_scores_have_the_stride_of_the_name(stride: int) -> None:
    network = small(f"fcn{stride}s")
    assert network.coarse(torch.zeros(1, 2, 64, 96)).shape == (1, 3, 64 // stride, 96 // stride)


NAMES = [*(f"fcn{stride}s" for stride in STRIDES), *(f"fcn{stride}s_orig" for stride in (32, 16, 8))]


@pytest.mark.parametrize("name", NAMES)
def test_tiles_equal_the_image_beyond_the_margin(name: str) -> None:
    facts: Any = find_architecture(name)
    network = small(name).double()
    assert probe_margin(network, 2, facts.divisor) == facts.margin
    for side in (facts.min_size, facts.min_size + facts.divisor):
        assert network(torch.zeros(1, 2, side, side).double()).shape[-2:] == (side, side)
    image = torch.randn(1, 2, 64, 768, generator=torch.Generator().manual_seed(1)).double()
    tile = slice(96, 96 + 576)
    inside = (..., slice(facts.margin, 576 - facts.margin))
    with torch.inference_mode():
        whole, alone = network(image)[..., tile], network(image[..., tile])
    assert float((whole[inside] - alone[inside]).abs().max()) <= 1e-9 * float(whole.abs().max())
    assert not torch.allclose(whole, alone)


def test_the_receptive_field_is_the_papers() -> None:
    """404 pixels of FCN-32s: 202 around the middle of a block of 32 is 186 beyond its ends; with 1 x 1, 212 and 90."""
    assert probe_margin(small("fcn32s"), 2, 32) == 192 + 32
    assert probe_margin(small("fcn32s", variant="tutorial"), 2, 32) == 96


@pytest.mark.parametrize("name", ["fcn8s_orig"])
def test_a_vgg_of_torchvision_is_loaded(name: str) -> None:
    """With its two hidden layers: at 224 x 224 fc7 in the middle is what the classifier computes."""
    torch.manual_seed(0)
    vgg = torchvision.models.vgg11(weights=None).eval()
    with torch.device("meta"):
        network: Any = build_network(f"{name}:vgg11", in_channels=3, classes=2)
    network = network.to_empty(device="cpu").eval()
    network.load_encoder(vgg.state_dict())
    features = torch.randn(1, 512, 7, 7)
    with torch.inference_mode():
        expected = vgg.classifier[:5](features.flatten(1))[0]
        deep = network.fc7(torch.relu(network.fc6(features)))
    found = torch.relu(deep[0, :, deep.shape[2] // 2, deep.shape[3] // 2])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    for mine, theirs in zip(network.features.parameters(), vgg.features.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_tutorial_takes_the_features_of_a_vgg_only() -> None:
    """Its fc6 of 1 x 1 has no place for the hidden layers."""
    options = {"variant": "tutorial"}
    network: Any = build_network("fcn32s:vgg11", in_channels=3, classes=2, options=options)
    state = {key: torch.ones(one.shape) for key, one in network.features.state_dict(prefix="features.").items()}
    with torch.device("meta"):
        hidden = {"classifier.0.weight": torch.zeros(4096, 25088), "classifier.3.weight": torch.zeros(4096, 4096)}
    network.load_encoder({**state, **hidden})
    assert all(bool((one == 1).all()) for one in network.features.parameters())
    assert not bool((network.fc6.weight == 1).any())


@pytest.mark.parametrize(
    ("name", "columns", "steps"), [("fcn2s", 21, 100), pytest.param("fcn8s_orig", 32, 60, marks=pytest.mark.long)]
)
def test_one_image_is_learnt(name: str, columns: int, steps: int) -> None:
    """Stripes; the released network trains its skips at 1e-4 of their scale, so it gets wide ones."""
    torch.manual_seed(0)
    network = build_network(f"{name}:vgg11", in_channels=4, classes=3, options={"width": 1 / 8}).train()
    pixels = torch.randn(1, 4, 64, 64)
    truth = (torch.arange(64) // columns).clamp(max=2).expand(1, 64, 64)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(pixels), truth).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.inference_mode():
        right = network.eval()(pixels).argmax(1) == truth
    assert float(right.float().mean()) > 0.99


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fcn8s", {"variant": "seed"}, "variant is 'seed'; it must be paper or tutorial"),
        ("fcn8s", {"width": 0.001}, "width is 0.001"),
        ("fcn8s:resnet18", {}, "encoder of fcn8s"),
    ],
)
def test_unfit_options_are_one_line(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build_network(name, in_channels=3, classes=2, options=options)
