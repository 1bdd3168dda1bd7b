"""Laws of sharing out points: totals and bounds are kept, proportions as far as whole numbers can."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.accuracy.allocation import Allocation, SampleSize, allocate, cochran_size, share_out, shares
from geoseg.core.legend import LandClass, Legend
from geoseg.core.tally import AreaTally
from geoseg.errors import ProductError, SettingsError

WEIGHTS = [0.02, 0.015, 0.32, 0.645]
LEGEND = Legend(classes=tuple(LandClass(id=k, name=n, color="#000000") for k, n in enumerate(["loss", "gain", "rest"])))


@st.composite
def problems(draw: st.DrawFn) -> tuple[int, list[float], list[int], list[int]]:
    """(total, shares, minimums, maximums) that have an answer."""
    size = draw(st.integers(1, 8))
    wanted = draw(st.lists(st.floats(0, 1), min_size=size, max_size=size).filter(lambda one: sum(one) > 0.01))
    least = draw(st.lists(st.integers(0, 50), min_size=size, max_size=size))
    most = [low + draw(st.integers(0, 10_000)) for low in least]
    total = draw(st.integers(sum(least), sum(most)))
    return total, [one / sum(wanted) for one in wanted], least, most


@given(problems())
def test_points_add_up_to_the_total_within_their_bounds(problem: tuple[int, list[float], list[int], list[int]]) -> None:
    total, wanted, least, most = problem
    points = allocate(total, wanted, least=least, most=most)
    assert sum(points) == total
    assert all(low <= one <= high for low, one, high in zip(least, points, most, strict=True))


@given(problems())
def test_between_the_bounds_points_are_in_proportion(problem: tuple[int, list[float], list[int], list[int]]) -> None:
    """Among strata that no bound holds, points over share are the same, to the one point of rounding."""
    total, wanted, least, most = problem
    points = allocate(total, wanted, least=least, most=most)
    free = [
        (one, share)
        for low, one, high, share in zip(least, points, most, wanted, strict=True)
        if low + 1 < one < high - 1 and share > 1e-6
    ]
    for one, share in free:
        for other, its in free:
            assert (one - 1) * its <= (other + 1) * share + 1e-6


def test_the_largest_remainder_gets_the_point_and_the_first_on_ties() -> None:
    assert allocate(641, shares("proportional", WEIGHTS, [0.8] * 4), least=[0] * 4, most=[10**6] * 4) == [
        13, 10, 205, 413,
    ]  # fmt: skip
    assert allocate(5, [0.25] * 4, least=[0] * 4, most=[9] * 4) == [2, 1, 1, 1]


def test_rare_classes_first_the_rest_in_proportion() -> None:
    """As Olofsson et al. do with 641 points: 75 for the two rare classes; the rest is what proportion gives."""
    points = allocate(641, shares("proportional", WEIGHTS, [0.8] * 4), least=[75] * 4, most=[10**6] * 4)
    assert points[:2] == [75, 75]
    assert points[2] == pytest.approx(491 * 0.32 / 0.965, abs=1)


@pytest.mark.parametrize(
    ("total", "words"), [(5, "fewer than the minimum of 6 over 3 classes"), (31, "more than the 30 pixels")]
)
def test_an_impossible_total_is_refused(total: int, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        allocate(total, [1 / 3] * 3, least=[2] * 3, most=[10] * 3)


def test_neyman_without_any_error_expected_is_proportional() -> None:
    assert np.allclose(shares("neyman", WEIGHTS, [1, 1, 1, 0]), np.array(WEIGHTS) / sum(WEIGHTS))
    with pytest.raises(SettingsError, match="no size follows from --se"):
        cochran_size(WEIGHTS, [1, 1, 1, 0], target_se=0.01)


def strata_of(pixels: dict[int, int]) -> AreaTally:
    """Pixels of 900 m2."""
    return AreaTally(pixels=pixels, units={label: count * 900 for label, count in pixels.items()})


def test_a_size_becomes_points_of_every_stratum_that_occurs() -> None:
    strata = strata_of({0: 20, 2: 100_000, 255: 5000})
    counts, words = share_out(strata, LEGEND, SampleSize(total=100))
    assert counts == {0: 20, 2: 80}
    assert words == "proportional, at least 30 in each stratum"
    counts, words = share_out(strata, LEGEND, SampleSize(target_se=0.02, expected_ua={"rest": 0.9}, min_per_class=0))
    # S of rest is 0.3 and nearly all of the area: (0.3 / 0.02)^2 = 225
    assert counts == {0: 2, 2: 225}
    assert words.startswith(
        "SE(OA) 0.02 is expected of 227 points (0.02 was asked for) with user's accuracy loss 0.8, "
    )


@pytest.mark.parametrize("allocation", ["proportional", "neyman", "equal"])
@given(
    st.lists(st.tuples(st.integers(50, 10**7), st.floats(0.5, 0.995)), min_size=2, max_size=3),
    st.floats(0.005, 0.05),
    st.integers(2, 50),
)
def test_a_precision_is_reached_by_every_allocation_and_not_by_fewer_points(
    allocation: Allocation, found: list[tuple[int, float]], target: float, least: int
) -> None:
    """The variance of stratified sampling, sum W^2 U (1 - U) / n, over strata that are not counted completely."""
    names = [one.name for one in LEGEND][: len(found)]
    expected = {name: ua for name, (_, ua) in zip(names, found, strict=True)}
    size = SampleSize(target_se=target, allocation=allocation, expected_ua=expected, min_per_class=least)
    pixels = {k: count for k, (count, _) in enumerate(found)}
    points, words = share_out(strata_of(pixels), LEGEND, size)

    def variance(counts: dict[int, int]) -> float:
        share = {k: count / sum(pixels.values()) for k, count in pixels.items()}
        return sum(
            share[k] ** 2 * ua * (1 - ua) / counts[k] for k, (_, ua) in enumerate(found) if counts[k] < pixels[k]
        )

    assert variance(points) <= target**2 * (1 + 1e-9)
    assert f"SE(OA) {variance(points) ** 0.5:.3g} is expected of {sum(points.values())} points" in words
    total = sum(points.values()) - 1
    if total >= sum(min(least, one) for one in pixels.values()):
        size = SampleSize(total=total, allocation=allocation, expected_ua=expected, min_per_class=least)
        assert variance(share_out(strata_of(pixels), LEGEND, size)[0]) > target**2 * (1 - 1e-9)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ({}, "size of the sample is not said once"),
        ({"total": 9, "target_se": 0.1}, "size of the sample is not said once"),
        ({"total": -1}, "--n -1 is negative"),
        ({"total": 60, "expected_ua": {"rets": 1}}, "--expected-ua: 'rets' is no class.*did you mean 'rest'"),
        ({"total": 60, "expected_ua": {"rest": 90}}, "user's accuracy 90 is not in 0 … 1"),
        ({"target_se": 2.0}, "standard error of 2 is not in"),
        ({"counts": {"rest": 50}}, "loss covers 1.80 ha of the map and has no count: add loss=N"),
        ({"counts": {"rest": 50, "loss": 21}}, "loss=21 is not in 2 … 20"),
        ({"counts": {"rest": 50, "loss": 1}}, "loss=1 is not in 2 … 20"),
        ({"counts": {"rest": 50, "gain": 9}}, "'gain' is no class that can be sampled"),
        ({"counts": {"rest": 50, "2": 9}}, "a class is given twice, by name and by id"),
    ],
)
def test_a_size_that_does_not_fit_is_refused(size: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        share_out(strata_of({0: 20, 2: 100_000}), LEGEND, SampleSize(**size))  # type: ignore[arg-type]


def test_a_stratum_may_be_called_by_its_id() -> None:
    counts, words = share_out(strata_of({0: 20, 2: 100_000}), LEGEND, SampleSize(counts={"0": 20, "rest": 50}))
    assert counts == {0: 20, 2: 50}
    assert words == "counts given by the user"


def test_a_map_without_a_class_cannot_be_sampled() -> None:
    with pytest.raises(ProductError, match="no pixel of the map can be sampled"):
        share_out(strata_of({255: 100}), LEGEND, SampleSize(total=10))
