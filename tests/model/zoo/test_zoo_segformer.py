"""SegFormer: published counts, the wiring of an independent implementation, any size, training."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from geoseg.errors import SettingsError
from geoseg.model.registry import build_network, find_architecture
from geoseg.model.zoo.drop_path import DropPath, growing_rates
from geoseg.model.zoo.segformer import SegFormer
from tests.model.zoo.attention_checks import changed_rows, check_any_size, check_sizes, check_training_step, count
from tests.model.zoo.attention_checks import overfit as fitted

COUNTS = {
    150: (3_752_694, 13_715_798, 27_461_974, 47_337_814, 64_108_374, 84_708_694),
    19: (3_719_027, 13_682_131, 27_361_235, 47_237_075, 64_007_635, 84_607_955),
}


@pytest.mark.parametrize("classes", [150, pytest.param(19, marks=pytest.mark.long)])
def test_counts_are_the_published_ones(classes: int) -> None:
    names = [f"segformer_b{size}" for size in range(6)]
    sizes = tuple(count(partial(build_network, name, in_channels=3, classes=classes)) for name in names)
    assert sizes == COUNTS[classes]


def test_a_band_and_a_class_cost_what_their_layers_say() -> None:
    base = count(lambda: SegFormer(in_channels=3, classes=2, size="b0"))
    assert count(lambda: SegFormer(in_channels=4, classes=2, size="b0")) - base == 7 * 7 * 32
    assert count(lambda: SegFormer(in_channels=3, classes=3, size="b0")) - base == 256 + 1


def test_stages_have_the_strides_channels_and_blocks_of_the_paper() -> None:
    network = SegFormer(in_channels=1, classes=2, size="b2").eval()
    with torch.inference_mode():
        features = network.encoder(torch.zeros(1, 1, 64, 96))
        coarse = network.coarse(torch.zeros(1, 1, 64, 96))
    assert [tuple(one.shape[1:]) for one in features] == [(64, 16, 24), (128, 8, 12), (320, 4, 6), (512, 2, 3)]
    assert coarse.shape == (1, 2, 16, 24)
    depthwise = [one for one in network.modules() if isinstance(one, nn.Conv2d) and one.groups > 1]
    assert len(depthwise) == 3 + 4 + 6 + 3


def oracle(classes: int) -> nn.Module:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.SegformerConfig(num_channels=5, num_labels=classes)
    return transformers.SegformerForSemanticSegmentation(config).eval()  # type: ignore[no-any-return]


def names_of_ours(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The library's weights under our names."""
    ours: dict[str, Tensor] = {}
    words = (
        ("segformer.stages", "encoder.stages"),
        ("patch_embeddings.proj", "patch"),
        ("patch_embeddings.layer_norm", "patch_norm"),
        ("layernorm_before", "attention_norm"),
        ("layernorm_after", "mix_norm"),
        ("attention.q_proj", "attention.query"),
        ("attention.o_proj", "attention.out"),
        ("sequence_reduction.sequence_reduction", "reduce"),
        ("sequence_reduction.layer_norm", "reduce_norm"),
        ("mlp.fc1", "mix.expand"),
        ("mlp.dwconv.dwconv", "mix.depthwise"),
        ("mlp.fc2", "mix.reduce"),
        ("layer_norm", "norm"),
        ("decode_head.linear_fuse", "head.fuse.0"),
        ("decode_head.batch_norm", "head.fuse.1"),
        ("decode_head.classifier", "head.classify"),
    )
    for their_name, value in state.items():
        if "v_proj" in their_name:
            continue
        name, weight = their_name, value
        if "k_proj" in name:
            weight = torch.cat([value, state[name.replace("k_proj", "v_proj")]])
            name = name.replace("k_proj", "key_value")
        for theirs, here in words:
            name = name.replace(theirs, here)
        if "linear_projections" in name or "linear_c" in name:
            level, last = next(part for part in name.split(".") if part.isdigit()), name.rpartition(".")[2]
            name = f"head.levels.{level}.{last}"
            weight = weight[..., None, None] if last == "weight" else weight
        ours[name] = weight
    return ours


def test_with_the_same_weights_it_computes_what_transformers_computes() -> None:
    torch.manual_seed(1)
    theirs = oracle(4)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.get_buffer("running_mean").normal_()
        if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    ours = SegFormer(in_channels=5, classes=4, size="b0").eval()
    ours.load_state_dict(names_of_ours(theirs.state_dict()))
    pixels = torch.randn(2, 5, 64, 96)
    with torch.inference_mode():
        expected, found = theirs(pixel_values=pixels).logits, ours.coarse(pixels)
    assert float(expected.std()) > 0.1
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_sizes_and_bands() -> None:
    for bands, classes in ((1, 1), (4, 2), (13, 21)):
        network = build_network("segformer_b0", in_channels=bands, classes=classes)
        check_sizes(network, name="segformer_b0", in_channels=bands, classes=classes)
    check_any_size("segformer_b0", {})


def test_every_pixel_sees_the_whole_tile() -> None:
    assert find_architecture("segformer_b0").is_global
    torch.manual_seed(0)
    network = SegFormer(in_channels=1, classes=2, size="b0").double()
    assert changed_rows(network, torch.randn(1, 1, 64, 256, dtype=torch.double), 3, 4)[:, -1].all()


def test_a_step_at_batch_one_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    check_training_step(SegFormer(in_channels=4, classes=3, size="b0"), torch.randn(1, 4, 64, 64), 3)


def test_it_learns_one_batch_by_heart() -> None:
    torch.manual_seed(0)
    assert fitted(SegFormer(in_channels=3, classes=3, size="b0", drop_path=0, dropout=0), steps=50) > 0.99


def test_the_seed_gives_the_weights_and_the_mode_gives_the_noise() -> None:
    made = []
    for _ in range(2):
        torch.manual_seed(7)
        made.append(SegFormer(in_channels=3, classes=2, size="b0"))
    assert all(torch.equal(one, two) for one, two in zip(made[0].parameters(), made[1].parameters(), strict=True))
    pixels = torch.randn(1, 3, 32, 32)
    made[0].eval()
    assert torch.equal(made[0](pixels), made[0](pixels))


def test_a_dropped_path_is_dropped_by_sample_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    dropped = DropPath(0.25).train()(torch.ones(4000, 2, 3))
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert bool((dropped == dropped[:, :1, :1]).all())
    assert float(dropped.mean()) == pytest.approx(1, abs=0.05)
    assert torch.equal(DropPath(0.25).eval()(torch.ones(5, 2)), torch.ones(5, 2))
    assert growing_rates(0.1, 3) == [0, 0.05, 0.1]
    assert growing_rates(0.1, 1) == [0]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"drop_path": 1}, r"drop_path 1 and dropout 0\.1 must lie in"), ({"widht": 3}, "widht")],
)
def test_unfit_options_are_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build_network("segformer_b0", in_channels=3, classes=2, options=options)
    with pytest.raises(ValueError, match="size is 'b6'; it must be one of b0, b1"):
        SegFormer(in_channels=3, classes=2, size="b6")
