"""Losses and metrics: golden values, and pixels labelled 255 that cannot be seen."""

import math

import numpy as np
import pytest
import torch

from geoseg.training.losses import cross_entropy, dice_loss
from geoseg.training.metrics import Confusion, confusion

LABELS = torch.tensor([[[0, 1], [2, 255]]], dtype=torch.uint8)


def golden_logits() -> torch.Tensor:
    """1 x 3 x 2 x 2, 2 on the true class."""
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 0, 0, 0] = logits[0, 1, 0, 1] = logits[0, 2, 1, 0] = 2
    return logits


def test_golden_values() -> None:
    assert float(cross_entropy(golden_logits(), LABELS)) == pytest.approx(0.2395448, abs=1e-7)
    assert float(dice_loss(golden_logits(), LABELS)) == pytest.approx(0.2130139, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_ignored_pixels_change_neither_value_nor_gradient(smoothing: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 2, 6, 5)
    labels = torch.randint(0, 2, (2, 6, 5), dtype=torch.uint8)
    labels[:, 2:4] = 255
    gradients = []
    for change in (0.0, 50.0):
        changed = logits.clone()
        changed[:, 0, 2:4] += change
        changed.requires_grad_(True)
        loss = cross_entropy(changed, labels, smoothing=smoothing) + dice_loss(changed, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        assert changed.grad is not None
        assert (changed.grad[:, :, 2:4] == 0).all()
        gradients.append((float(loss.detach()), changed.grad))
    assert gradients[0][0] == pytest.approx(gradients[1][0], abs=1e-7)
    assert torch.equal(gradients[0][1], gradients[1][1])


def test_nothing_counted_is_no_loss() -> None:
    labels = torch.full((1, 4, 4), 255, dtype=torch.uint8)
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    loss = cross_entropy(logits, labels, smoothing=0.1) + dice_loss(logits, labels)
    assert float(loss.detach()) == 0
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_cross_entropy_is_a_mean_over_counted_pixels_only() -> None:
    half = LABELS.clone()
    assert float(cross_entropy(torch.zeros(1, 3, 2, 2), half)) == pytest.approx(math.log(3))


def test_confusions_add_and_give_iou() -> None:
    truth = np.array([[0, 0, 1, 255]], dtype=np.uint8)
    mapped = np.array([[0, 1, 1, 0]], dtype=np.uint8)
    one = confusion(truth, mapped, classes=2)
    assert one.counts.tolist() == [[1, 1], [0, 1]]
    assert one.accuracy == pytest.approx(2 / 3)
    assert one.iou == pytest.approx((0.5, 0.5))
    assert (one + one).counts.tolist() == [[2, 2], [0, 2]]
    absent = Confusion(counts=np.array([[4, 0], [0, 0]]))
    assert math.isnan(absent.iou[1])


def test_labels_beyond_the_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="there are 2 classes"):
        confusion(np.array([[3]], dtype=np.uint8), np.array([[0]], dtype=np.uint8), classes=2)
    with pytest.raises(ValueError, match="differ in shape"):
        confusion(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), classes=2)
