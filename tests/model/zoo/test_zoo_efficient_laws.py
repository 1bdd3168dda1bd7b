"""The light networks: any bands, classes, batch and memory layout; same seed, same network; they learn."""

from typing import Any

import pytest
import torch

from geoseg.errors import SettingsError
from geoseg.model.margin import probe_margin
from geoseg.model.registry import build_network, create_model, find_architecture
from tests.model.zoo.network_laws import (
    all_outputs,
    on_meta,
    overfitted,
    tiling_difference,
    trained_briefly,
)

LIGHT: dict[str, dict[str, Any]] = {
    "bisenetv1": {},
    "bisenetv2": {"head_features": 32},
    "fast_scnn": {},
    "espnet": {"q": 3},
    "espnet_c": {"q": 3},
    "espnetv2": {"s": 0.5},
    "dfanet_a": {},
    "liteseg:mobilenet_v2": {},
    "liteseg:shufflenet_v2": {},
    "fc_densenet56": {"growth_rate": 4, "init_features": 8},
}
HAVE_AUX = ("bisenetv1", "bisenetv2", "fast_scnn", "espnetv2")
LOCAL = ("espnet", "espnet_c", "espnetv2")


def built(name: str, *, in_channels: int = 3, classes: int = 3, **options: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_network(name, in_channels=in_channels, classes=classes, options={**LIGHT[name], **options})


@pytest.mark.parametrize("name", LIGHT)
@pytest.mark.parametrize(("in_channels", "classes"), [(1, 1), (2, 2), (4, 21), (13, 3), (64, 6)])
def test_sizes_are_kept_for_any_bands_and_classes(name: str, in_channels: int, classes: int) -> None:
    facts = find_architecture(name)
    network = built(name, in_channels=in_channels, classes=classes).eval()
    side = facts.min_size
    with torch.inference_mode():
        for height, width in ((side, side), (side, side + facts.divisor)):
            assert network(torch.zeros(1, in_channels, height, width)).shape == (1, classes, height, width)


@pytest.mark.parametrize("name", LIGHT)
def test_an_image_of_any_size_is_framed(name: str) -> None:
    network = create_model(name, in_channels=2, classes=2, options=LIGHT[name]).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 2, 97, 131)).shape == (1, 2, 97, 131)


@pytest.mark.parametrize("name", LIGHT)
def test_one_sample_of_the_smallest_size_is_enough_to_train(name: str) -> None:
    side = find_architecture(name).min_size
    options = {"aux": True} if name in HAVE_AUX else {}
    losses = trained_briefly(built(name, classes=2, **options), torch.randn(1, 3, side, side), classes=2)
    assert all(0 < loss < 1e4 for loss in losses)


@pytest.mark.parametrize("name", HAVE_AUX)
def test_auxiliary_outputs_exist_only_where_asked_for(name: str) -> None:
    side = find_architecture(name).min_size
    pixels = torch.randn(2, 3, side, side)
    assert set(all_outputs(built(name), pixels)) == {"out"}
    network = built(name, aux=True)
    outputs = all_outputs(network, pixels)
    assert len(outputs) > 1
    assert all(key == "out" or key.startswith("aux") for key in outputs)
    assert all(value.shape == (2, 3, side, side) for value in outputs.values())
    network.eval()
    with torch.inference_mode():
        assert torch.equal(network(pixels), all_outputs(network, pixels)["out"])


@pytest.mark.parametrize("name", LIGHT)
def test_layout_and_seed_change_nothing(name: str) -> None:
    facts = find_architecture(name)
    pixels = torch.randn(1, 3, facts.min_size, facts.min_size)
    network, again = built(name).eval(), built(name).eval()
    with torch.inference_mode():
        expected = network(pixels)
        assert torch.equal(expected, again(pixels))
        last = again.to(memory_format=torch.channels_last)(pixels.to(memory_format=torch.channels_last))
        assert torch.allclose(last, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.isfinite(network(pixels)).all()


@pytest.mark.parametrize("name", LIGHT)
def test_no_weight_is_idle(name: str) -> None:
    """Every parameter gets a gradient, so nothing is built that is not wired."""
    side = find_architecture(name).min_size
    options = {"aux": True} if name in HAVE_AUX else {}
    network = built(name, **options)
    outputs = all_outputs(network, torch.randn(2, 3, side, side))
    sum((one.square().mean() for one in outputs.values()), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
    assert [key for key, one in network.named_parameters() if one.requires_grad and one.grad is None] == []


LEARNING = {
    "bisenetv1": (64, 28),
    "bisenetv2": (64, 30),
    "fast_scnn": (64, 30),
    "espnet": (64, 70),
    "espnet_c": (64, 20),
    "espnetv2": (128, 15),
    "dfanet_a": (128, 30),
    "liteseg:mobilenet_v2": (64, 25),
    "liteseg:shufflenet_v2": (64, 25),
}
"""Side of the image and steps."""
ONE_OF_EACH = ("bisenetv2", "fast_scnn", "espnet_c", "espnetv2", "dfanet_a", "liteseg:shufflenet_v2")
"""Of the families; the others learn in the long run."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in ONE_OF_EACH else pytest.mark.long) for name in LEARNING],
)
def test_it_learns_an_image(name: str) -> None:
    side, steps = LEARNING[name]
    assert overfitted(built(name, classes=2), in_channels=3, classes=2, side=side, steps=steps) > 0.99


@pytest.mark.parametrize("name", ["bisenetv1", "bisenetv2", "fast_scnn", "dfanet_a", "liteseg:shufflenet_v2"])
def test_pooling_makes_a_network_global(name: str) -> None:
    facts = find_architecture(name)
    assert facts.is_global
    assert probe_margin(built(name), 3, facts.divisor) is None


@pytest.mark.parametrize("name", LOCAL)
def test_the_margin_is_the_receptive_field(name: str) -> None:
    facts = find_architecture(name)
    full = {key: value for key, value in LIGHT[name].items() if key == "s"}
    network = build_network(name, in_channels=1, classes=1, options=full)
    assert probe_margin(network, 1, facts.divisor) == facts.margin


@pytest.mark.parametrize("name", LOCAL)
def test_tiles_equal_the_whole_image_beyond_the_margin(name: str) -> None:
    facts = find_architecture(name)
    assert facts.margin is not None
    network = built(name, in_channels=2)
    assert tiling_difference(network, 2, facts.divisor, facts.margin) < 1e-5
    assert tiling_difference(network, 2, facts.divisor, 0) > 1e-4


@pytest.mark.parametrize("name", LIGHT)
def test_numbers_below_one_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(SettingsError, match=f"architecture '{name}': classes is 0; it must be at least 1"):
        on_meta(name, classes=0)
    with pytest.raises(SettingsError, match=f"architecture '{name}': in_channels is -1"):
        on_meta(name, in_channels=-1, classes=2)


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"s is 3; it must be one of 0.5, 1.0, 1.25, 1.5, 2.0"):
        on_meta("espnetv2", classes=2, s=3)
