"""Fast-SCNN: the known counts, widths, strides and bins, and sizes that other implementations refuse."""

import pytest
import torch

from geoseg.model.registry import build_network, create_model
from geoseg.model.zoo.fast_scnn import FastSCNN, _Pyramid
from tests.model.zoo.network_laws import on_meta, parameters


@pytest.mark.parametrize(
    ("classes", "aux", "count"), [(19, False, 1_138_051), (19, True, 1_157_174), (4, False, 1_136_116)]
)
def test_parameters_are_the_known_ones(classes: int, aux: bool, count: int) -> None:
    assert parameters(on_meta("fast_scnn", classes=classes, aux=aux)) == count


def test_widths_and_strides_are_the_papers() -> None:
    network = build_network("fast_scnn", in_channels=3, classes=2).eval()
    assert isinstance(network, FastSCNN)
    shapes = []
    with torch.inference_mode():
        features = torch.zeros(1, 3, 192, 192)
        for layer in (*network.stem, *network.context):
            features = layer(features)
            shapes.append((features.shape[1], 192 // features.shape[2]))
    stem = [(32, 2), (48, 4), (64, 8)]
    assert shapes == stem + [(64, 16)] * 3 + [(96, 32)] * 3 + [(128, 32)] * 3 + [(128, 32)]


def test_a_pyramid_has_the_means_of_1_2_3_and_6_parts() -> None:
    network = build_network("fast_scnn", in_channels=3, classes=2).eval()
    assert isinstance(network, FastSCNN)
    seen = []
    pyramid = network.context[-1]
    assert isinstance(pyramid, _Pyramid)
    for part in pyramid.parts:
        part.register_forward_pre_hook(lambda _m, args: seen.append(args[0].shape[-2:]))
    with torch.inference_mode():
        network(torch.zeros(1, 3, 192, 384))
    assert [tuple(one) for one in seen] == [(1, 1), (2, 2), (3, 3), (6, 6)]


@pytest.mark.parametrize("side", [250, 97, 224])
def test_sizes_that_are_no_multiple_of_32_are_taken(side: int) -> None:
    """Upsampling by a fixed factor gives 32 rows for 31 at 250; here it goes to the size of the detail."""
    network = build_network("fast_scnn", in_channels=3, classes=2).eval()
    framed = create_model("fast_scnn", in_channels=3, classes=2).eval()
    with torch.inference_mode():
        for one in (network, framed):
            assert one(torch.zeros(1, 3, side, side)).shape == (1, 2, side, side)
