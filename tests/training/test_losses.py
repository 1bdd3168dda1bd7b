"""Losses: golden values, libraries where they are right, brute force, and labels of 255 that cannot be seen."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from geoseg.errors import SettingsError
from geoseg.training.config_loss import CrossEntropyPart, EdgePart, OverlapPart
from geoseg.training.losses import cross_entropy, dice_loss, focal_loss, jaccard_loss, lovasz_loss, tversky_loss
from geoseg.training.losses_boundary import (
    attention_loss,
    boundary_loss,
    consistency_loss,
    edge_loss,
    edge_map,
    signed_distances,
)
from geoseg.training.objective import Objective

LABELS = torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8)
Loss = Callable[[Tensor, Tensor], Tensor]


def _edge_outputs(logits: Tensor) -> Tensor:
    return logits[:, :1].float() - logits[:, 1:2].float()


def _dual(logits: Tensor, labels: Tensor) -> Tensor:
    torch.manual_seed(3)
    part = EdgePart()
    objective = Objective(parts=(part,), aux_weight=0)
    return objective({"out": logits, "edge": _edge_outputs(logits)}, labels).total


LOSSES: dict[str, Loss] = {
    "cross entropy": cross_entropy,
    "smoothed": lambda logits, labels: cross_entropy(logits, labels, smoothing=0.1),
    "weighted": lambda logits, labels: cross_entropy(logits, labels, smoothing=0.1, class_weights=(1, 0.2, 3)),
    "focal": focal_loss,
    "focal, small power": lambda logits, labels: focal_loss(logits, labels, gamma=0.5),
    "focal, weighted": lambda logits, labels: focal_loss(logits, labels, class_weights=(1, 0.2, 3)),
    "dice": dice_loss,
    "jaccard": jaccard_loss,
    "tversky": lambda logits, labels: tversky_loss(logits, labels, false_positive=0.3, false_negative=0.7),
    "lovasz": lovasz_loss,
    "boundary": boundary_loss,
    "edge": lambda logits, labels: edge_loss(_edge_outputs(logits), labels),
    "attention": lambda logits, labels: attention_loss(logits, _edge_outputs(logits) * 9, labels),
    "dual task": _dual,
}
each_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def golden_logits() -> Tensor:
    """1 x 3 x 2 x 2, 2 on the true class."""
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 0, 0, 0] = logits[0, 1, 0, 1] = logits[0, 2, 1, 0] = 2
    return logits


def random_case(seed: int = 0, *, ignored: bool = True) -> tuple[Tensor, Tensor]:
    """2 x 3 x 9 x 7 logits, labels in blocks of 3 x 3; rows 3-5 of the first image are ignored and nothing else."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 9, 7, generator=generator)
    blocks = torch.randint(0, 3, (2, 3, 3), generator=generator, dtype=torch.uint8)
    labels = blocks.repeat_interleave(3, dim=1).repeat_interleave(3, dim=2)[..., :7].contiguous()
    if ignored:
        labels[0, 3:6] = 255
    return logits, labels


def gradient(loss: Loss, logits: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    changed = logits.clone().requires_grad_(True)
    value = loss(changed, labels)
    value.backward()  # type: ignore[no-untyped-call]
    assert changed.grad is not None
    return float(value.detach()), changed.grad


def test_golden_values() -> None:
    logits = golden_logits()
    assert float(cross_entropy(logits, LABELS)) == pytest.approx(0.2395448, abs=1e-7)
    assert float(focal_loss(logits, LABELS)) == pytest.approx(0.0108693, abs=1e-7)
    assert float(dice_loss(logits, LABELS)) == pytest.approx(0.2130139, abs=2e-7)
    assert float(lovasz_loss(logits, LABELS)) == pytest.approx(0.2130140, abs=2e-7)


@each_loss
def test_ignored_pixels_change_neither_value_nor_gradient(loss: Loss) -> None:
    logits, labels = random_case()
    other = logits.clone()
    other[0, 0, 3:6] += 50
    one, two = gradient(loss, logits, labels), gradient(loss, other, labels)
    assert (one[1][0, :, 3:6] == 0).all()
    assert (two[1][0, :, 3:6] == 0).all()
    assert one[1].abs().sum() > 0
    assert one[0] == pytest.approx(two[0], abs=1e-6)
    assert torch.allclose(one[1], two[1], atol=1e-7)


@each_loss
def test_nothing_counted_is_no_loss_and_no_gradient(loss: Loss) -> None:
    logits, labels = random_case()
    value, slope = gradient(loss, logits, torch.full_like(labels, 255))
    assert value == 0
    assert (slope == 0).all()


@each_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite_and_is_computed_in_float32(loss: Loss, dtype: torch.dtype) -> None:
    logits, labels = random_case()
    extreme = (logits * 400).to(dtype)
    for case in (extreme, -extreme, logits.to(dtype)):
        value, slope = gradient(loss, case, labels)
        assert math.isfinite(value)
        assert torch.isfinite(slope).all()
        assert value == pytest.approx(float(loss(case.float(), labels)), rel=1e-5, abs=1e-6)


@each_loss
def test_the_layout_in_memory_does_not_matter(loss: Loss) -> None:
    logits, labels = random_case()
    one = gradient(loss, logits, labels)
    two = gradient(loss, logits.contiguous(memory_format=torch.channels_last), labels)
    strided = labels.transpose(1, 2).contiguous().transpose(1, 2)
    three = gradient(loss, logits.transpose(2, 3).contiguous().transpose(2, 3), strided)
    for other in (two, three):
        assert one[0] == pytest.approx(other[0], abs=1e-6)
        assert torch.allclose(one[1], other[1], atol=1e-6)


def test_cross_entropy_is_that_of_torch_over_counted_pixels() -> None:
    logits, labels = random_case()
    weights = (1.0, 0.2, 3.0)
    for smoothing, chosen in itertools.product((0.0, 0.1), ((), weights)):
        tensor = torch.tensor(chosen) if chosen else None
        expected = functional.cross_entropy(logits, labels.long(), tensor, ignore_index=255, label_smoothing=smoothing)
        ours = cross_entropy(logits, labels, smoothing=smoothing, class_weights=chosen)
        assert float(ours) == pytest.approx(float(expected), rel=1e-6)


def test_focal_with_power_0_is_the_cross_entropy() -> None:
    logits, labels = random_case()
    for weights in ((), (1.0, 0.2, 3.0)):
        ours = focal_loss(logits, labels, gamma=0, class_weights=weights)
        assert float(ours) == pytest.approx(float(cross_entropy(logits, labels, class_weights=weights)), rel=1e-6)


def test_focal_of_two_classes_is_that_of_torchvision() -> None:
    from torchvision.ops import sigmoid_focal_loss

    logits, labels = random_case(ignored=False)
    labels, logits = labels % 2, logits[:, :2]
    total = sigmoid_focal_loss(logits[:, 1] - logits[:, 0], labels.float(), alpha=0.25, gamma=1.7, reduction="sum")
    weight = torch.where(labels == 1, 0.25, 0.75).sum()
    ours = focal_loss(logits, labels, gamma=1.7, class_weights=(0.75, 0.25))
    assert float(ours) == pytest.approx(float(total / weight), rel=1e-5)


def test_regions_are_those_of_smp() -> None:
    import segmentation_models_pytorch as smp

    logits, labels = random_case()
    kept = labels.long()
    for loss, theirs in (
        (dice_loss, smp.losses.DiceLoss("multiclass", ignore_index=255)),
        (lovasz_loss, smp.losses.LovaszLoss("multiclass", ignore_index=255)),
    ):
        assert float(loss(logits, labels)) == pytest.approx(float(theirs(logits, kept)), rel=1e-5)
    whole = random_case(ignored=False)
    jaccard = smp.losses.JaccardLoss("multiclass")
    assert float(jaccard_loss(*whole)) == pytest.approx(float(jaccard(whole[0], whole[1].long())), rel=1e-5)
    tversky = smp.losses.TverskyLoss("multiclass", alpha=0.3, beta=0.7)
    ours = tversky_loss(*whole, false_positive=0.3, false_negative=0.7)
    assert float(ours) == pytest.approx(float(tversky(whole[0], whole[1].long())), rel=1e-5)


def test_lovasz_is_that_of_kornia() -> None:
    from kornia.losses import lovasz_softmax_loss

    logits, labels = random_case(ignored=False)
    one = logits[:1], labels[:1]
    assert float(lovasz_loss(*one)) == pytest.approx(float(lovasz_softmax_loss(one[0], one[1].long())), rel=1e-5)


def test_lovasz_of_certain_maps_is_1_minus_the_mean_iou() -> None:
    _, labels = random_case()
    _, mapped = random_case(1, ignored=False)
    logits = functional.one_hot(mapped.long(), 3).permute(0, 3, 1, 2) * 1e4
    counted = labels != 255
    ious = []
    for one in range(3):
        true, seen = (labels == one) & counted, (mapped == one) & counted
        ious.append(float((true & seen).sum() / (true | seen).sum()))
    assert float(lovasz_loss(logits.float(), labels)) == pytest.approx(1 - sum(ious) / 3, abs=1e-6)
    assert float(jaccard_loss(logits.float(), labels)) == pytest.approx(1 - sum(ious) / 3, abs=1e-6)


def test_a_class_that_is_absent_is_not_counted() -> None:
    logits, labels = random_case()
    two = torch.where(labels == 2, 1, labels).to(torch.uint8)
    probabilities = torch.softmax(logits, dim=1)
    counted = two != 255
    expected = 0.0
    for one in range(2):
        p, t = probabilities[:, one][counted], (two[counted] == one).float()
        expected += float(1 - 2 * (p * t).sum() / (p.sum() + t.sum())) / 2
    assert float(dice_loss(logits, two)) == pytest.approx(expected, rel=1e-5)


@given(st.integers(0, 2**32 - 1))
def test_distances_are_those_of_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, 255], (6, 5), p=rng.dirichlet([1, 1, 1, 1])).astype(np.uint8)
    points = list(np.ndindex(*labels.shape))
    maps = signed_distances(labels, classes=3)
    for one, (row, col) in itertools.product(range(3), points):
        inside = [p for p in points if labels[p] == one]
        outside = [p for p in points if labels[p] not in (one, 255)]
        expected = 0.0
        if inside and outside and labels[row, col] != 255:
            is_inside = labels[row, col] == one
            nearest = min(math.dist((row, col), p) for p in (outside if is_inside else inside))
            expected = 1 - nearest if is_inside else nearest
        assert maps[one, row, col] == pytest.approx(expected, abs=1e-5)


def test_the_boundary_loss_is_least_for_the_truth() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
    labels[:, :, 4:] = 1
    certain = functional.one_hot(labels.long(), 2).permute(0, 3, 1, 2).float() * 100
    truth = boundary_loss(certain, labels)
    shifts = [boundary_loss(certain.roll(shift, dims=3), labels) for shift in (1, 2, 3)]
    assert sorted([truth, *shifts]) == [truth, *shifts]
    assert float(truth) == pytest.approx(-(0 + 1 + 2 + 3) * 2 / 8 / 2)


def test_edges_lie_between_classes_and_not_at_what_is_ignored() -> None:
    labels = torch.tensor([[[0, 0, 0, 1, 1, 1, 255, 2]]], dtype=torch.uint8)
    assert edge_map(labels).tolist() == [[[0, 0, 1, 1, 0, 0, 255, 0]]]
    assert edge_map(labels, edge_px=2).tolist() == [[[0, 1, 1, 1, 1, 1, 255, 1]]]


def test_edges_weigh_as_much_as_all_the_rest() -> None:
    labels = torch.zeros(1, 1, 10, dtype=torch.uint8)
    labels[..., 9] = 1
    edge = torch.zeros(1, 1, 1, 10, requires_grad=True)
    loss = edge_loss(edge, labels)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == pytest.approx((2 * 0.8 + 8 * 0.2) / 10 * math.log(2))
    assert edge.grad is not None
    assert float(edge.grad.sum()) == pytest.approx(0, abs=1e-7)


def test_attention_looks_where_the_edge_is_sure() -> None:
    logits, labels = random_case()
    edge = torch.full((2, 1, 9, 7), -5.0)
    edge[1, 0, 2, 3] = edge[0, 0, 4, 0] = 5.0
    expected = functional.cross_entropy(logits[1:, :, 2, 3], labels[1:, 2, 3].long())
    assert float(attention_loss(logits, edge, labels)) == pytest.approx(float(expected), rel=1e-6)


def test_consistency_is_nothing_for_the_truth_and_grows_with_the_shift() -> None:
    labels = torch.zeros(1, 12, 12, dtype=torch.uint8)
    labels[:, :, 6:] = 1
    certain = functional.one_hot(labels.long(), 2).permute(0, 3, 1, 2).float() * 200
    assert float(consistency_loss(certain, labels)) == pytest.approx(0, abs=1e-6)
    assert float(consistency_loss(certain.roll(3, dims=3), labels)) > 0.05


def test_parts_and_auxiliary_outputs_are_summed_by_weight() -> None:
    logits, labels = random_case()
    aux, _ = random_case(5)
    parts = (CrossEntropyPart(smoothing=0.1), OverlapPart(kind="jaccard", weight=0.3))
    objective = Objective(parts=parts, aux_weight=0.4)
    loss = objective({"out": logits, "aux8": aux}, labels)

    def alone(one: Tensor) -> float:
        return float(cross_entropy(one, labels, smoothing=0.1) + 0.3 * jaccard_loss(one, labels))

    assert float(loss.total) == pytest.approx(alone(logits) + 0.4 * alone(aux), rel=1e-6)
    assert list(loss.parts) == ["cross_entropy", "jaccard", "aux8"]
    assert float(loss.parts["aux8"]) == pytest.approx(alone(aux), rel=1e-6)
    with pytest.raises(SettingsError, match="needs a network with an edge output"):
        Objective(parts=(EdgePart(),), aux_weight=0)({"out": logits}, labels)
