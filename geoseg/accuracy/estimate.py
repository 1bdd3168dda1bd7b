"""Stratified estimators of means and ratios over a table of counts, with standard errors. What is asked is elsewhere.

One pair of formulas serves both published designs. Stehman (2014, Int. J. Remote Sensing 35, eqs. 2, 3, 25-28):
mean and ratio of indicator variables over strata that need not be the map's classes, with the finite population
correction. Where the strata are the map's classes and the correction is left out they are, term by term, the
estimators of Olofsson et al. (2013, 2014, RSE 129 and 148).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

ESTIMATE_PARTS: Final = ("value", "se", "half_width", "low", "high")
"""Names of what an estimate says, in documents and tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure from a sample and how sure it is."""

    value: float
    se: float
    """Standard error; NaN where a stratum of one point, whose points can differ in it, leaves it unknown."""
    z: float
    """Half-width of the interval in standard errors."""
    least: float = 0.0
    most: float = 1.0
    """What the quantity can be: the interval is cut to it."""

    @property
    def half_width(self) -> float:
        """Standard error times z."""
        return self.z * self.se

    @property
    def low(self) -> float:
        """Lower limit of the Wald interval."""
        return max(self.value - self.half_width, self.least) if math.isfinite(self.se) else math.nan

    @property
    def high(self) -> float:
        """Upper limit of the Wald interval."""
        return min(self.value + self.half_width, self.most) if math.isfinite(self.se) else math.nan

    def scaled(self, factor: float) -> "Estimate":
        """The same of a quantity `factor` times as large: a share of an area as an area."""
        return Estimate(
            value=self.value * factor,
            se=self.se * factor,
            z=self.z,
            least=self.least * factor,
            most=self.most * factor,
        )

    def to_json(self) -> dict[str, float | None]:
        """{"value", "se", "half_width", "low", "high"}; null for what is not known."""
        parts: dict[str, float] = {name: getattr(self, name) for name in ESTIMATE_PARTS}
        return {name: one if math.isfinite(one) else None for name, one in parts.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleTable:
    """A labelled sample: points by stratum, map class and reference class."""

    class_ids: tuple[int, ...]
    """Of both the second and the third axis of `counts`."""
    weights: Floats
    """(strata,) size of each stratum, in any unit: area, pixels, a share."""
    counts: npt.NDArray[np.int64]
    """(strata, map classes, reference classes)."""
    population: Floats | None = None
    """(strata,) pixels of each stratum, for the finite population correction; None or infinite: none is made."""
    weighed: Floats | None = None
    """`counts` with each point weighed by the ground it stands for; adds up to the points of each stratum. None: all
    points are alike."""
    squares: Floats | None = None
    """The same with the squares of the weights."""
    strata_are_classes: bool = False
    """Each stratum is a class of the map, so that it can have no point of another mapped class."""

    def __post_init__(self) -> None:
        size = len(self.class_ids)
        if self.counts.shape != (len(self.weights), size, size):
            raise ValueError(f"counts {self.counts.shape} are not (strata, classes, classes)")
        if (self.points < 1).any():
            raise ValueError(f"a stratum has no point: {self.points.tolist()}")
        if not (self.weights > 0).all():
            raise ValueError(f"a stratum has no size: {self.weights.tolist()}")

    @property
    def points(self) -> npt.NDArray[np.int64]:
        """(strata,) points of each."""
        total: npt.NDArray[np.int64] = self.counts.sum(axis=(1, 2))
        return total

    @property
    def is_counted(self) -> npt.NDArray[np.bool_]:
        """(strata,) True: every pixel of the stratum is in the sample."""
        whole: npt.NDArray[np.bool_] = self.points >= (np.inf if self.population is None else self.population)
        return whole

    @property
    def shares(self) -> Floats:
        """(strata,) share of each stratum."""
        part: Floats = self.weights / self.weights.sum()
        return part

    @property
    def proportions(self) -> Floats:
        """(map classes, reference classes) estimated share of the whole area; they add up to 1."""
        scale = self.shares / self.points
        total: Floats = np.tensordot(scale, self.counts if self.weighed is None else self.weighed, axes=(0, 0))
        return total

    def sums(self, values: Floats) -> Floats:
        """(strata,) sum of what `values` (map classes, reference classes) gives the points of each stratum."""
        return _summed(self.counts if self.weighed is None else self.weighed, values)

    def square_sums(self, values: Floats) -> Floats:
        """(strata,) the same with the squares of the weights."""
        return _summed(self.counts if self.squares is None else self.squares, values)

    def differs(self, values: Floats) -> npt.NDArray[np.bool_]:
        """(strata,) True: points of the stratum can differ in `values`."""
        seen = self.counts.any(axis=2) if self.strata_are_classes else np.ones(self.counts.shape[:2], np.bool_)
        low, high = values.min(axis=1), values.max(axis=1)
        least, most = np.where(seen, low, np.inf).min(axis=1), np.where(seen, high, -np.inf).max(axis=1)
        found: npt.NDArray[np.bool_] = least < most
        return found

    @staticmethod
    def of_map_classes(counts: Sequence[Sequence[int]], weights: Sequence[float]) -> "SampleTable":
        """The table of an error matrix whose rows, the map's classes, are the strata."""
        matrix = np.asarray(counts, np.int64)
        table = np.zeros((len(matrix), *matrix.shape), np.int64)
        for row in range(len(matrix)):
            table[row, row] = matrix[row]
        ids = tuple(range(len(matrix)))
        sizes = np.asarray(weights, np.float64)
        return SampleTable(class_ids=ids, weights=sizes, counts=table, strata_are_classes=True)

    def mapped(self, index: int) -> Floats:
        """(classes, classes) 1 where the map has the class of that index."""
        cells = np.zeros(self.counts.shape[1:])
        cells[index] = 1
        return cells

    def referenced(self, index: int) -> Floats:
        """(classes, classes) 1 where the reference has it."""
        return self.mapped(index).T


def z_of(level: float) -> float:
    """Standard normal quantile of a two-sided confidence level in 0 … 1."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def estimate_mean(table: SampleTable, values: Floats, z: float) -> Estimate:
    """The mean over the area of what `values` (map classes, reference classes) gives each cell (eqs. 2 and 3)."""
    return estimate_ratio(table, values, np.ones_like(values), z)


def estimate_ratio(table: SampleTable, numerator: Floats, denominator: Floats, z: float) -> Estimate:
    """The ratio of two totals over the area (eqs. 26-28); its variance is the delta method's.

    Raises:
        ZeroDivisionError: the denominator's estimate is 0.
    """
    points = table.points
    share = table.shares
    mean_y = table.sums(numerator) / points
    mean_x = table.sums(denominator) / points
    total_x = float(share @ mean_x)
    if total_x == 0:
        raise ZeroDivisionError("the denominator of a ratio is estimated as 0")
    ratio = float(share @ mean_y) / total_x
    # s2y + R^2 s2x - 2 R sxy is the sample variance of y - R x
    residual = numerator - ratio * denominator
    mean = table.sums(residual) / points
    ones = np.ones_like(residual)
    squares = table.square_sums(residual**2) - 2 * mean * table.square_sums(residual)
    squares += mean**2 * table.square_sums(ones)
    unknown = np.where(table.differs(residual), np.nan, 0.0)  # of a single point
    spread = np.where(points > 1, np.maximum(squares, 0) / np.maximum(points - 1, 1), unknown)
    uncounted = np.ones(len(points)) if table.population is None else 1 - points / table.population
    # A stratum that was counted completely adds no error, though it be a single point.
    parts = np.where(uncounted > 0, share**2 * uncounted * spread / points, 0.0)
    return Estimate(value=ratio, se=float(np.sqrt(parts.sum())) / total_x, z=z)


def score_limits(table: SampleTable, values: Floats, z: float) -> tuple[float, float]:
    """Limits for the mean of a 0/1 variable from Wilson's limits in each stratum, combined by MOVER.

    Zou, Huang and Zhang (2009, Comput. Stat. Data Anal. 53): a linear function of binomial proportions; keeps its
    level where few points or none have the class, which Wald's interval does not. No finite population correction.
    """
    _, low, high = _mover(table, values, z, np.ones(len(table.weights), np.bool_))
    return low, high


def users_score_limits(table: SampleTable, index: int, z: float) -> tuple[float, float] | None:
    """Wilson's limits for the user's accuracy of a class that is a stratum of its own; None without its points."""
    own = np.flatnonzero(table.counts[:, index].any(axis=1))
    if len(own) != 1:
        return None
    low, high = _wilson_by_stratum(table, table.referenced(index), z)
    return float(low[own[0]]), float(high[own[0]])


def producers_score_limits(table: SampleTable, index: int, z: float) -> tuple[float, float] | None:
    """Limits for the producer's accuracy of a class where the strata are the map's classes; None without its points.

    It is 1 / (1 + omitted / agreed), and the two lie in different strata, so that limits of their ratio follow from
    Wilson's limits of each (Donner and Zou 2012, Stat. Methods Med. Res. 21, MOVER for a ratio).
    """
    own = table.counts[:, index].sum(axis=1) > 0
    if not own.any() or not table.counts[:, :, index].any():
        return None
    agreed, agreed_low, agreed_high = _mover(table, table.referenced(index), z, own)
    omitted, omitted_low, omitted_high = _mover(table, table.referenced(index), z, ~own)
    both = agreed * omitted
    inner = both**2 - omitted_low * agreed_high * (2 * omitted - omitted_low) * (2 * agreed - agreed_high)
    outer = both**2 - omitted_high * agreed_low * (2 * omitted - omitted_high) * (2 * agreed - agreed_low)
    least = (both - math.sqrt(max(inner, 0))) / (agreed_high * (2 * agreed - agreed_high))
    floor = agreed_low * (2 * agreed - agreed_low)
    most = (both + math.sqrt(max(outer, 0))) / floor if floor > 0 else math.inf
    return 1 / (1 + most), 1 / (1 + max(least, 0))


def _mover(table: SampleTable, values: Floats, z: float, strata: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """(mean, low, high) over the whole area of a 0/1 variable that is 0 outside of `strata`."""
    share = table.shares[strata]
    found = (table.sums(values) / table.points)[strata]
    low, high = (limits[strata] for limits in _wilson_by_stratum(table, values, z))
    mean = float(share @ found)
    below = math.sqrt(float((share**2) @ (found - low) ** 2))
    above = math.sqrt(float((share**2) @ (high - found) ** 2))
    return mean, max(mean - below, 0.0), min(mean + above, 1.0)


def _wilson_by_stratum(table: SampleTable, values: Floats, z: float) -> tuple[Floats, Floats]:
    """(strata,) limits of a 0/1 variable in each; the share itself where a stratum was counted completely."""
    found = table.sums(values) / table.points
    # Kish's effective number of points; all of them where they are alike
    low, high = _wilson(found, table.points**2 / table.square_sums(np.ones(table.counts.shape[1:])), z)
    counted = table.is_counted
    return np.where(counted, found, low), np.where(counted, found, high)


def _wilson(found: Floats, points: Floats, z: float) -> tuple[Floats, Floats]:
    centre = (found + z**2 / (2 * points)) / (1 + z**2 / points)
    half = z / (1 + z**2 / points) * np.sqrt(found * (1 - found) / points + z**2 / (4 * points**2))
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)


def _summed(cells: npt.NDArray[Any], values: Floats) -> Floats:
    found: Floats = np.asarray(np.tensordot(cells, values, axes=((1, 2), (0, 1))), np.float64)
    return found
