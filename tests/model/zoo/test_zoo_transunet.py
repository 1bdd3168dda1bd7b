"""TransUNet: published counts, what is skipped to the decoder, positions for other sizes, training."""

import pytest
import torch
from torch import nn

from geoseg.errors import SettingsError
from geoseg.model.registry import build_network, find_architecture
from geoseg.model.zoo.transunet import TransUNet
from tests.model.zoo.attention_checks import changed_rows, check_any_size, check_sizes, check_training_step, count
from tests.model.zoo.attention_checks import overfit as fitted


@pytest.mark.parametrize(
    ("name", "classes", "options", "parameters"),
    [
        ("transunet", 9, {}, 105_277_081),
        ("transunet", 2, {"image_size": 512}, 105_911_970),
        ("transunet_vit", 9, {}, 91_674_201),
    ],
)
def test_counts_are_the_published_ones(name: str, classes: int, options: dict[str, int], parameters: int) -> None:
    assert count(lambda: build_network(name, in_channels=3, classes=classes, options=options)) == parameters


def small(*, hybrid: bool = True, in_channels: int = 3, classes: int = 3) -> TransUNet:
    return TransUNet(in_channels=in_channels, classes=classes, hybrid=hybrid, image_size=64, width=64, depth=2)


def test_levels_have_the_strides_and_channels_of_the_paper() -> None:
    with torch.inference_mode():
        levels = small().eval().skips(torch.zeros(1, 3, 64, 96))
        assert small(hybrid=False).skips(torch.zeros(1, 3, 64, 96)) == []
    assert [tuple(one.shape[1:]) for one in levels] == [(64, 32, 48), (256, 16, 24), (512, 8, 12), (1024, 4, 6)]
    network = small()
    inputs = [one[0][0].in_channels for one in network.decoder]  # type: ignore[index]
    assert inputs == [512 + 512, 256 + 256, 128 + 64, 64]
    assert [one[0][0].in_channels for one in small(hybrid=False).decoder] == [512, 256, 128, 64]  # type: ignore[index]
    kernels = [one for one in network.modules() if isinstance(one, nn.Conv2d) and one.kernel_size == (7, 7)]
    assert [one.stride for one in kernels] == [(2, 2)]


@pytest.mark.parametrize("name", ["transunet", "transunet_vit"])
def test_sizes_and_bands(name: str) -> None:
    for bands, classes in ((1, 1), (13, 21)):
        network = small(hybrid=name == "transunet", in_channels=bands, classes=classes)
        check_sizes(network, name=name, in_channels=bands, classes=classes)
    check_any_size(name, {"width": 64, "depth": 1})


@pytest.mark.parametrize("hybrid", [True, False])
def test_positions_are_interpolated(hybrid: bool) -> None:
    """One position for all: a constant image is constant away from the edges, whatever its size."""
    torch.manual_seed(0)
    network = small(hybrid=hybrid).eval()
    with torch.no_grad():
        network.transformer.pos_embed.copy_(torch.randn(1, 1, 64).expand(1, 16, 64))
    seen = []
    network.transformer.blocks[0].register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    with torch.inference_mode():
        network(torch.zeros(1, 3, 64, 64))
        network(torch.zeros(1, 3, 128, 64))
    assert [one.shape[1] for one in seen] == [16, 32]
    if not hybrid:
        assert torch.allclose(seen[0][0, 0].expand(32, 64), seen[1][0], atol=1e-5)


def test_every_pixel_sees_the_whole_tile() -> None:
    assert find_architecture("transunet").is_global
    torch.manual_seed(0)
    assert changed_rows(small().double(), torch.randn(1, 3, 32, 256, dtype=torch.double), 3, 4)[:, -1].all()


@pytest.mark.parametrize("hybrid", [True, False])
def test_a_step_at_batch_one_reaches_every_parameter(hybrid: bool) -> None:
    torch.manual_seed(0)
    check_training_step(small(hybrid=hybrid, in_channels=4), torch.randn(1, 4, 48, 64), 3)


@pytest.mark.parametrize(
    ("hybrid", "steps", "border"), [pytest.param(True, 30, 1, marks=pytest.mark.long), (False, 50, 2)]
)
def test_it_learns_two_images_by_heart(hybrid: bool, steps: int, border: int) -> None:
    torch.manual_seed(0)
    assert fitted(small(hybrid=hybrid), steps=steps, rate=1e-3, side=32, border=border) > 0.99


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 100}, "image_size is 100; it must be a multiple of 16"),
        ({"width": 100}, "width 100, depth 12: all are"),
        ({"n_skip": 3}, "n_skip"),
    ],
)
def test_unfit_options_are_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build_network("transunet", in_channels=3, classes=2, options=options)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_each_skipped_level_reaches_the_logits(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, pixels = small().eval(), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before, levels = network(pixels), network.skips(pixels)
        levels[level] = torch.zeros_like(levels[level])
        monkeypatch.setattr(network, "skips", lambda _pixels: levels)
        assert not torch.equal(network(pixels), before)
