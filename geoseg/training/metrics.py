"""Agreement of two label images, from counts that add up over images: one confusion matrix, and boundaries."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from geoseg.core.patch_source import IGNORE

Figures: TypeAlias = tuple[float, ...]
"""By class; nan where there is nothing to divide by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Counts of pixels by true class (rows) and mapped class (columns); adds. Figures are nan without pixels."""

    counts: npt.NDArray[np.int64]
    """(classes, classes)."""

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(counts=self.counts + other.counts)

    @property
    def accuracy(self) -> float:
        """Share of the pixels mapped to their class."""
        return _ratio(self._both.sum(), self.counts.sum())

    @property
    def recall(self) -> Figures:
        """Share of a class's true pixels that are mapped to it (producer's accuracy)."""
        return _ratios(self._both, self._true)

    @property
    def precision(self) -> Figures:
        """Share of the pixels mapped to a class that are of it (user's accuracy)."""
        return _ratios(self._both, self._mapped)

    @property
    def iou(self) -> Figures:
        """Intersection over union; nan for a class neither true nor mapped."""
        return _ratios(self._both, self._true + self._mapped - self._both)

    @property
    def dice(self) -> Figures:
        """2 x intersection over the sum of both: F1; nan as in iou."""
        return _ratios(2 * self._both, self._true + self._mapped)

    @property
    def mean_accuracy(self) -> float:
        """Mean recall over the classes that are true somewhere."""
        return _mean(self.recall)

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that are true or mapped somewhere."""
        return _mean(self.iou)

    @property
    def mean_dice(self) -> float:
        """Mean over the classes that are true or mapped somewhere."""
        return _mean(self.dice)

    @property
    def weighted_iou(self) -> float:
        """Mean of iou weighted by the true pixels of each class (frequency-weighted)."""
        present = self._true > 0
        return _ratio(np.sum(self._true[present] * np.array(self.iou)[present]), self.counts.sum())

    @property
    def kappa(self) -> float:
        """Agreement beyond chance; Cohen 1960. nan where one class is all there is."""
        total = float(self.counts.sum())
        chance = _ratio(float(self._true.astype(float) @ self._mapped.astype(float)), total * total)
        return _ratio(self.accuracy - chance, 1 - chance)

    @property
    def _both(self) -> npt.NDArray[np.int64]:
        return np.diag(self.counts)

    @property
    def _true(self) -> npt.NDArray[np.int64]:
        sums: npt.NDArray[np.int64] = self.counts.sum(axis=1)
        return sums

    @property
    def _mapped(self) -> npt.NDArray[np.int64]:
        sums: npt.NDArray[np.int64] = self.counts.sum(axis=0)
        return sums


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryCounts:
    """Pixels of true and mapped class boundaries, and those of them that have one of the other near; adds."""

    true: npt.NDArray[np.int64]
    """(classes,)."""
    true_met: npt.NDArray[np.int64]
    """(classes,): with a mapped one within the tolerance."""
    mapped: npt.NDArray[np.int64]
    """(classes,)."""
    mapped_met: npt.NDArray[np.int64]
    """(classes,): with a true one within the tolerance."""

    def __add__(self, other: "BoundaryCounts") -> "BoundaryCounts":
        return BoundaryCounts(
            true=self.true + other.true,
            true_met=self.true_met + other.true_met,
            mapped=self.mapped + other.mapped,
            mapped_met=self.mapped_met + other.mapped_met,
        )

    @property
    def f1(self) -> Figures:
        """Harmonic mean of boundary precision and recall; Csurka et al. 2013. 0 where only one side has any."""
        precision = np.nan_to_num(_ratios(self.mapped_met, self.mapped))
        recall = np.nan_to_num(_ratios(self.true_met, self.true))
        both = np.where(self.true + self.mapped > 0, precision + recall, np.nan)
        return tuple(
            0.0 if one == 0 else float(2 * p * r / one) for p, r, one in zip(precision, recall, both, strict=True)
        )

    @property
    def mean_f1(self) -> float:
        """Mean over the classes that have a boundary."""
        return _mean(self.f1)


def confusion(truth: npt.NDArray[np.uint8], mapped: npt.NDArray[np.uint8], *, classes: int) -> Confusion:
    """The confusion of two label images of one shape; pixels whose truth is 255 are not counted.

    Raises:
        ValueError: shapes differ, or a label that counts is not a class id.
    """
    _check_shapes(truth, mapped)
    counts = truth != IGNORE
    rows, columns = truth[counts].astype(np.int64), mapped[counts].astype(np.int64)
    if rows.size and max(int(rows.max()), int(columns.max())) >= classes:
        raise ValueError(f"labels reach {max(int(rows.max()), int(columns.max()))}; there are {classes} classes")
    flat = np.bincount(rows * classes + columns, minlength=classes * classes)
    return Confusion(counts=flat.reshape(classes, classes))


def boundary_counts(
    truth: npt.NDArray[np.uint8],
    mapped: npt.NDArray[np.uint8],
    *,
    classes: int,
    tolerance_px: float = 2.0,
    within: tuple[slice, slice] = (slice(None), slice(None)),
) -> BoundaryCounts:
    """Class boundaries of two label images of one shape, compared within a Euclidean distance.

    A boundary pixel of a class has one of its four neighbours in another class. Pixels whose truth is 255 have no
    class in either image and make no boundary.

    Args:
        truth: (height, width) class ids, 255 = none.
        mapped: (height, width) class ids.
        classes: number of them.
        tolerance_px: the distance.
        within: rows and columns whose boundary pixels are counted, for a large image done in parts.

    Raises:
        ValueError: shapes differ.
    """
    _check_shapes(truth, mapped)
    seen = np.where(truth == IGNORE, IGNORE, mapped)
    counts = np.zeros((4, classes), dtype=np.int64)
    for one in range(classes):
        true_edge, mapped_edge = _boundary(truth, one), _boundary(seen, one)
        counts[:2, one] = true_edge[within].sum(), _met(true_edge, mapped_edge, tolerance_px, within)
        counts[2:, one] = mapped_edge[within].sum(), _met(mapped_edge, true_edge, tolerance_px, within)
    return BoundaryCounts(true=counts[0], true_met=counts[1], mapped=counts[2], mapped_met=counts[3])


def _boundary(labels: npt.NDArray[np.uint8], one: int) -> npt.NDArray[np.bool_]:
    inside, others = labels == one, (labels != one) & (labels != IGNORE)
    edge: npt.NDArray[np.bool_] = inside & ndimage.binary_dilation(others)
    return edge


def _met(
    edge: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_], tolerance_px: float, within: tuple[slice, slice]
) -> int:
    if not other.any():
        return 0
    return int((ndimage.distance_transform_edt(~other)[within][edge[within]] <= tolerance_px).sum())


def _check_shapes(truth: npt.NDArray[np.uint8], mapped: npt.NDArray[np.uint8]) -> None:
    if truth.shape != mapped.shape:
        raise ValueError(f"truth {truth.shape} and map {mapped.shape} differ in shape")


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else float("nan")


def _ratios(parts: npt.NDArray[np.int64], wholes: npt.NDArray[np.int64]) -> Figures:
    return tuple(_ratio(part, whole) for part, whole in zip(parts, wholes, strict=True))


def _mean(figures: Figures) -> float:
    """Over those that are not nan."""
    known = [one for one in figures if one == one]  # noqa: PLR0124 - nan is not equal to itself
    return sum(known) / len(known) if known else float("nan")
