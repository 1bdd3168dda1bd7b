"""What a labelled sample says of a map: no bias, no false certainty, every unusual sample said."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.coverage import COUNTS, PIXELS, simulate
from geoseg.accuracy.assessment import Assessment, assess
from geoseg.accuracy.assessment_text import accuracy_columns, headline, matrix_columns, notes, summary, to_json
from geoseg.accuracy.estimate import (
    Floats,
    SampleTable,
    estimate_mean,
    estimate_ratio,
    producers_score_limits,
    score_limits,
    users_score_limits,
    z_of,
)
from geoseg.accuracy.response import read_responses
from geoseg.errors import ProductError, SettingsError
from tests.accuracy.designs import make_design

Z = z_of(0.95)


def judge(
    labels: str, *, points: tuple[int, int] = (4, 6), strata: str | None = None, level: float = 0.95
) -> Assessment:
    """`labels`: one letter a point: o, f, ? or _ for blank; the first points are mapped as o, the rest as f."""
    names = {"o": "Other land", "f": "forêt", "?": "?", "_": "", "1": "1"}
    design = make_design(points=points, strata_source=strata)
    rows = [{"sample_id": str(k), "reference_class": names[one]} for k, one in enumerate(labels, start=1)]
    responses = read_responses(rows, design, place="points.csv")
    return assess(design, responses, reference="points.csv", level=level)


def test_a_small_sample_by_hand() -> None:
    """70 ha with 3 of 4 right, 30 ha with 5 of 6 right: area of o = 70 · 3/4 + 30 · 1/6 = 57.5 ha."""
    found = judge("ooof" + "fffffo")
    other, forest = found.classes
    assert other.area.value == pytest.approx(57.5e4)
    assert forest.area.value == pytest.approx(42.5e4)
    variance = 0.7**2 * (3 / 4) * (1 / 4) / 3 + 0.3**2 * (5 / 6) * (1 / 6) / 5
    assert [other.area.se, forest.area.se] == pytest.approx([1e6 * math.sqrt(variance)] * 2)
    assert found.overall.value == pytest.approx(0.7 * 3 / 4 + 0.3 * 5 / 6)
    assert found.overall.se == pytest.approx(math.sqrt(variance))
    assert other.users is not None
    assert other.users.value == pytest.approx(3 / 4)
    assert other.producers is not None
    assert other.producers.value == pytest.approx(52.5 / 57.5)
    assert other.f1 is not None
    assert other.f1.value == pytest.approx(2 * 52.5 / (70 + 57.5))
    assert (other.mapped_m2, other.n_map, other.n_reference) == (7e5, 4, 4)
    assert found.matrix.tolist() == [[3, 1], [1, 5]]


def test_f1_has_the_error_that_the_jackknife_gives() -> None:
    """An independent check of the delta method: the stratified jackknife, which knows nothing of ratios.

    On a hundred times the points of table 8, where the two are the same to the rounding that is left.
    """
    counts, weights = 100 * np.array(COUNTS, float), np.array(PIXELS) / sum(PIXELS)
    table = SampleTable.of_map_classes(counts.astype(int).tolist(), PIXELS)

    def f1(matrix: Floats, k: int) -> float:
        share = weights[:, None] * matrix / matrix.sum(axis=1, keepdims=True)
        return float(2 * share[k, k] / (share[k].sum() + share[:, k].sum()))

    for k in range(4):
        mapped, referenced = table.mapped(k), table.referenced(k)
        found = estimate_ratio(table, 2 * mapped * referenced, mapped + referenced, Z)
        assert found.value == pytest.approx(f1(counts, k))
        variance = 0.0
        for h in range(4):
            n = counts[h].sum()
            values, times = [], []
            for j in np.flatnonzero(counts[h]):
                without = counts.copy()
                without[h, j] -= 1
                values.append(f1(without, k))
                times.append(counts[h, j])
            mean = np.average(values, weights=times)
            variance += (n - 1) / n * np.dot(times, (np.array(values) - mean) ** 2)
        assert found.se == pytest.approx(math.sqrt(variance), rel=1e-3)


def test_strata_that_are_not_the_map_s_give_the_same_means() -> None:
    """Only the finite population correction differs; it is 1 - 4/7000 and 1 - 6/3000 here."""
    own, other = judge("ooof" + "fffffo"), judge("ooof" + "fffffo", strata="older.tif")
    assert other.classes[0].area.value == own.classes[0].area.value
    assert 0.99 * own.overall.se < other.overall.se < own.overall.se
    assert "Olofsson" in own.estimator
    assert "Stehman" in other.estimator


def test_estimates_have_no_bias() -> None:
    """2000 samples of table 8's map: the mean of each estimate is within four standard errors of the truth."""
    rng = np.random.default_rng(1)
    matrix = np.array(COUNTS)
    rates = matrix / matrix.sum(axis=1, keepdims=True)
    weights = np.array(PIXELS) / sum(PIXELS)
    truth = weights @ rates
    found = []
    for _ in range(2000):
        drawn = [rng.multinomial(row.sum(), rate).tolist() for row, rate in zip(matrix, rates, strict=True)]
        table = SampleTable.of_map_classes(drawn, PIXELS)
        found.append([(one.value, one.se) for one in (estimate_mean(table, table.referenced(k), Z) for k in range(4))])
    values, errors = np.array(found)[..., 0], np.array(found)[..., 1]
    spread = values.std(axis=0, ddof=1)
    assert (np.abs(values.mean(axis=0) - truth) < 4 * spread / math.sqrt(2000)).all()
    assert (errors**2).mean(axis=0) == pytest.approx(spread**2, rel=0.15)


def test_score_limits_of_one_stratum_are_wilson_s() -> None:
    """0 of 20 at 95 %: 0 to 16.11 %, as printed in tables (Newcombe 1998); and 3 of 10: 10.78 to 60.32 %."""
    none = SampleTable.of_map_classes([[20, 0], [0, 20]], [1e9, 1.0])
    low, high = score_limits(none, none.referenced(1), Z)
    assert low == pytest.approx(0, abs=1e-8)
    assert high == pytest.approx(0.1611, abs=5e-5)
    some = SampleTable.of_map_classes([[7, 3], [0, 20]], [1e9, 1.0])
    assert score_limits(some, some.referenced(1), Z) == pytest.approx((0.1078, 0.6032), abs=5e-5)


def test_score_limits_of_the_user_s_accuracy_need_a_stratum_of_the_class() -> None:
    assert users_score_limits(SampleTable.of_map_classes([[7, 3], [0, 20]], [1, 1]), 0, Z) == pytest.approx(
        (0.3968, 0.8922), abs=5e-5
    )
    twice = SampleTable(class_ids=(0,), weights=np.array([1.0, 2.0]), counts=np.ones((2, 1, 1), np.int64))
    assert users_score_limits(twice, 0, Z) is None


def test_score_limits_of_the_producer_s_accuracy_hold_at_the_ends() -> None:
    """Nothing omitted: up to 1; nothing agreed: from 0; neither: none. In between they are beside the estimate."""
    clean, missed = (SampleTable.of_map_classes(one, [0.3, 0.7]) for one in ([[10, 0], [0, 20]], [[0, 10], [3, 17]]))
    found = producers_score_limits(clean, 0, Z)
    assert found is not None
    # Wilson's limits are n / (n + z²) for n of n and z² / (n + z²) for none: both at once would give less
    agreed, omitted = 0.3 * 10 / (10 + Z**2), 0.7 * Z**2 / (20 + Z**2)
    least = agreed / (agreed + omitted)
    assert least < found[0] < 1
    assert found[1] == 1
    assert (producers_score_limits(missed, 0, Z) or (1, 1))[0] == 0
    assert producers_score_limits(SampleTable.of_map_classes([[0, 9], [0, 9]], [0.5, 0.5]), 0, Z) is None
    for k in range(4):
        table = SampleTable.of_map_classes(COUNTS, PIXELS)
        low, high = producers_score_limits(table, k, Z) or (1, 0)
        both = table.mapped(k) * table.referenced(k)
        assert low < estimate_ratio(table, both, table.referenced(k), Z).value < high


def test_a_class_that_no_point_has_is_not_known_to_be_absent() -> None:
    found = judge("oooo" + "oooooo")
    forest = found.classes[1]
    assert forest.area.value == 0
    assert math.isnan(forest.area.se)
    assert forest.producers is None
    assert forest.users is not None
    assert forest.users.value == 0
    assert forest.score_m2[1] > 1e5
    assert "no reference point has this class" in forest.flags[0]
    assert headline(found)[1].startswith("forêt: 0.00 ha, at most ")
    assert to_json(found)["classes"][1]["area_m2"] == {
        "value": 0.0,
        "se": None,
        "half_width": None,
        "low": None,
        "high": None,
    }


def test_a_class_only_the_reference_has_is_estimated() -> None:
    found = judge("ooo1" + "ffffff")
    third = found.classes[2]
    assert (third.name, third.mapped_m2, third.n_map, third.users) == ("1", 0, 0, None)
    assert third.area.value == pytest.approx(0.7e6 / 4)


def test_one_point_in_a_stratum_has_no_variance() -> None:
    found = judge("oooo" + "f?____")
    assert math.isnan(found.overall.se)
    assert found.overall.to_json() == {"value": 1.0, "se": None, "half_width": None, "low": None, "high": None}
    assert any("stratum forêt has one usable point" in one for one in notes(found))
    assert "nan" not in summary(found).lower()
    assert "NaN" not in json.dumps(to_json(found), allow_nan=False)


def test_a_stratum_of_one_point_leaves_the_others_what_they_are() -> None:
    """User's accuracy of the other class is 3 of 4, whatever that one point says; all else depends on it."""
    found = judge("ooof" + "f?____")
    other, forest = found.classes
    assert other.users is not None
    assert other.users.se == pytest.approx(math.sqrt(3 / 4 * 1 / 4 / 3))
    assert forest.users is not None
    assert other.producers is not None
    assert all(math.isnan(one.se) for one in (found.overall, other.area, forest.area, forest.users, other.producers))
    elsewhere = judge("ooof" + "f?____", strata="older.tif")  # whose point could have been of any mapped class
    assert elsewhere.classes[0].users is not None
    assert math.isnan(elsewhere.classes[0].users.se)


def test_points_weigh_what_they_stand_for() -> None:
    """Against the sums of a weighted mean and its linearized variance, written out."""
    design, answers = make_design(), ["Other land"] * 3 + ["forêt"] * 6 + ["Other land"]
    weights = [0.5, 1.5, 1.2, 0.8, 2.0, 0.4, 0.9, 1.1, 0.7, 0.9]
    points = tuple(replace(one, weight=w) for one, w in zip(design.points, weights, strict=True))
    rows = [{"sample_id": str(k), "reference_class": one} for k, one in enumerate(answers, start=1)]
    design = replace(design, points=points)
    found = assess(design, read_responses(rows, design, place="points.csv"), reference="points.csv")
    is_forest = np.array([one == "forêt" for one in answers])
    share = variance = 0.0
    for part, area in ((slice(0, 4), 0.7), (slice(4, 10), 0.3)):
        w, y = np.array(weights[part]), is_forest[part]
        mean, n = float(w @ y / w.sum()), len(y)
        share += area * mean
        variance += area**2 * float((w * n / w.sum()) ** 2 @ (y - mean) ** 2) / (n - 1) / n
    assert found.classes[1].area.value == pytest.approx(1e6 * share)
    assert found.classes[1].area.se == pytest.approx(1e6 * math.sqrt(variance))
    assert found.table.proportions[:, 1].sum() == pytest.approx(share)
    assert found.matrix.tolist() == [[3, 1], [1, 5]]
    assert any("each point is weighed by the ground it stands for" in one for one in notes(found))


def test_a_stratum_that_was_counted_completely_adds_no_error() -> None:
    """Both pixels of forest are labelled, one right: its share is known, the other stratum has all the variance."""
    design = make_design(points=(4, 2))
    strata = (design.strata[0], replace(design.strata[1], pixels=2))
    design = replace(design, strata=strata, classes=strata)
    answers = ["Other land", "Other land", "Other land", "forêt", "forêt", "Other land"]
    rows = [{"sample_id": str(k), "reference_class": one} for k, one in enumerate(answers, start=1)]
    found = assess(design, read_responses(rows, design, place="points.csv"), reference="points.csv")
    assert found.overall.se == pytest.approx(0.7 * math.sqrt(3 / 4 * 1 / 4 / 3))


def test_a_stratum_without_a_label_is_refused() -> None:
    with pytest.raises(ProductError, match="none of the 6 points of stratum forêt has a usable label"):
        judge("oooo" + "?_____")


def test_a_perfect_class_is_not_certain() -> None:
    found = judge("oooo" + "ffffff")
    assert any("a standard error of 0 is not certainty" in flag for flag in found.classes[0].flags)
    assert any("0 points of omission and 0 of commission" in flag for flag in found.classes[0].flags)
    assert "between" in headline(found)[0]
    assert "score interval" in headline(found)[0]
    assert found.classes[0].score_m2[0] < 7e5 < found.classes[0].score_m2[1]


def test_a_score_of_nothing_or_of_everything_has_limits_and_no_zero() -> None:
    """4 of 4 at 95 %: Wilson 51.01 to 100 %; 0 of 6: 0 to 39.03 %; the overall accuracy by hand from the two."""
    found = judge("oooo" + "oooooo")
    other, forest = found.classes
    assert other.users_score == pytest.approx((0.5101, 1), abs=5e-5)
    assert forest.users_score == pytest.approx((0, 0.3903), abs=5e-5)
    assert found.overall_score == pytest.approx((0.7 - 0.7 * 0.4899, 0.7 + 0.3 * 0.3903), abs=5e-5)
    assert "no point that is right among 6 points of the mapped class" in forest.flags[-1]
    document, cells = to_json(found), accuracy_columns(found)
    assert document["classes"][0]["users_accuracy_score"]["low"] == pytest.approx(0.5101, abs=5e-5)
    assert document["overall_accuracy_score"]["high"] == found.overall_score[1]
    assert cells["users_score_low"] == ["0.510109", "0.000000", ""]
    assert cells["overall_score_low"] == ["", "", "0.357076"]
    for text in (summary(found), summary(judge("oooo" + "ffffff"))):
        assert "± 0.000" not in text
    assert "Overall accuracy 1.000 (" in summary(judge("oooo" + "ffffff"))


def test_tables_hold_a_class_of_which_nothing_is_known() -> None:
    """The first class has no accuracy at all: its cells are empty, and every column has every row."""
    found = judge("oooo" + "oooooo")
    bare = replace(found.classes[0], users=None, producers=None, f1=None, users_score=None, producers_score=None)
    cells = accuracy_columns(replace(found, classes=(bare, *found.classes[1:])))
    assert {len(one) for one in cells.values()} == {3}
    assert cells["producers_accuracy"][0] == cells["f1_half_width"][0] == cells["users_score_high"][0] == ""
    assert cells["f1"][1] == "0.000000"


def test_the_large_class_of_two_has_the_interval_of_the_small_one() -> None:
    """Its omission is the other's commission: 15 points, but its own commission is one point only."""
    found = judge("o" * 324 + "f" + "f" * 60 + "o" * 15, points=(325, 75))
    assert [(one.omitted, one.committed) for one in found.classes] == [(15, 1), (1, 15)]
    assert [one.area_interval for one in found.classes] == ["score", "score"]
    assert all("score interval" in line for line in headline(found))
    assert [one["area_interval"] for one in to_json(found)["classes"]] == ["score", "score"]
    assert "15 points of omission and 1 of commission, one of them fewer than 10" in found.classes[0].flags[0]


def test_what_is_printed_of_two_classes_holds_the_truth() -> None:
    """800 samples of a map of 5 and 95 %: Wald's interval misses in a tenth; the one printed keeps its 95 %."""
    for row in simulate(800, design="two classes"):
        assert row["wald"] < 0.925
        assert row["headline"] == row["score"] > 0.935


def test_enough_points_raise_no_flag() -> None:
    found = judge("o" * 40 + "f" * 12 + "f" * 40 + "o" * 12, points=(52, 52))
    assert [one.flags for one in found.classes] == [(), ()]
    assert " ± " in headline(found)[0]


def test_the_level_is_a_parameter_and_recorded() -> None:
    ninety, usual = judge("ooof" + "fffffo", level=0.9), judge("ooof" + "fffffo")
    assert ninety.overall.se == usual.overall.se
    assert ninety.overall.half_width / usual.overall.half_width == pytest.approx(1.644854 / 1.959964, rel=1e-6)
    assert (to_json(ninety)["confidence_level"], round(to_json(ninety)["z"], 5)) == (0.9, 1.64485)
    assert "90 % confidence" in "\n".join(headline(ninety))
    with pytest.raises(SettingsError, match="confidence level 95 is not in"):
        judge("ooof" + "fffffo", level=95)


def test_unused_points_and_excluded_area_are_said() -> None:
    text = summary(judge("oo?_" + "ffff__"))
    assert "4 of 10 points were not used (3 blank, 1 uninterpretable, 0 with labels that differ)" in text
    assert "assumed to have nothing to do with their class" in text
    assert "0.01 ha are not in the population and in no estimate: no class" in text
    assert "matched by sample_id alone" in text


def test_tables_are_the_document_s_figures() -> None:
    found = judge("ooof" + "fffffo")
    document = to_json(found)
    table = matrix_columns(found)
    assert table["reference: forêt"][:3] == ["1", "5", "6"]
    assert table["total"] == ["4", "6", "10", "0.7", "0.3", "1"]
    assert float(table["reference: forêt"][3]) == pytest.approx(0.7 / 4)
    accuracy = accuracy_columns(found)
    assert {len(one) for one in accuracy.values()} == {3}
    assert [float(one) for one in accuracy["area_ha"][:2]] == [57.5, 42.5]
    assert float(accuracy["area_ha_se"][0]) == pytest.approx(document["classes"][0]["area_m2"]["se"] / 1e4, abs=1e-4)
    assert accuracy["overall_accuracy"] == ["", "", "0.775000"]
    assert np.sum(document["matrix"]["proportions"]) == pytest.approx(1)
    assert sum(one["area_m2"]["value"] for one in document["classes"]) == pytest.approx(1e6)
