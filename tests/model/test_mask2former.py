"""Mask2Former: the published size, the paper's semantic inference, any size, training, one line without the extra."""

import sys

import pytest
import torch

from geoseg.errors import ResourceError, SettingsError
from geoseg.model.mask2former import Mask2Former
from geoseg.model.registry import build_network, find_architecture
from tests.model.zoo.attention_checks import check_any_size, check_sizes, count


@pytest.fixture
def small() -> Mask2Former:
    pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    return Mask2Former(in_channels=3, classes=3, queries=8, width=32, depths=(1, 1, 1, 1))


def test_the_count_is_the_published_one() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    assert count(lambda: build_network("mask2former", in_channels=4, classes=150)) == 47_442_705


def test_without_transformers_the_remedy_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ResourceError, match=r"mask2former needs transformers: pip install 'geoseg\[transformers\]'"):
        build_network("mask2former", in_channels=3, classes=2)
    assert find_architecture("mask2former").extra == "transformers"


def test_the_softmax_of_the_logits_is_the_semantic_inference_of_the_library(small: Mask2Former) -> None:
    """transformers' own post-processing gives the same classes; the scores are those of the sum over queries."""
    import transformers

    pixels = torch.randn(2, 3, 64, 96)
    small.eval()
    with torch.inference_mode():
        outputs = small.network(pixel_values=pixels)
        found = small(pixels)
        coarse = small.coarse(pixels)
    assert coarse.shape == (2, 3, 16, 24)
    scores = torch.zeros(2, 3, 16, 24)
    classes = outputs.class_queries_logits.softmax(-1)
    for query in range(8):
        mask = 1 / (1 + torch.exp(-outputs.masks_queries_logits[:, query]))
        for k in range(3):
            scores[:, k] += classes[:, query, k, None, None] * mask
    assert torch.allclose(coarse.softmax(1), scores / scores.sum(1, keepdim=True), atol=1e-5)
    processor = getattr(transformers, "Mask2FormerImageProcessor", None)
    if processor is not None and hasattr(processor, "post_process_semantic_segmentation"):
        maps = processor().post_process_semantic_segmentation(outputs, target_sizes=[(64, 96)] * 2)
        agreement = (torch.stack(list(maps)) == found.argmax(1)).float().mean()
        assert float(agreement) > 0.9  # it upsamples masks to 384 x 384 before it sums them


def test_sizes_and_bands(small: Mask2Former) -> None:
    check_sizes(small, name="mask2former", in_channels=3, classes=3)
    check_any_size("mask2former", {"queries": 4, "width": 32, "depths": [1, 1, 1, 1]})
    assert find_architecture("mask2former").is_global


def test_a_step_at_batch_one_reaches_every_parameter_but_a_norm_that_the_library_leaves_aside(
    small: Mask2Former,
) -> None:
    pixels, labels = torch.randn(1, 3, 64, 64), torch.arange(64).remainder(3).expand(1, 64, 64)
    small.train()
    torch.autograd.backward(torch.nn.functional.cross_entropy(small(pixels), labels))
    idle = [name for name, one in small.named_parameters() if one.grad is None]
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in idle} == {"layernorm"}
    assert len(idle) == 2
    assert all(one.grad is None or one.grad.isfinite().all() for one in small.parameters())


def test_unfit_options_are_one_line() -> None:
    with pytest.raises(SettingsError, match="width 40, depths"):
        build_network("mask2former", in_channels=3, classes=2, options={"width": 40})
