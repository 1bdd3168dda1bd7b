"""UPerNet over plain transformers: the pyramid of the neck, counts by algebra, rotary and learned positions."""

import pytest
import torch

from geoseg.errors import SettingsError
from geoseg.model.registry import build_network, find_architecture
from geoseg.model.zoo.upernet_vit import UPerNetViT
from tests.model.zoo.attention_checks import changed_rows, check_any_size, check_sizes, check_training_step, count
from tests.model.zoo.attention_checks import overfit as fitted

TINY = "tu-vit_tiny_patch16_224"
SMALL = "tu-vit_small_patch16_dinov3"


def tiny(in_channels: int = 3, classes: int = 3) -> UPerNetViT:
    return UPerNetViT(in_channels=in_channels, classes=classes, encoder=TINY, width=32)


def test_the_count_is_that_of_its_parts() -> None:
    """ViT-S/16 without norm and classifier, the neck's transposed convolutions, the head written out."""
    c, w = 384, 256
    block = 2 * 2 * c + (3 * c * c + 3 * c) + (c * c + c) + 2 * (4 * c * c) + 4 * c + c
    encoder = 3 * 16 * 16 * c + c + c + 197 * c + 12 * block
    neck = 3 * (4 * c * c + c) + 2 * c
    psp = 4 * (c * w + 2 * w) + 9 * (c + 4 * w) * w + 2 * w
    pyramid = 4 * 2 * c + 3 * (c * w + 2 * w + 9 * w * w + 2 * w)
    head = 9 * 4 * w * w + 2 * w + 2 * w + 2
    found = count(lambda: build_network("upernet_vit:tu-vit_small_patch16_224", in_channels=3, classes=2))
    assert found == encoder + neck + psp + pyramid + head


def test_the_neck_makes_the_pyramid_of_four_blocks() -> None:
    network = tiny().eval()
    assert network.levels == [2, 5, 8, 11]
    with torch.inference_mode():
        levels = network.pyramid(torch.zeros(1, 3, 64, 96))
        coarse = network.coarse(torch.zeros(1, 3, 64, 96))
    assert [tuple(one.shape[1:]) for one in levels] == [(192, 16, 24), (192, 8, 12), (192, 4, 6), (192, 2, 3)]
    assert coarse.shape == (1, 3, 16, 24)


def test_sizes_and_bands() -> None:
    for bands, classes in ((1, 1), (13, 21)):
        check_sizes(tiny(bands, classes), name=f"upernet_vit:{TINY}", in_channels=bands, classes=classes)
    check_any_size(f"upernet_vit:{TINY}", {"width": 16})
    rotary = build_network(f"upernet_vit:{SMALL}", in_channels=4, classes=2, options={"width": 16})
    check_sizes(rotary, name=f"upernet_vit:{SMALL}", in_channels=4, classes=2)


def test_every_pixel_sees_the_whole_tile() -> None:
    assert find_architecture(f"upernet_vit:{TINY}").is_global
    torch.manual_seed(0)
    assert changed_rows(tiny().double(), torch.randn(1, 3, 64, 256, dtype=torch.double), 3, 4)[:, -1].all()


def test_a_step_at_batch_one_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    check_training_step(tiny(4), torch.randn(1, 4, 64, 64), 3)


def test_it_learns_two_images_by_heart() -> None:
    torch.manual_seed(0)
    assert fitted(tiny(), steps=40, rate=1e-3, border=1) > 0.99


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("resnet18", "is no plain Vision Transformer: upernet:resnet18 takes pyramids"),
        ("tu-vit_tiny_patch16_22", "is not known: nearest are tu-vit_tiny_patch16_224"),
        ("tu-vit_small_patch14_dinov2", r"has patches of \(14, 14\); the neck needs 16 x 16 pixels"),
        ("mit_b0", "is refused"),
    ],
)
def test_unfit_encoders_are_one_line(encoder: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build_network(f"upernet_vit:{encoder}", in_channels=3, classes=2)
