"""How many reference points, and how many in each stratum: arithmetic on weights. Which pixels is `draw`'s matter."""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from geoseg.core.legend import Legend
from geoseg.core.tally import AreaTally
from geoseg.errors import ProductError, SettingsError

Allocation = Literal["proportional", "neyman", "equal"]

EXPECTED_UA: Final = 0.8
"""User's accuracy of a class for which none is expected: rather low, so that the sample is rather large."""
LEAST_POINTS: Final = 2
"""Of a stratum: one point has no variance."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSize:
    """How large a sample is to be; exactly one of total, target_se and counts says it."""

    total: int | None = None
    target_se: float | None = None
    """Standard error of the overall accuracy to be reached."""
    counts: Mapping[str, int] | None = None
    """Points by name of stratum."""
    allocation: Allocation = "proportional"
    expected_ua: Mapping[str, float] = field(default_factory=dict)
    """By name of stratum; EXPECTED_UA for the others."""
    min_per_class: int = 30

    def __post_init__(self) -> None:
        if sum(one is not None for one in (self.total, self.target_se, self.counts)) != 1:
            raise SettingsError("the size of the sample is not said once: give one of --n, --se and --counts")
        for name, value in (("--n", self.total or 0), ("--min-per-class", self.min_per_class)):
            if value < 0:
                raise SettingsError(f"{name} {value} is negative: give a number from 0")


def share_out(strata: AreaTally, names: Legend, size: SampleSize) -> tuple[dict[int, int], str]:
    """Stratum id -> points, and how they were found in words.

    Args:
        strata: tally of the map by stratum.
        names: of the strata; labels of the tally that are not in it are not sampled.
        size: what is asked for.

    Raises:
        SettingsError: a name is no stratum, or the numbers do not fit the strata.
        ProductError: there is no pixel to sample.
    """
    ids = [one for one in names.ids if strata.pixels.get(one)]
    if not ids:
        raise ProductError(
            "no pixel of the map can be sampled: it has no class anywhere, or --buffer leaves none; give a smaller one"
        )
    by_name = {one.name: one.id for one in names if one.id in ids}
    if size.counts is not None:
        return _counts_given(size.counts, by_name, strata), "counts given by the user"
    pixels = [strata.pixels[one] for one in ids]
    expected = _by_id(size.expected_ua, by_name, "--expected-ua")
    accuracy = [expected.get(one, EXPECTED_UA) for one in ids]
    binary_sd(accuracy)  # refuses what is no share, whether or not the allocation asks for it
    weights = [strata.area_m2(one) / strata.area_m2(*ids) for one in ids]
    least = [min(max(size.min_per_class, LEAST_POINTS), own) for own in pixels]
    words = f"{size.allocation}, at least {max(size.min_per_class, LEAST_POINTS)} in each stratum"
    wanted = shares(size.allocation, weights, accuracy)
    if size.target_se is None:
        counts = allocate(size.total or 0, wanted, least=least, most=pixels)
        return dict(zip(ids, counts, strict=True)), words
    cochran_size(weights, accuracy, target_se=size.target_se)  # refuses what no size can reach
    counts = _for_precision(size.target_se, wanted, (weights, accuracy), least=least, most=pixels)
    reached = expected_se(weights, accuracy, counts, pixels=pixels)
    listed = ", ".join(f"{names.name_of(one)} {ua:g}" for one, ua in zip(ids, accuracy, strict=True))
    asked = f"SE(OA) {reached:.3g} is expected of {sum(counts)} points ({size.target_se:g} was asked for)"
    return dict(zip(ids, counts, strict=True)), f"{asked} with user's accuracy {listed}; {words}"


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


def expected_se(
    weights: Sequence[float], expected_ua: Sequence[float], points: Sequence[int], *, pixels: Sequence[int]
) -> float:
    """Standard error of the overall accuracy, sqrt(sum W^2 S^2 / n), whatever the allocation (Cochran 1977 eq. 5.7).

    A stratum that is counted completely adds none, as in the assessment.

    Args:
        weights: share of each stratum in the area.
        expected_ua: user's accuracy that is expected of each.
        points: of each.
        pixels: of each.
    """
    part = (np.asarray(weights, np.float64) * binary_sd(expected_ua)) ** 2 / np.asarray(points, np.float64)
    return float(np.sqrt(part[np.asarray(points) < np.asarray(pixels)].sum()))


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
    open_strata = [index for index in order if points[index] < high[index]]
    for index in open_strata[: round(total - points.sum())]:
        points[index] += 1
    return [int(one) for one in points]


def _for_precision(
    target_se: float,
    wanted: Floats,
    expected: tuple[Sequence[float], Sequence[float]],
    *,
    least: Sequence[int],
    most: Sequence[int],
) -> list[int]:
    """Points of the smallest total whose allocation reaches the standard error, by bisection over totals.

    Cochran's size holds for Neyman's allocation alone; proportional and equal ones need more.
    """
    below, enough = sum(least) - 1, sum(most)  # every pixel has no error
    while enough - below > 1:
        middle = (below + enough) // 2
        counts = allocate(middle, wanted, least=least, most=most)
        if expected_se(*expected, counts, pixels=most) <= target_se:
            enough = middle
        else:
            below = middle
    return allocate(enough, wanted, least=least, most=most)


def _bounded(total: int, wanted: Floats, low: Floats, high: Floats) -> Floats:
    """clip(t · wanted, low, high) with the t at which it adds up to the total; bisection, as the sum never falls."""
    shared = np.maximum(wanted, wanted.max() * 1e-12)  # so that a large t reaches every maximum

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


def _counts_given(counts: Mapping[str, int], by_name: Mapping[str, int], strata: AreaTally) -> dict[int, int]:
    given = {one: int(count) for one, count in _by_id(counts, by_name, "--counts").items()}
    for name, one in by_name.items():
        pixels = strata.pixels[one]
        if one not in given:
            area = f"{strata.area_m2(one) / 1e4:,.2f} ha"
            raise SettingsError(f"{name} covers {area} of the map and has no count: add {name}=N to --counts")
        if not min(LEAST_POINTS, pixels) <= given[one] <= pixels:
            raise SettingsError(
                f"--counts {name}={given[one]} is not in {min(LEAST_POINTS, pixels)} … {pixels}, its pixels in the map"
            )
    return dict(sorted(given.items()))


def _by_id(values: Mapping[str, float], by_name: Mapping[str, int], option: str) -> dict[int, float]:
    """Stratum id -> value; a stratum may be called by its id as well, a name wins."""
    known = {str(one): one for one in by_name.values()} | dict(by_name)
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, by_name, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise SettingsError(f"{option}: {name!r} is no class that can be sampled{hint} ({', '.join(by_name)})")
    found = {known[name]: value for name, value in values.items()}
    if len(found) < len(values):
        raise SettingsError(f"{option}: a class is given twice, by name and by id: give it once")
    return found
