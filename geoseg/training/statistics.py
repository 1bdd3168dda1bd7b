"""Mean and covariance of bands, streamed and merged exactly; for normalisation and for how the CRF sees an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Count, mean and scatter of pixels; two of them add to those of all their pixels.

    Merged as in Chan, Golub, LeVeque 1983, so that a large mean costs no digits of the variance.
    """

    count: int
    mean: Floats
    """(bands,)"""
    scatter: Floats
    """(bands, bands) sums of products of deviations from the mean."""

    @classmethod
    def none(cls, bands: int) -> Self:
        """Of no pixel."""
        return cls(count=0, mean=np.zeros(bands), scatter=np.zeros((bands, bands)))

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Self:
        """Of (bands, pixels), in float64."""
        if values.shape[1] == 0:
            return cls.none(len(values))
        exact = values.astype(np.float64)
        mean = exact.mean(axis=1)
        exact -= mean[:, None]
        return cls(count=exact.shape[1], mean=mean, scatter=exact @ exact.T)

    def __add__(self, other: Self) -> Self:
        count = self.count + other.count
        if count == 0:
            return self
        apart = other.mean - self.mean
        return type(self)(
            count=count,
            mean=self.mean + apart * (other.count / count),
            scatter=self.scatter + other.scatter + np.outer(apart, apart) * (self.count * other.count / count),
        )

    @property
    def covariance(self) -> Floats:
        """(bands, bands), of the pixels themselves (divided by their count)."""
        return np.asarray(self.scatter / max(self.count, 1))

    @property
    def std(self) -> Floats:
        """(bands,)"""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    def normalised_covariance(self, *, std: Sequence[float]) -> Floats:
        """(bands, bands) of the values divided by `std`."""
        scale = np.asarray(std)
        return np.asarray(self.covariance / np.outer(scale, scale))
