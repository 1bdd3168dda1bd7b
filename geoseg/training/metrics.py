"""Agreement of two label images, from one confusion matrix that adds up over images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.core.patch_source import IGNORE


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Counts of pixels by true class (rows) and mapped class (columns); adds."""

    counts: npt.NDArray[np.int64]
    """(classes, classes)."""

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(counts=self.counts + other.counts)

    @property
    def accuracy(self) -> float:
        """Share of the pixels mapped to their class; nan without pixels."""
        total = int(self.counts.sum())
        return float(np.trace(self.counts)) / total if total else float("nan")

    @property
    def iou(self) -> tuple[float, ...]:
        """Intersection over union by class; nan for a class neither true nor mapped."""
        both = np.diag(self.counts).astype(float)
        either = self.counts.sum(axis=0) + self.counts.sum(axis=1) - both
        return tuple(float(a / b) if b else float("nan") for a, b in zip(both, either, strict=True))


def confusion(truth: npt.NDArray[np.uint8], mapped: npt.NDArray[np.uint8], *, classes: int) -> Confusion:
    """The confusion of two label images of one shape; pixels whose truth is 255 are not counted.

    Raises:
        ValueError: shapes differ, or a label that counts is not a class id.
    """
    if truth.shape != mapped.shape:
        raise ValueError(f"truth {truth.shape} and map {mapped.shape} differ in shape")
    counts = truth != IGNORE
    rows, columns = truth[counts].astype(np.int64), mapped[counts].astype(np.int64)
    if rows.size and max(int(rows.max()), int(columns.max())) >= classes:
        raise ValueError(f"labels reach {max(int(rows.max()), int(columns.max()))}; there are {classes} classes")
    flat = np.bincount(rows * classes + columns, minlength=classes * classes)
    return Confusion(counts=flat.reshape(classes, classes))
