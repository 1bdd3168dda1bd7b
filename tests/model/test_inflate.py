"""Weights of other bands and classes: the response is kept, a head is new only when asked, the checksum is first."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models.resnet import Bottleneck, ResNet

from geoseg.errors import BundleError
from geoseg.model.framed import Framed
from geoseg.model.inflate import inflate_conv
from geoseg.model.registry import create_model
from geoseg.model.weights import Weights

WEIGHT = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
UNET: dict[str, Any] = {"init_features": 4}


@given(bands=st.integers(1, 64))
def test_the_sum_over_the_bands_stays(bands: int) -> None:
    inflated = inflate_conv(WEIGHT, bands)
    assert inflated.shape == (8, bands, 3, 3)
    assert torch.allclose(inflated.sum(1), WEIGHT.sum(1))


@given(order=st.permutations(range(13)))
def test_red_green_and_blue_keep_their_share(order: list[int]) -> None:
    red, green, blue = order[:3]
    inflated = inflate_conv(WEIGHT, 13, (red, green, blue))
    assert torch.allclose(inflated.sum(1), WEIGHT.sum(1))
    assert torch.allclose(inflated[:, [red, green, blue]], WEIGHT * 3 / 13)
    others = [k for k in range(13) if k not in (red, green, blue)]
    assert torch.allclose(inflated[:, others], (WEIGHT.mean(1, keepdim=True) * 3 / 13).expand(-1, 10, -1, -1))


def test_equal_bands_get_the_grey_response() -> None:
    grey = torch.randn(2, 1, 9, 9, dtype=torch.float64)
    expected = torch.conv2d(grey.expand(-1, 3, -1, -1), WEIGHT)
    for bands, rgb in ((1, None), (2, None), (4, (2, 1, 0)), (6, None), (13, (3, 2, 1))):
        assert torch.allclose(torch.conv2d(grey.expand(-1, bands, -1, -1), inflate_conv(WEIGHT, bands, rgb)), expected)


def test_three_bands_in_another_order_are_the_same_network() -> None:
    pixels = torch.randn(1, 3, 9, 9, dtype=torch.float64)
    bgr = inflate_conv(WEIGHT, 3, (2, 1, 0))
    assert torch.allclose(torch.conv2d(pixels.flip(1), bgr), torch.conv2d(pixels, WEIGHT))
    assert torch.equal(inflate_conv(WEIGHT, 3), WEIGHT)


@pytest.mark.parametrize("rgb", [(0, 0, 1), (0, 1, 4), (-1, 0, 1)])
def test_impossible_positions_are_refused(rgb: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must be three different positions from 0 to 3"):
        inflate_conv(WEIGHT, 4, rgb)
    with pytest.raises(ValueError, match="these have 4"):
        inflate_conv(torch.zeros(1, 4, 1, 1), 5, (0, 1, 2))


def saved(network: Framed, folder: Path) -> Path:
    file = folder / "weights.safetensors"
    save_file(network.bare.state_dict(), file)
    return file


def same_grey(three: Framed, many: Framed, bands: int) -> bool:
    grey = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        expected: Tensor = three.eval()(grey.expand(-1, 3, -1, -1))
        return torch.allclose(many.eval()(grey.expand(-1, bands, -1, -1)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options"), [("unet", UNET), ("bisenetv2", {"head_features": 8}), ("unet:resnet18", {}), ("fast_scnn", {})]
)
@pytest.mark.parametrize("bands", [1, 5])
def test_weights_of_three_bands_start_a_network_of_others(
    name: str, options: dict[str, Any], bands: int, tmp_path: Path
) -> None:
    three = create_model(name, in_channels=3, classes=2, options=options)
    many = create_model(name, in_channels=bands, classes=2, options=options, weights=saved(three, tmp_path))
    assert same_grey(three, many, bands)
    assert len(many.notes) == 1
    assert f"from 3 bands to {bands}" in many.notes[0]
    assert three.notes == ()


def test_the_bands_that_are_red_green_and_blue_are_said(tmp_path: Path) -> None:
    three = create_model("unet", in_channels=3, classes=2, options=UNET)
    weights = Weights(file=saved(three, tmp_path), rgb=(2, 1, 0))
    four = create_model("unet", in_channels=4, classes=2, options=UNET, weights=weights)
    name = "encoders.0.0.weight"
    kept, given = four.bare.state_dict()[name], three.bare.state_dict()[name]
    assert torch.allclose(kept[:, [2, 1, 0]], given * 3 / 4)
    with pytest.raises(BundleError, match=rf"{name} cannot be inflated from 3 bands to 2: rgb \(2, 1, 0\) must be"):
        create_model("unet", in_channels=2, classes=2, options=UNET, weights=weights)


def test_layers_that_see_bands_beside_features_cannot_be_inflated(tmp_path: Path) -> None:
    file = saved(create_model("espnet", in_channels=3, classes=2, options={"q": 1}), tmp_path)
    with pytest.raises(BundleError, match="does not fit the architecture it is for: size mismatch"):
        create_model("espnet", in_channels=4, classes=2, options={"q": 1}, weights=file)


@pytest.mark.parametrize(("name", "options"), [("unet", UNET), ("espnet", {"q": 1}), ("fpn:resnet18", {})])
def test_other_classes_are_refused_or_get_a_new_head(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    old = create_model(name, in_channels=3, classes=6, options=options)
    file = saved(old, tmp_path)
    with pytest.raises(BundleError, match=r"is for other classes: .* has 6 where the network has 9; ask for as many"):
        create_model(name, in_channels=3, classes=9, options=options, weights=file)
    torch.manual_seed(5)
    unlearnt = create_model(name, in_channels=3, classes=9, options=options)
    torch.manual_seed(5)
    new = create_model(name, in_channels=3, classes=9, options=options, weights=Weights(file=file, head="new"))
    assert new.notes[0].startswith("new head: ")
    before, after, fresh = (one.bare.state_dict() for one in (old, new, unlearnt))
    for key, value in after.items():
        expected = fresh if key in new.notes[0].removeprefix("new head: ").split(", ") else before
        assert torch.equal(value, expected[key]), key


def test_a_new_head_is_new_for_as_many_classes_too(tmp_path: Path) -> None:
    old = create_model("unet", in_channels=3, classes=4, options=UNET)
    weights = Weights(file=saved(old, tmp_path), head="new")
    new = create_model("unet", in_channels=3, classes=4, options=UNET, weights=weights)
    assert new.notes == ("new head: head.bias, head.weight",)
    assert not torch.equal(new.bare.state_dict()["head.weight"], old.bare.state_dict()["head.weight"])


def test_bands_and_classes_may_both_be_others(tmp_path: Path) -> None:
    file = saved(create_model("unet", in_channels=3, classes=4, options=UNET), tmp_path)
    weights = Weights(file=file, head="new")
    assert len(create_model("unet", in_channels=7, classes=2, options=UNET, weights=weights).notes) == 2


def test_another_network_is_still_refused(tmp_path: Path) -> None:
    file = saved(create_model("unet", in_channels=3, classes=4, options={"init_features": 8}), tmp_path)
    with pytest.raises(BundleError, match="does not fit the architecture"):
        create_model("unet", in_channels=3, classes=4, options=UNET, weights=Weights(file=file, head="new"))


def test_a_wrong_checksum_stops_before_anything_is_loaded(tmp_path: Path) -> None:
    file = saved(create_model("unet", in_channels=3, classes=4, options=UNET), tmp_path)
    right = hashlib.sha256(file.read_bytes()).hexdigest()
    create_model("unet", in_channels=3, classes=4, options=UNET, weights=Weights(file=file, sha256=right.upper()))
    with pytest.raises(BundleError, match=f"has sha256 {right}, not {'0' * 64}: fetch the file again"):
        create_model("unet", in_channels=3, classes=4, options=UNET, weights=Weights(file=file, sha256="0" * 64))
    file.write_bytes(b"no weights at all")
    with pytest.raises(BundleError, match="has sha256"):
        create_model("unet", in_channels=3, classes=4, options=UNET, weights=Weights(file=file, sha256=right))
    with pytest.raises(BundleError, match="holds no readable weights"):
        create_model(
            "unet", in_channels=3, classes=4, options=UNET, weights=Weights(file=tmp_path / "no.pt", sha256=right)
        )


@pytest.mark.parametrize("name", ["deeplabv2:resnet14", "gscnn:resnet14", "fastfcn:resnet14"])
def test_an_encoder_alone_is_taken_and_the_rest_stays_as_it_was_drawn(name: str, tmp_path: Path) -> None:
    """A ResNet as torchvision stores it; blue, green and red are the bands 0, 1 and 3 of four."""
    theirs = ResNet(Bottleneck, [1, 1, 1, 1])
    save_file(theirs.state_dict(), tmp_path / "resnet.safetensors")
    torch.manual_seed(5)
    drawn = create_model(name, in_channels=4, classes=2).bare.state_dict()
    torch.manual_seed(5)
    weights = Weights(file=tmp_path / "resnet.safetensors", part="encoder", rgb=(3, 1, 0))
    network = create_model(name, in_channels=4, classes=2, weights=weights)
    assert network.notes == ("encoder from resnet.safetensors; the rest is not trained yet",)
    state: dict[str, torch.Tensor] = network.bare.state_dict()
    (first,) = (one for key, one in state.items() if key.endswith("conv1.weight") and one.shape[1:] == (4, 7, 7))
    torch.testing.assert_close(first[:, [3, 1, 0]], theirs.conv1.weight * 3 / 4)
    taken = {
        key: own
        for key, one in state.items()
        for own, value in theirs.state_dict().items()
        if key.endswith(f".{own}") and one.shape == value.shape and torch.equal(one, value)
    }
    assert {"layer1.0.conv1.weight", "layer4.0.conv3.weight"} <= set(taken.values())
    changed = {key for key, one in state.items() if not torch.equal(one, drawn[key])}
    assert all(key.startswith("trunk.") for key in changed)


def test_an_encoder_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    save_file(ResNet(Bottleneck, [1, 1, 1, 1]).state_dict(), tmp_path / "r.safetensors")
    weights = Weights(file=tmp_path / "r.safetensors", part="encoder")
    with pytest.raises(BundleError, match=r"unet takes no weights of an encoder alone: .*\(part: network\)"):
        create_model("unet", in_channels=3, classes=2, options=UNET, weights=weights)
    with pytest.raises(BundleError, match=r"r\.safetensors is no encoder of fcn8s:vgg11: ") as caught:
        create_model("fcn8s:vgg11", in_channels=3, classes=2, options={"width": 1 / 16}, weights=weights)
    assert "\n" not in str(caught.value)
    wrong = Weights(file=tmp_path / "r.safetensors", part="encoder", rgb=(0, 1, 9))
    with pytest.raises(BundleError, match=r"is no encoder of deeplabv2:resnet14: rgb \(0, 1, 9\) must be"):
        create_model("deeplabv2:resnet14", in_channels=4, classes=2, weights=wrong)
