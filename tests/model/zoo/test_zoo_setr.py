"""SETR: published counts, what the heads look at, positions for other sizes, training with and without auxiliary."""

from typing import Any, cast

import pytest
import torch
from torch import nn

from geoseg.errors import SettingsError
from geoseg.model.registry import build_network, find_architecture
from geoseg.model.zoo.setr import SETR
from tests.model.zoo.attention_checks import changed_rows, check_any_size, check_sizes, check_training_step, count
from tests.model.zoo.attention_checks import overfit as fitted

TINY = "tu-vit_tiny_patch16_224"
HEADS = ("naive", "pup", "mla")


@pytest.mark.parametrize(
    ("head", "options", "parameters"),
    [
        ("naive", {}, 305_728_019),
        ("pup", {}, 309_596_947),
        ("mla", {"lean": True}, 310_658_579),
        ("naive", {"lean": True, "aux": True}, 306_535_500),
        ("pup", {"lean": True, "aux": True}, 318_466_124),
        ("mla", {"lean": True, "aux": True}, 310_678_111),
        # A position of the class token, and biases before BatchNorm: four of 256 twice, eight of 128.
        ("mla", {}, 310_658_579 + 1024 + 2 * 4 * 256 + 8 * 128),
    ],
)
def test_counts_are_those_of_the_two_reference_implementations(
    head: str, options: dict[str, object], parameters: int
) -> None:
    assert count(lambda: build_network(f"setr_{head}", in_channels=3, classes=19, options=options)) == parameters


def tiny(head: str, *, aux: bool = False, in_channels: int = 3, classes: int = 3) -> SETR:
    return SETR(in_channels=in_channels, classes=classes, head=head, encoder=TINY, image_size=64, aux=aux)


def convolutions(module: nn.Module) -> list[tuple[int, int, int]]:
    return [
        (one.in_channels, one.out_channels, one.kernel_size[0])
        for one in module.modules()
        if isinstance(one, nn.Conv2d)
    ]


def test_heads_have_the_layers_of_the_paper() -> None:
    assert convolutions(tiny("naive").head) == [(192, 256, 1), (256, 3, 1)]
    assert convolutions(tiny("pup").head) == [(192, 256, 3), *[(256, 256, 3)] * 3, (256, 3, 1)]
    mla = convolutions(tiny("mla").head)
    assert sorted(mla) == sorted([(192, 256, 1), (256, 256, 3), (256, 128, 3), (128, 128, 3)] * 4 + [(512, 3, 1)])
    assert SETR(in_channels=1, classes=1, head="naive", encoder=TINY, image_size=32).levels == [4, 7, 9, 11]
    with torch.device("meta"):
        assert SETR(in_channels=1, classes=1, head="naive").levels == [9, 14, 19, 23]
        assert SETR(in_channels=1, classes=1, head="mla").levels == [5, 11, 17, 23]


@pytest.mark.parametrize(("head", "stride"), [("naive", 16), ("pup", 1), ("mla", 4)])
def test_the_coarse_output_is_that_of_the_paper(head: str, stride: int) -> None:
    with torch.inference_mode():
        assert tiny(head).eval().coarse(torch.zeros(1, 3, 64, 96)).shape == (1, 3, 64 // stride, 96 // stride)


@pytest.mark.parametrize("head", HEADS)
def test_sizes_and_bands(head: str) -> None:
    for bands, classes in ((1, 1), (13, 21)):
        network = tiny(head, in_channels=bands, classes=classes)
        check_sizes(network, name=f"setr_{head}:{TINY}", in_channels=bands, classes=classes)
    check_any_size(f"setr_{head}:{TINY}", {"image_size": 64})
    assert find_architecture(f"setr_{head}") == find_architecture(f"setr_{head}:{TINY}")


def test_a_larger_tile_gets_interpolated_positions() -> None:
    """Doubling the tile of a constant image doubles the map of what positions alone say."""
    torch.manual_seed(0)
    network = tiny("naive").eval()
    grid = torch.linspace(-1, 1, 4)
    with torch.no_grad():
        network.encoder.pos_embed.zero_()
        network.encoder.pos_embed[:, 1:, 0] = grid.repeat_interleave(4)  # a ramp along rows
    seen = []
    network.encoder.blocks[0].register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    with torch.inference_mode():
        network(torch.zeros(1, 3, 64, 64))
        network(torch.zeros(1, 3, 128, 192))
    bias = float(network.encoder.patch_embed.proj.bias[0].detach())
    small, large = (one[0, 1:, 0] - bias for one in seen)
    assert torch.allclose(small.reshape(4, 4), grid[:, None].expand(4, 4), atol=1e-6)
    rows = large.reshape(8, 12)
    assert torch.allclose(rows, rows[:, :1].expand(8, 12), atol=1e-5)
    assert bool((rows[1:, 0] > rows[:-1, 0]).all())
    assert float(rows.mean()) == pytest.approx(0, abs=1e-5)


def test_every_pixel_sees_the_whole_tile() -> None:
    assert find_architecture("setr_pup").is_global
    torch.manual_seed(0)
    assert changed_rows(tiny("mla").double(), torch.randn(1, 3, 32, 256, dtype=torch.double), 3, 4)[:, -1].all()


@pytest.mark.parametrize("head", HEADS)
def test_a_step_at_batch_one_reaches_every_parameter(head: str) -> None:
    torch.manual_seed(0)
    check_training_step(tiny(head), torch.randn(1, 3, 48, 64), 3)


@pytest.mark.parametrize(
    ("head", "names"),
    [
        ("naive", {"aux5", "aux8", "aux10"}),
        ("pup", {"aux5", "aux8", "aux10"}),
        ("mla", {"aux3", "aux6", "aux9", "aux12"}),
    ],
)
def test_auxiliary_outputs_are_named_by_their_block_and_do_not_touch_the_logits(head: str, names: set[str]) -> None:
    torch.manual_seed(0)
    network, pixels = tiny(head, aux=True).eval(), torch.randn(2, 3, 32, 48)
    outputs = network.forward_train(pixels)
    assert set(outputs) == {"out"} | names
    assert {one.shape for one in outputs.values()} == {(2, 3, 32, 48)}
    assert torch.equal(outputs["out"], network(pixels))
    bare = tiny(head).eval()
    assert set(bare.forward_train(pixels)) == {"out"}
    bare.load_state_dict({name: one for name, one in network.state_dict().items() if not name.startswith("aux.")})
    assert torch.equal(bare(pixels), outputs["out"])
    torch.autograd.backward(sum((one.square().mean() for one in outputs.values()), torch.zeros(())))
    assert all(one.grad is not None for one in network.parameters())


@pytest.mark.parametrize(
    ("head", "steps", "side", "rate", "border"),
    [
        ("naive", 35, 64, 1e-3, 5),
        pytest.param("pup", 50, 32, 3e-4, 0, marks=pytest.mark.long),
        pytest.param("mla", 35, 64, 1e-3, 2, marks=pytest.mark.long),
    ],
)
def test_it_learns_two_images_by_heart(head: str, steps: int, side: int, rate: float, border: int) -> None:
    torch.manual_seed(0)
    assert fitted(tiny(head), steps=steps, rate=rate, side=side, border=border) > 0.99


def test_unfit_options_are_one_line() -> None:
    with pytest.raises(SettingsError, match=r"image_size 100: .* multiple of 16"):
        build_network("setr_pup", in_channels=3, classes=2, options={"image_size": 100})
    with pytest.raises(SettingsError, match="encoder of setr_pup 'tu-resnet18' is not known"):
        build_network("setr_pup:tu-resnet18", in_channels=3, classes=2)
    with pytest.raises(ValueError, match="head is 'pop'; it must be one of naive, pup, mla"):
        SETR(in_channels=3, classes=2, head="pop")


def test_levels_of_mla_see_what_is_deeper_and_nothing_shallower() -> None:
    torch.manual_seed(0)
    head = cast(Any, tiny("mla").eval().head)
    features = [torch.randn(1, 192, 2, 2) for _ in range(4)]
    with torch.inference_mode():
        before = head.aggregate(features)
        for changed in range(4):
            other = list(features)
            other[changed] = torch.randn(1, 192, 2, 2)
            after = head.aggregate(other)
            moved = [not torch.equal(one[0], two[0]) for one, two in zip(before, after, strict=True)]
            assert moved == [level <= changed for level in range(4)]
