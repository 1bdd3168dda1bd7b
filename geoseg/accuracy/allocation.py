"""How many reference points, and how many in each stratum: arithmetic on weights. Which pixels is `draw`'s matter."""

import math
from collections.abc import Sequence
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from geoseg.errors import SettingsError

Allocation = Literal["proportional", "neyman", "equal"]
ALLOCATIONS: Final = get_args(Allocation)

Floats = npt.NDArray[np.float64]


def binary_sd(expected_ua: Sequence[float]) -> Floats:
    """Standard deviation of right/wrong in each stratum, sqrt(U (1 - U)).

    Raises:
        SettingsError: an accuracy is not in 0 … 1.
    """
    accuracy = np.asarray(expected_ua, np.float64)
    for one in accuracy:
        if not 0 <= one <= 1:
            raise SettingsError(f"expected user's accuracy {one:g} is not in 0 … 1: correct --expected-ua")
    sd: Floats = np.sqrt(accuracy * (1 - accuracy))
    return sd


def cochran_size(weights: Sequence[float], expected_ua: Sequence[float], *, target_se: float) -> float:
    """Points for a standard error of the overall accuracy, (sum W S / S(O))^2; not rounded.

    Cochran 1977 eq. 5.25 without its last term, Olofsson et al. 2014 eq. 13.

    Args:
        weights: share of each stratum in the area; they add up to 1.
        expected_ua: user's accuracy that is expected of each.
        target_se: standard error of the overall accuracy to be reached.

    Raises:
        SettingsError: the target is not in 0 … 0.5, or no stratum is expected to have an error.
    """
    if not 0 < target_se <= 0.5:
        raise SettingsError(f"a standard error of {target_se:g} is not in 0 … 0.5: give --se 0.01 for one percent")
    spread = float(np.dot(weights, binary_sd(expected_ua)))
    if spread == 0:
        raise SettingsError("every expected user's accuracy is 0 or 1, so no size follows from --se: give --n")
    return (spread / target_se) ** 2


def simple_size(accuracy: float, *, half_width: float, z: float) -> float:
    """Points of a simple random sample for a half-width of the overall accuracy's interval; not rounded."""
    return z**2 * accuracy * (1 - accuracy) / half_width**2


def shares(method: Allocation, weights: Sequence[float], expected_ua: Sequence[float]) -> Floats:
    """The share of the points that each stratum gets before minimums and rounding; they add up to 1.

    `proportional` follows the weights, `neyman` weight x standard deviation (all of which may be zero: then the
    weights), `equal` gives the same to each.
    """
    wanted = np.asarray(weights, np.float64)
    if method == "equal":
        wanted = np.ones_like(wanted)
    if method == "neyman":
        spread = wanted * binary_sd(expected_ua)
        wanted = spread if spread.sum() > 0 else wanted
    part: Floats = wanted / wanted.sum()
    return part


def allocate(total: int, wanted: Sequence[float] | Floats, *, least: Sequence[int], most: Sequence[int]) -> list[int]:
    """Whole points per stratum that add up to `total`, within their bounds.

    What the minimums take is taken from the other strata in proportion (Olofsson et al. 2014, 5.2.1: rare classes
    first, the rest in proportion). Fractions: the largest remainder gets the point, the first stratum on ties.

    Args:
        total: points of the whole sample.
        wanted: share of each stratum.
        least: minimum of each.
        most: maximum of each: its pixels.

    Raises:
        SettingsError: no allocation keeps the bounds.
    """
    low, high = np.asarray(least, np.float64), np.asarray(most, np.float64)
    if total < low.sum():
        raise SettingsError(
            f"{total} points are fewer than the minimum of {int(low.sum())} over {len(low)} classes: "
            "give more with --n, or lower --min-per-class"
        )
    if total > high.sum():
        raise SettingsError(f"{total} points are more than the {int(high.sum())} pixels of the map: give a smaller --n")
    exact = _bounded(total, np.asarray(wanted, np.float64), low, high)
    points = np.floor(exact + 1e-9)
    order = np.argsort(-(exact - points).round(9), kind="stable")
    for index in order[: round(total - points.sum())]:
        points[index] += 1
    return [int(one) for one in points]


def _bounded(total: int, wanted: Floats, low: Floats, high: Floats) -> Floats:
    """clip(t · wanted, low, high) with the t at which it adds up to the total; bisection, as the sum never falls."""
    shared = np.where(wanted > 0, wanted, wanted.max() * 1e-12)  # so that a large t reaches every maximum

    def at(exponent: float) -> Floats:
        clipped: Floats = np.clip(math.exp(exponent) * shared, low, high)
        return clipped

    left, right = -60.0, 120.0
    for _ in range(200):
        middle = (left + right) / 2
        left, right = (middle, right) if at(middle).sum() < total else (left, middle)
    found = at(right)
    free = (found > low) & (found < high)
    if free.any():  # what bisection left of the total, a rounding of it
        found[free] += (total - found.sum()) / free.sum()
    return found
