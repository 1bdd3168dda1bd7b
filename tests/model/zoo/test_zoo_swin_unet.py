"""Swin-Unet: published counts, timm's encoder as the oracle, attention by brute force, padding that nobody sees."""

import math

import pytest
import torch
from torch import Tensor, nn

from geoseg.errors import SettingsError
from geoseg.model.registry import build_network, find_architecture
from geoseg.model.zoo.swin_unet import SwinUnet, _WindowAttention
from tests.model.zoo.attention_checks import changed_rows, check_any_size, check_sizes, check_training_step, count
from tests.model.zoo.attention_checks import overfit as fitted


@pytest.mark.parametrize(
    ("classes", "options", "parameters"),
    [(9, {}, 27_168_900), (4, {}, 27_168_420), (9, {"depths": [2, 2, 6, 2]}, 41_380_836)],
)
def test_counts_are_the_published_ones(classes: int, options: dict[str, object], parameters: int) -> None:
    assert count(lambda: build_network("swin_unet", in_channels=3, classes=classes, options=options)) == parameters


def small(in_channels: int = 3, classes: int = 3) -> SwinUnet:
    return SwinUnet(in_channels=in_channels, classes=classes, width=32, depths=(2, 2, 2, 2), drop_path=0)


def test_levels_have_the_strides_and_channels_of_the_paper() -> None:
    with torch.inference_mode():
        levels = small().eval().encode(torch.zeros(1, 3, 64, 96))
    assert [tuple(one.shape[1:]) for one in levels] == [(16, 24, 32), (8, 12, 64), (4, 6, 128), (2, 3, 256)]


def names_of_ours(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm's weights under our names."""
    ours: dict[str, Tensor] = {}
    words = (
        ("patch_embed.proj", "patch"),
        ("patch_embed.norm", "patch_norm"),
        ("relative_position_bias_table", "bias"),
        ("norm1", "attention_norm"),
        ("norm2", "mlp_norm"),
        ("attn.qkv", "attention.query_key_value"),
        ("attn.proj", "attention.out"),
        ("attn.bias", "attention.bias"),
        ("fc1", "0"),
        ("fc2", "2"),
        ("blocks.", ""),
        ("reduction", "reduce"),
        ("layers.", "encoder."),
    )
    for their_name, value in state.items():
        name = their_name
        for theirs, here in words:
            name = name.replace(theirs, here)
        if "downsample" in name:
            level, rest = int(name.split(".")[1]), name.partition("downsample.")[2]
            name = f"mergers.{level - 1}.{rest}"
        ours[name] = value
    return ours


def test_at_224_the_encoder_computes_what_timm_computes() -> None:
    swin = pytest.importorskip("timm.models.swin_transformer")
    torch.manual_seed(0)
    heads = (1, 2, 4, 8)
    theirs = swin.SwinTransformer(img_size=224, embed_dim=32, num_heads=heads, depths=(2,) * 4, num_classes=0).eval()
    for name, one in theirs.named_parameters():
        if "norm" in name or "bias" in name:
            nn.init.normal_(one)
    ours = small().eval()
    missing, unexpected = ours.load_state_dict(names_of_ours(theirs.state_dict()), strict=False)
    assert unexpected == []
    assert not any(name.startswith(("patch", "encoder", "mergers", "norm")) for name in missing)
    pixels = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        expected, found = theirs.forward_features(pixels), ours.norm(ours.encode(pixels)[-1])
    assert float(expected.std()) > 0.1
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)


def by_brute_force(attention: _WindowAttention, value: Tensor) -> Tensor:
    """Each place asks the places of its window, one by one. `value` (rows, cols, channels)."""
    rows, cols, channels = value.shape
    shifts = [3 if attention.shifted and side > 7 else 0 for side in (rows, cols)]
    query, key, content = attention.query_key_value(value).reshape(rows, cols, 3, attention.heads, 32).unbind(2)
    mixed = torch.zeros(rows, cols, attention.heads, 32, dtype=value.dtype)
    places = [(row, col) for row in range(rows) for col in range(cols)]

    def window(row: int, col: int) -> tuple[int, int]:
        return math.floor((row - shifts[0]) / 7), math.floor((col - shifts[1]) / 7)

    for row, col in places:
        mates = [place for place in places if window(*place) == window(row, col)]
        bias = torch.stack([attention.bias[(row - r + 6) * 13 + (col - c + 6)] for r, c in mates])
        asked = torch.stack([(query[row, col] * key[r, c]).sum(-1) for r, c in mates]) / math.sqrt(32)
        weights = torch.softmax(asked + bias, dim=0)
        mixed[row, col] = sum(w[:, None] * content[r, c] for w, (r, c) in zip(weights, mates, strict=True))
    return attention.out(mixed.reshape(rows, cols, channels))  # type: ignore[no-any-return]


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("rows", "cols"), [(7, 14), (8, 16), (2, 9), (13, 5)])
def test_windows_are_those_of_a_brute_force_and_padding_is_not_seen(shifted: bool, rows: int, cols: int) -> None:
    torch.manual_seed(rows)
    attention = _WindowAttention(64, shifted=shifted).double().eval()
    nn.init.normal_(attention.bias)
    value = torch.randn(rows, cols, 64, dtype=torch.double)
    with torch.no_grad():
        assert torch.allclose(attention(value[None])[0], by_brute_force(attention, value), atol=1e-12)


def test_sizes_and_bands() -> None:
    for bands, classes in ((1, 1), (4, 2), (13, 21)):
        check_sizes(small(bands, classes), name="swin_unet", in_channels=bands, classes=classes)
    check_any_size("swin_unet", {"width": 32})


def test_it_is_declared_to_depend_on_the_tile() -> None:
    """Windows are laid from the tile's corner: a pixel far away moves nothing, but a moved tile moves the windows."""
    assert find_architecture("swin_unet").is_global
    torch.manual_seed(0)
    network, pixels = small().double().eval(), torch.randn(1, 3, 64, 448, dtype=torch.double)
    assert changed_rows(network, pixels, 3, 4)[:, 64:160].any()
    with torch.inference_mode():
        whole, tile = network(pixels), network(pixels[..., 32:])
    assert not torch.allclose(whole[..., 232:236], tile[..., 200:204], atol=1e-6)


def test_a_step_at_batch_one_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    check_training_step(small(4), torch.randn(1, 4, 64, 96), 3)


def test_it_learns_two_images_by_heart() -> None:
    torch.manual_seed(0)
    assert fitted(small(), steps=60) > 0.99


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 40}, "width 40, drop_path"),
        ({"depths": [2, 2, 2]}, r"depths are \(2, 2, 2\); there must be four"),
        ({"drop_path": 1.5}, r"drop_path 1\.5: counts"),
    ],
)
def test_unfit_options_are_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build_network("swin_unet", in_channels=3, classes=2, options=options)
