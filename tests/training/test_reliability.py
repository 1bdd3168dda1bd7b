"""Reliability and temperature against libraries, brute force and samples whose temperature is known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from geoseg.training.metrics import boundary_counts
from geoseg.training.reliability import (
    BINS,
    PixelDraw,
    Reliability,
    ScoredPixels,
    fit_temperature,
    reliability,
    rescore,
)


def image(seed: int, *, classes: int = 3, shape: tuple[int, int] = (40, 50)) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities, truth with a tenth unlabelled)."""
    rng = np.random.default_rng(seed)
    values = rng.dirichlet(np.full(classes, 0.4), shape).transpose(2, 0, 1).astype(np.float32)
    truth = rng.integers(0, classes, shape).astype(np.uint8)
    truth[rng.random(shape) < 0.1] = 255
    return values, truth


def test_the_figures_are_those_of_the_libraries() -> None:
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification", reason="an oracle")
    values, truth = image(1)
    found, seen = reliability(values, truth), truth != 255
    pixels, labels = values[:, seen].T.astype(np.float64), truth[seen].astype(int)
    oracle = torchmetrics.multiclass_calibration_error(
        torch.from_numpy(pixels), torch.from_numpy(labels), num_classes=3, n_bins=BINS, norm="l1"
    )
    assert found.expected_error == pytest.approx(float(oracle), abs=1e-6)
    assert found.mean_log_loss == pytest.approx(log_loss(labels, pixels / pixels.sum(1, keepdims=True)), rel=1e-5)
    assert found.mean_square_loss == pytest.approx(((pixels - np.eye(3)[labels]) ** 2).sum(1).mean(), rel=1e-9)
    assert found.pixels == seen.sum()


def test_parts_add_up_to_the_whole() -> None:
    values, truth = image(2)
    whole = reliability(values, truth)
    parts = Reliability.zero() + reliability(values[:, :7], truth[:7]) + reliability(values[:, 7:], truth[7:])
    assert np.array_equal(parts.counts, whole.counts)
    assert np.array_equal(parts.correct, whole.correct)
    np.testing.assert_allclose(parts.confidence, whole.confidence)
    assert parts.log_loss == pytest.approx(whole.log_loss)


def test_certain_pixels_and_none_at_all() -> None:
    sure = np.stack([np.ones((2, 2)), np.zeros((2, 2))]).astype(np.float32)
    right = reliability(sure, np.zeros((2, 2), np.uint8))
    assert (right.expected_error, right.mean_log_loss, right.mean_square_loss) == (0, 0, 0)
    assert right.counts[-1] == 4
    wrong = reliability(sure, np.ones((2, 2), np.uint8))
    assert wrong.expected_error == 1
    assert np.isfinite(wrong.mean_log_loss)
    assert wrong.mean_square_loss == 2
    assert np.isnan(reliability(sure, np.full((2, 2), 255, np.uint8)).expected_error)


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(true_temperature: float) -> None:
    """Labels are drawn from softmax(logits / T), the network says softmax(logits)."""
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (60_000, 4))
    chosen = logits / true_temperature
    shares = np.exp(chosen) / np.exp(chosen).sum(1, keepdims=True)
    truth = (shares.cumsum(1) < rng.random((60_000, 1))).sum(1).astype(np.uint8)
    said = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    sample = ScoredPixels(log_probabilities=said.astype(np.float32), truth=truth)
    found = fit_temperature(sample)
    assert found == pytest.approx(true_temperature, rel=0.03)
    least = rescore(sample, found).log_loss
    assert least <= min(rescore(sample, found * other).log_loss for other in (0.98, 1.02))
    assert rescore(sample, found).expected_error < 0.01


def test_a_sample_is_rescored_as_the_network_would() -> None:
    """log(softmax(z)) / T is z / T but for a constant of the pixel."""
    logits = torch.randn(3, 20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    truth = np.random.default_rng(0).integers(0, 3, (20, 20)).astype(np.uint8)
    draw = PixelDraw(seed=0)
    draw.add(torch.softmax(logits, 0).float().numpy(), truth)
    again = reliability(torch.softmax(logits / 1.7, 0).numpy(), truth)
    found = rescore(draw.take(), 1.7)
    assert found.log_loss == pytest.approx(again.log_loss, rel=1e-5)
    assert found.expected_error == pytest.approx(again.expected_error, abs=1e-5)


def test_a_draw_is_bounded_and_prefers_no_image() -> None:
    draw = PixelDraw(seed=1, values_max=3000)
    for one in range(20):
        values = np.full((2, 30, 30), 0.5, np.float32)
        draw.add(values, np.full((30, 30), one % 2, np.uint8) if one < 10 else np.full((30, 30), 2 + one, np.uint8))
    sample = draw.take()
    assert 300 <= sample.truth.size <= 1500
    early = int((sample.truth < 2).sum())
    assert abs(early - sample.truth.size / 2) < 4 * np.sqrt(sample.truth.size)


def test_no_pixel_has_no_temperature() -> None:
    nothing = ScoredPixels(log_probabilities=np.zeros((0, 2), np.float32), truth=np.zeros(0, np.uint8))
    with pytest.raises(ValueError, match="no labelled pixel"):
        fit_temperature(nothing)


@given(seed=st.integers(0, 99), cut=st.integers(5, 20), tolerance=st.sampled_from([0.0, 1.0, 2.0]))
def test_boundaries_counted_in_parts_are_those_of_the_whole(seed: int, cut: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    truth, mapped = (np.kron(rng.integers(0, 3, (9, 9)), np.ones((3, 3))).astype(np.uint8) for _ in range(2))
    truth[rng.random(truth.shape) < 0.05] = 255
    whole = boundary_counts(truth, mapped, classes=3, tolerance_px=tolerance)
    nothing = np.zeros(3, np.int64)
    total = type(whole)(true=nothing, true_met=nothing, mapped=nothing, mapped_met=nothing)
    for first, stop in ((0, cut), (cut, 27)):
        low, high = max(first - 3, 0), min(stop + 3, 27)
        total += boundary_counts(
            truth[low:high],
            mapped[low:high],
            classes=3,
            tolerance_px=tolerance,
            within=(slice(first - low, stop - low), slice(None)),
        )
    for key in ("true", "true_met", "mapped", "mapped_met"):
        assert np.array_equal(getattr(total, key), getattr(whole, key))
