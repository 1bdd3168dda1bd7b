"""Metrics: golden values, scikit-learn and torchmetrics, and brute force for boundaries."""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torchmetrics.classification import MulticlassJaccardIndex

from geoseg.training.metrics import Confusion, boundary_counts, confusion

Labels: TypeAlias = npt.NDArray[np.uint8]


def random_maps(seed: int, *, classes: int = 4, side: int = 12) -> tuple[Labels, Labels]:
    """Truth and map that agree in half of the pixels; some truth is ignored, class 3 may be absent."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, (side, side), p=rng.dirichlet(np.ones(classes))).astype(np.uint8)
    mapped = np.where(rng.random(truth.shape) < 0.5, truth, rng.integers(0, classes, truth.shape)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.1] = 255
    return truth, mapped


@given(st.integers(0, 2**32 - 1))
def test_figures_are_those_of_scikit_learn(seed: int) -> None:
    truth, mapped = random_maps(seed)
    ours = confusion(truth, mapped, classes=4)
    counted = truth != 255
    t, m = truth[counted], mapped[counted]
    ids = np.unique(np.concatenate([t, m]))
    assert ours.counts.tolist() == sklearn_metrics.confusion_matrix(t, m, labels=range(4)).tolist()
    assert ours.accuracy == pytest.approx(sklearn_metrics.accuracy_score(t, m))
    if ids.size > 1:
        assert ours.kappa == pytest.approx(sklearn_metrics.cohen_kappa_score(t, m))
    iou = sklearn_metrics.jaccard_score(t, m, labels=ids, average=None)
    assert [ours.iou[one] for one in ids] == pytest.approx(iou)
    assert ours.mean_iou == pytest.approx(np.mean(iou))
    f1 = sklearn_metrics.f1_score(t, m, labels=ids, average=None)
    assert [ours.dice[one] for one in ids] == pytest.approx(f1)
    assert ours.mean_dice == pytest.approx(np.mean(f1))
    true_ids = np.unique(t)
    recall = sklearn_metrics.recall_score(t, m, labels=true_ids, average=None)
    assert [ours.recall[one] for one in true_ids] == pytest.approx(recall)
    assert ours.mean_accuracy == pytest.approx(np.mean(recall))
    precision = sklearn_metrics.precision_score(t, m, labels=np.unique(m), average=None)
    assert [ours.precision[one] for one in np.unique(m)] == pytest.approx(precision)
    weighted = sklearn_metrics.jaccard_score(t, m, labels=true_ids, average="weighted")
    assert ours.weighted_iou == pytest.approx(weighted)


def test_an_absent_class_is_skipped_as_torchmetrics_does() -> None:
    truth = np.array([[0, 0, 1, 1, 255]], dtype=np.uint8)
    mapped = np.array([[0, 1, 1, 0, 2]], dtype=np.uint8)
    ours = confusion(truth, mapped, classes=3)
    assert math.isnan(ours.iou[2])
    assert math.isnan(ours.dice[2])
    theirs = MulticlassJaccardIndex(3, ignore_index=255)(torch.from_numpy(mapped), torch.from_numpy(truth).long())
    assert ours.mean_iou == pytest.approx(float(theirs)) == pytest.approx(1 / 3)


def test_confusions_add_as_pixels_do() -> None:
    one, two = random_maps(1), random_maps(2)
    together = confusion(np.stack([one[0], two[0]]), np.stack([one[1], two[1]]), classes=4)
    summed = confusion(*one, classes=4) + confusion(*two, classes=4)
    assert np.array_equal(together.counts, summed.counts)
    assert summed.counts.dtype == np.int64


def test_without_pixels_nothing_is_known() -> None:
    none = Confusion(counts=np.zeros((2, 2), dtype=np.int64))
    for figure in (none.accuracy, none.mean_iou, none.kappa, none.weighted_iou, none.mean_accuracy, *none.iou):
        assert math.isnan(figure)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1.0, 1.5, 3.0]))
def test_boundaries_are_those_of_brute_force(seed: int, tolerance: float) -> None:
    truth, mapped = random_maps(seed, classes=3, side=7)
    counts = boundary_counts(truth, mapped, classes=3, tolerance_px=tolerance)
    seen = np.where(truth == 255, 255, mapped)
    for one in range(3):
        true, found = _edge(truth, one), _edge(seen, one)
        assert counts.true[one] == len(true)
        assert counts.mapped[one] == len(found)
        assert counts.true_met[one] == sum(any(math.dist(a, b) <= tolerance for b in found) for a in true)
        assert counts.mapped_met[one] == sum(any(math.dist(a, b) <= tolerance for b in true) for a in found)


def _edge(labels: Labels, one: int) -> list[tuple[int, int]]:
    height, width = labels.shape
    return [
        (row, col)
        for row in range(height)
        for col in range(width)
        if labels[row, col] == one
        and any(
            0 <= row + down < height and 0 <= col + right < width and labels[row + down, col + right] not in (one, 255)
            for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0))
        )
    ]


def test_boundary_f1_of_a_shift_is_full_within_the_tolerance() -> None:
    truth = np.zeros((20, 20), dtype=np.uint8)
    truth[:, 10:] = 1
    for shift, expected in ((2, 1.0), (3, 0.0)):
        counts = boundary_counts(truth, _shifted(truth, shift), classes=3)
        assert counts.f1[0] == counts.f1[1] == expected
        assert math.isnan(counts.f1[2])
        assert counts.mean_f1 == expected
        assert (counts + counts).f1[0] == expected


def _shifted(truth: Labels, shift: int) -> Labels:
    moved = np.zeros_like(truth)
    moved[:, shift:] = truth[:, :-shift]
    return moved


def test_labels_beyond_the_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="there are 2 classes"):
        confusion(np.array([[3]], dtype=np.uint8), np.array([[0]], dtype=np.uint8), classes=2)
    with pytest.raises(ValueError, match="differ in shape"):
        confusion(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), classes=2)
    with pytest.raises(ValueError, match="differ in shape"):
        boundary_counts(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), classes=2)
