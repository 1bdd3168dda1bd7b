"""Transitions between two maps: equal to brute force, whatever the grid and however the rows are cut."""

from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from affine import Affine
from hypothesis import assume, given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geoseg.accuracy.change import ChangeTable, ClassChange, merge_legends, pair_key, tally_pairs, years_between
from geoseg.accuracy.change_codes import code_changes, find_target
from geoseg.core.area import PixelArea
from geoseg.core.legend import LandClass, Legend
from geoseg.core.tally import AreaTally
from geoseg.core.window import Window
from geoseg.errors import ProductError, SettingsError

IDS = (0, 1, 7)
GRIDS = {
    "geographic": ("EPSG:4326", Affine(0.01, 0, -61.5, 0, -0.02, 64.0)),
    "mercator": ("EPSG:3395", Affine(30, 0, -6885690.0, 0, -30, 1857300.0)),
    "rotated": ("EPSG:32633", Affine.translation(500_000, 5_400_000) * Affine.rotation(30) * Affine.scale(10, -10)),
}


def legend_of(*names: str, first: int = 0) -> Legend:
    return Legend(
        classes=tuple(LandClass(id=first + k, name=name, color=f"#0000{k:02x}") for k, name in enumerate(names))
    )


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Two random maps of one grid, their table, and what brute force says of any set of their pixels."""

    first: npt.NDArray[np.uint8]
    second: npt.NDArray[np.uint8]
    areas: npt.NDArray[np.float64]
    table: ChangeTable

    def brute(self, chosen: npt.NDArray[np.bool_]) -> float:
        """Areas added one by one, as fractions."""
        return float(sum((Fraction(float(one)) for one in self.areas[chosen]), Fraction(0)))


@st.composite
def drawn_maps(draw: st.DrawFn) -> Drawn:
    """Tallied in random cuts of the rows."""
    crs, transform = GRIDS[draw(st.sampled_from(sorted(GRIDS)))]
    shape = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    pixel_area = PixelArea(GeoBox(shape, transform, crs))
    ids = np.array([*IDS, 255], np.uint8)
    first, second = np.random.default_rng(draw(st.integers(0, 1000))).choice(ids, (2, *shape))
    cuts = draw(st.sets(st.integers(1, 39), max_size=4))
    tally = AreaTally.zero()
    for top, bottom in pairwise([0, *sorted(cut for cut in cuts if cut < shape[0]), shape[0]]):
        window = Window(row=top, col=0, height=bottom - top, width=shape[1])
        tally += tally_pairs(first[top:bottom], second[top:bottom], window, pixel_area)
    legend = Legend(classes=tuple(LandClass(id=k, name=f"c{k}", color="#000000") for k in IDS))
    areas = np.broadcast_to(pixel_area.of(Window(row=0, col=0, height=shape[0], width=shape[1])), shape)
    return Drawn(first=first, second=second, areas=areas, table=ChangeTable(legend=legend, pairs=tally))


@given(maps=drawn_maps())
def test_the_matrix_is_that_of_brute_force_however_the_rows_are_cut(maps: Drawn) -> None:
    first, second, table = maps.first, maps.second, maps.table
    assert [(one.first, one.second, one.pixels, one.area_m2) for one in table.transitions] == [
        (a, b, int(((first == a) & (second == b)).sum()), maps.brute((first == a) & (second == b)))
        for a in IDS
        for b in IDS
    ]
    unseen = [
        maps.brute((first == 255) & (second != 255)),
        maps.brute((first != 255) & (second == 255)),
        maps.brute((first == 255) & (second == 255)),
    ]
    ways = ((True, False), (False, True), (True, True))
    assert [table.area_m2(table.unobserved(first=a, second=b)) for a, b in ways] == unseen
    assert table.footprint_m2 == maps.brute(np.ones(first.shape, bool))


@given(maps=drawn_maps())
def test_gain_and_loss_of_a_class_are_those_of_brute_force(maps: Drawn) -> None:
    seen = (maps.first != 255) & (maps.second != 255)
    for one in maps.table.classes:
        was, now = (maps.first == one.id) & seen, (maps.second == one.id) & seen
        assert one.gain_m2 == maps.brute(now & ~was)
        assert one.loss_m2 == maps.brute(was & ~now)
        assert one.area1_m2 == pytest.approx(maps.brute(was), rel=1e-12)
        assert one.area2_m2 == pytest.approx(maps.brute(now), rel=1e-12)
        assert one.net_m2 == pytest.approx(maps.brute(now) - maps.brute(was), rel=1e-9, abs=1e-3)


@given(maps=drawn_maps(), target=st.sampled_from([None, 7]))
def test_labels_of_a_change_map_say_what_the_matrix_says(maps: Drawn, target: int | None) -> None:
    first, second = maps.first, maps.second
    assume(((first != 255) & (second != 255)).any())
    codes = code_changes(maps.table, target)
    labels = codes.label[first, second]
    assert np.array_equal(labels == 255, (first == 255) | (second == 255))
    expected = (first != second) if target is None else ((first == 7) != (second == 7))
    assert np.array_equal(np.isin(labels, codes.changed), expected & (labels != 255))
    assert set(codes.roles) == (set(IDS) if target is None else {7})
    for k, roles in codes.roles.items():
        assert np.array_equal(np.isin(labels, roles["loss"]), (first == k) & ~np.isin(second, [k, 255]))
        assert np.array_equal(np.isin(labels, roles["gain"]), (second == k) & ~np.isin(first, [k, 255]))
        assert np.array_equal(np.isin(labels, roles["stable"]), (first == k) & (second == k))


def test_a_map_too_wide_to_be_tallied_at_once_is_tallied_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The areas of a row of a geographic grid differ from those of the next."""
    crs, transform = GRIDS["geographic"]
    pixel_area = PixelArea(GeoBox((37, 11), transform, crs))
    first, second = np.random.default_rng(3).integers(0, 3, (2, 37, 11)).astype(np.uint8)
    window = Window(row=0, col=0, height=37, width=11)
    whole = tally_pairs(first, second, window, pixel_area)
    monkeypatch.setattr("geoseg.accuracy.change._CHUNK", 30)
    assert tally_pairs(first, second, window, pixel_area) == whole
    with pytest.raises(ValueError, match="are not of the window's shape"):
        tally_pairs(first[:5], second[:5], window, pixel_area)


@pytest.mark.parametrize(
    ("first", "second", "years"),
    [
        ("2010-01-01", "2020-01-01", 10.0),
        ("2010-07-01", "2020-07-01", 10.0),
        ("2010-01-01", "2010-12-31", 364 / 365),
        ("2020-01-01", "2020-12-31", 365 / 366),
        ("2019-11-15", "2021-01-15", 1 + 61 / 365),
        ("2020-02-29", "2021-02-28", 365 / 366),
        ("2020-02-29", "2024-02-29", 4.0),
        ("2018-05-05", "2018-05-05", 0.0),
    ],
)
def test_years_are_anniversaries_and_a_share_of_the_last(first: str, second: str, years: float) -> None:
    assert years_between(date.fromisoformat(first), date.fromisoformat(second)) == pytest.approx(years, abs=1e-12)


def test_the_annual_rate_compounds() -> None:
    """100 ha that lose 2 % a year for ten years; Puyravaud's rate of the same is ln 0.98."""
    left = 1e6 * 0.98**10
    change = ClassChange(id=1, name="forest", stable_m2=left, gain_m2=0.0, loss_m2=1e6 - left, years=10)
    assert change.annual_rate_percent == pytest.approx(-2.0, abs=1e-9)
    assert change.annual_ha(change.net_m2) == pytest.approx((left - 1e6) / 1e5)
    assert ClassChange(id=1, name="f", stable_m2=0, gain_m2=0, loss_m2=5, years=2).annual_rate_percent == -100
    assert ClassChange(id=1, name="f", stable_m2=0, gain_m2=5, loss_m2=0, years=2).annual_rate_percent is None
    assert ClassChange(id=1, name="f", stable_m2=1, gain_m2=5, loss_m2=0).annual_rate_percent is None
    assert ClassChange(id=1, name="f", stable_m2=1, gain_m2=5, loss_m2=0).annual_ha(5) is None


def test_classes_meet_by_their_names() -> None:
    merged = merge_legends(legend_of("other", "Forest ", "water"), legend_of("forest", "urban", "other"))
    assert [(one.id, one.name) for one in merged.legend] == [(0, "other"), (1, "Forest "), (2, "water"), (3, "urban")]
    assert merged.second[[0, 1, 2, 3, 255]].tolist() == [1, 3, 0, 255, 255]
    assert (merged.only_first, merged.only_second) == (("water",), ("urban",))
    assert merged.renumbered == ("forest", "urban", "other")


def test_letter_case_counts_where_it_tells_classes_apart() -> None:
    merged = merge_legends(legend_of("Forest", "forest"), legend_of("forest", "Forest"))
    assert merged.second[[0, 1]].tolist() == [1, 0]


def test_maps_without_a_common_class_are_refused() -> None:
    with pytest.raises(ProductError, match=r"no class in common .*--legend1"):
        merge_legends(legend_of("forest"), legend_of("class 1"))
    with pytest.raises(ProductError, match="more than 200 classes"):
        merge_legends(legend_of(*(f"a{k}" for k in range(200))), legend_of("a0", "b"))


def test_the_class_to_follow() -> None:
    two, three = legend_of("other", "Forest"), legend_of("other", "forest", "water")
    assert find_target(two, None) == 1
    assert find_target(three, None) is None
    assert find_target(legend_of("grass", "water"), None) is None
    assert find_target(legend_of("forest", "trees"), None) is None
    assert find_target(three, "WATER ") == 2
    with pytest.raises(SettingsError, match="--class wood: the maps have other, forest, water"):
        find_target(three, "wood")


def test_names_of_a_change_map_never_collide() -> None:
    legend = legend_of("a", "b to c", "a to b", "c", "stable a")
    pairs = {pair_key(a, b): 1 for a in legend.ids for b in legend.ids}
    codes = code_changes(ChangeTable(legend=legend, pairs=AreaTally(pixels=pairs, units=pairs)), None)
    assert len({one.name for one in codes.legend}) == 25
    followed = code_changes(
        ChangeTable(legend=legend_of("other", "x"), pairs=AreaTally(pixels={0: 1}, units={0: 1})), 0
    )
    assert [one.name for one in followed.legend] == ["stable rest", "stable other", "other loss", "other gain"]


def test_maps_without_common_ground_are_refused() -> None:
    unseen = {pair_key(0, 255): 3, pair_key(255, 1): 2}
    table = ChangeTable(legend=legend_of("a", "b"), pairs=AreaTally(pixels=unseen, units=unseen))
    for target in (None, 0):
        with pytest.raises(ProductError, match="observe no ground in common"):
            code_changes(table, target)


def test_too_many_transitions_ask_for_a_class() -> None:
    legend = legend_of(*(f"c{k}" for k in range(15)))
    pairs = {pair_key(a, b): 1 for a in legend.ids for b in legend.ids}
    table = ChangeTable(legend=legend, pairs=AreaTally(pixels=pairs, units=pairs))
    with pytest.raises(ProductError, match=r"225 transitions occur.*--class"):
        code_changes(table, None)
    assert len(code_changes(table, 3).legend) == 4
