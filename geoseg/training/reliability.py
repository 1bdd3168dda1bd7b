"""How far probabilities can be believed: reliability by bins of confidence, likelihood, and the temperature for it."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from geoseg.core.patch_source import IGNORE

BINS: Final = 20
"""Of equal width over the confidence 0 … 1."""
_LEAST: Final = 1e-30
"""Probability that a smaller one is taken for: its logarithm is finite in float32."""
FACTOR_MAX: Final = 20.0
"""By which a temperature is raised at most; it is lowered by no more."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Pixels by the probability of the class they were given; adds. Figures are nan without pixels."""

    counts: npt.NDArray[np.int64]
    """(BINS,): pixels whose confidence is in a bin; 1.0 belongs to the last."""
    confidence: Floats
    """(BINS,): sum of their confidences."""
    correct: npt.NDArray[np.int64]
    """(BINS,): those of them that were given their true class."""
    log_loss: float
    """Sum of -log(probability of the true class)."""
    square_loss: float
    """Sum over pixels and classes of (probability - truth)^2; Brier 1950."""

    @staticmethod
    def zero() -> "Reliability":
        """No pixel."""
        whole = np.zeros(BINS, np.int64)
        return Reliability(counts=whole, confidence=np.zeros(BINS), correct=whole, log_loss=0.0, square_loss=0.0)

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(
            counts=self.counts + other.counts,
            confidence=self.confidence + other.confidence,
            correct=self.correct + other.correct,
            log_loss=self.log_loss + other.log_loss,
            square_loss=self.square_loss + other.square_loss,
        )

    @property
    def pixels(self) -> int:
        """All of them."""
        return int(self.counts.sum())

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean over pixels of |accuracy - confidence| of their bin; Guo et al. 2017."""
        return float(np.abs(self.correct - self.confidence).sum()) / self.pixels if self.pixels else float("nan")

    @property
    def mean_log_loss(self) -> float:
        """Negative log-likelihood per pixel, nats."""
        return self.log_loss / self.pixels if self.pixels else float("nan")

    @property
    def mean_square_loss(self) -> float:
        """Brier score, 0 … 2."""
        return self.square_loss / self.pixels if self.pixels else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPixels:
    """A sample of labelled pixels with their probabilities."""

    log_probabilities: npt.NDArray[np.float32]
    """(pixels, classes)."""
    truth: npt.NDArray[np.uint8]
    """(pixels,): channel of the true class."""


class PixelDraw:
    """A random sample of labelled pixels of any number of images; memory is bounded, every pixel as likely."""

    def __init__(self, *, seed: int, values_max: int = 10_000_000) -> None:
        """Nothing is drawn yet.

        Args:
            seed: of the draw.
            values_max: probabilities that are kept, over pixels and classes.
        """
        self._rng = np.random.default_rng(seed)
        self._room = values_max
        self._share = 1.0
        self._parts: list[ScoredPixels] = []

    def add(self, values: npt.NDArray[np.float32], truth: npt.NDArray[np.uint8]) -> None:
        """Draws from an image: (classes, height, width) probabilities, (height, width) channels, 255 is not drawn."""
        drawn = (truth != IGNORE) & (self._rng.random(truth.shape) < self._share)
        log_probabilities = np.log(np.maximum(values[:, drawn].T, np.float32(_LEAST)))
        self._parts.append(ScoredPixels(log_probabilities=log_probabilities, truth=truth[drawn]))
        while sum(one.log_probabilities.size for one in self._parts) > self._room:
            self._share /= 2
            self._parts = [self._half(one) for one in self._parts]

    def take(self) -> ScoredPixels:
        """What was drawn.

        Raises:
            ValueError: nothing was added.
        """
        return ScoredPixels(
            log_probabilities=np.concatenate([one.log_probabilities for one in self._parts]),
            truth=np.concatenate([one.truth for one in self._parts]),
        )

    def _half(self, part: ScoredPixels) -> ScoredPixels:
        kept = self._rng.random(part.truth.size) < 0.5
        return ScoredPixels(log_probabilities=part.log_probabilities[kept], truth=part.truth[kept])


def reliability(values: npt.NDArray[np.float32], truth: npt.NDArray[np.uint8]) -> Reliability:
    """Of an image.

    Args:
        values: (classes, height, width) probabilities.
        truth: (height, width) channels; 255 is not counted.
    """
    seen = truth != IGNORE
    return _of_pixels(values[:, seen].T.astype(np.float64), truth[seen])


def fit_temperature(sample: ScoredPixels) -> float:
    """The factor of the temperature that makes the sample likeliest; Guo et al. 2017.

    The likelihood is log-concave in 1 / temperature, so that what is found is the only best one, within 1/20 … 20.

    Raises:
        ValueError: no pixel.
    """
    if not sample.truth.size:
        raise ValueError("no labelled pixel to fit a temperature to")
    found: Any = minimize_scalar(
        lambda log_factor: rescore(sample, float(np.exp(log_factor))).log_loss,
        bounds=(-math.log(FACTOR_MAX), math.log(FACTOR_MAX)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x))


def rescore(sample: ScoredPixels, factor: float) -> Reliability:
    """The reliability of a sample had its temperature been `factor` times as high."""
    scaled = sample.log_probabilities.astype(np.float64) / factor
    scaled -= scaled.max(axis=1, keepdims=True)
    values = np.exp(scaled)
    return _of_pixels(values / values.sum(axis=1, keepdims=True), sample.truth)


def _of_pixels(values: Floats, truth: npt.NDArray[np.uint8]) -> Reliability:
    """Of (pixels, classes) and their channels."""
    mapped = values.argmax(axis=1)
    confidence = values.max(axis=1, initial=0.0)
    of_truth = np.take_along_axis(values, truth[:, None].astype(np.intp), axis=1)[:, 0]
    bins = np.clip((confidence * BINS).astype(np.intp), 0, BINS - 1)
    return Reliability(
        counts=np.bincount(bins, minlength=BINS),
        confidence=np.bincount(bins, weights=confidence, minlength=BINS).astype(np.float64),
        correct=np.bincount(bins[mapped == truth], minlength=BINS),
        log_loss=float(-np.log(np.maximum(of_truth, _LEAST)).sum()),
        square_loss=float((values**2).sum() - 2 * of_truth.sum() + truth.size),
    )
