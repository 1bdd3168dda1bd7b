"""Tallies add exactly, however the map is cut (laws 2 and 4), and give published areas."""

import csv
import itertools
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geoseg.core.area import PixelArea
from geoseg.core.tally import AreaTally, exact_sums, join_limbs, split_limbs, tally_labels
from geoseg.core.window import Window

GRIDS = {
    "rows": GeoBox((90, 130), Affine(0.25, 0, 10, 0, -0.25, 62), "EPSG:4326"),
    "nodes": GeoBox((90, 130), Affine(10, 2, 5e5, 1, -10, 5e6), "EPSG:32632"),
    "nodes of very different size": GeoBox((90, 130), Affine(1e5, 0, -1e7, 0, -1e5, 1.7e7), "EPSG:3857"),
}
AREAS = {name: PixelArea(grid) for name, grid in GRIDS.items()}
LABELS = np.array([0, 1, 7, 199, 252, 253, 254, 255], np.uint8)


def make_labels(seed: int, shape: tuple[int, int] = (90, 130)) -> np.ndarray:
    return LABELS[np.random.default_rng(seed).integers(0, len(LABELS), shape)]


def of_part(labels: np.ndarray, rows: slice, cols: slice, area: PixelArea) -> AreaTally:
    part = labels[rows, cols]
    window = Window(row=rows.start, col=cols.start, height=part.shape[0], width=part.shape[1])
    return tally_labels(part, window, area)


@pytest.mark.parametrize("name", GRIDS)
def test_it_is_the_sum_of_the_pixels(name: str) -> None:
    """Against Fractions, pixel by pixel."""
    labels, area = make_labels(1), AREAS[name]
    tally = of_part(labels, slice(0, 90), slice(0, 130), area)
    m2 = np.broadcast_to(area.of(Window(row=0, col=0, height=90, width=130)), labels.shape)
    for label in LABELS.tolist():
        true = sum((Fraction(one) for one in m2[labels == label].tolist()), Fraction(0))
        assert tally.units[label] * Fraction(area.unit_m2) == true
        assert tally.area_m2(label) == float(true)
        assert tally.pixel_count(label) == np.count_nonzero(labels == label)
    assert list(tally.pixels) == sorted(tally.pixels)


@settings(max_examples=60)
@given(
    name=st.sampled_from(sorted(GRIDS)),
    seed=st.integers(0, 9),
    row_cuts=st.sets(st.integers(1, 89), max_size=5),
    col_cuts=st.sets(st.integers(1, 129), max_size=5),
    order=st.randoms(use_true_random=False),
)
def test_parts_add_up_to_the_whole(name: str, seed: int, row_cuts: set[int], col_cuts: set[int], order: Random) -> None:
    labels, area = make_labels(seed), AREAS[name]
    rows, cols = [0, *sorted(row_cuts), 90], [0, *sorted(col_cuts), 130]
    parts = [
        of_part(labels, slice(*row), slice(*col), area)
        for row in itertools.pairwise(rows)
        for col in itertools.pairwise(cols)
    ]
    order.shuffle(parts)
    total = AreaTally.zero()
    for part in parts:
        total = total + part
    assert total == of_part(labels, slice(0, 90), slice(0, 130), area)
    assert sum(total.pixels.values()) == 90 * 130


def test_nothing_is_the_zero_of_addition() -> None:
    tally = of_part(make_labels(2), slice(0, 9), slice(0, 9), AREAS["nodes"])
    assert AreaTally.zero() + tally == tally + AreaTally.zero() == tally
    assert (AreaTally.zero() + AreaTally.zero()).area_m2() == 0


def test_tallies_of_different_scenes_add_exactly() -> None:
    one = of_part(make_labels(3), slice(0, 50), slice(0, 50), AREAS["rows"])
    other = of_part(make_labels(4), slice(0, 50), slice(0, 50), AREAS["nodes"])
    assert one.unit_m2 != other.unit_m2
    both = one + other
    assert both == other + one
    for label in both.pixels:
        parts = [t.units.get(label, 0) * Fraction(t.unit_m2) for t in (one, other)]
        assert both.units[label] * Fraction(both.unit_m2) == sum(parts)


def test_labels_must_fill_the_window() -> None:
    with pytest.raises(ValueError, match="shape"):
        tally_labels(make_labels(0), Window(row=0, col=0, height=90, width=129), AREAS["rows"])


def test_a_row_wider_than_a_chunk_is_exact() -> None:
    grid = GeoBox((2, 700_000), Affine(10, 0, 2e5, 0, -10, 5e6), "EPSG:32632")
    area = PixelArea(grid)
    labels = make_labels(5, (2, 700_000))
    tally = of_part(labels, slice(0, 2), slice(0, 700_000), area)
    units = area.units_of(Window(row=0, col=0, height=2, width=700_000)).astype(np.int64)
    assert tally.units == {int(k): int(units[labels == k].sum()) for k in LABELS}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**60)), max_size=40))
def test_sums_in_limbs_are_exact(pairs: list[tuple[int, int]]) -> None:
    numbers = [int(float(value)) for _, value in pairs]  # as float64 holds them
    index = np.array([where for where, _ in pairs], np.intp)
    high, low = exact_sums(index, np.array(numbers, np.float64), 4)
    for k in range(4):
        true = sum(n for n, (where, _) in zip(numbers, pairs, strict=True) if where == k)
        assert join_limbs(int(high[k]), int(low[k])) == true
    for number in numbers:
        upper, lower = split_limbs(np.array([number], np.float64))
        assert join_limbs(int(upper[0]), int(lower[0])) == number


def read(path: Path) -> tuple[np.ndarray, GeoBox]:
    with rasterio.open(path) as file:
        return file.read(1), GeoBox(file.shape, file.transform, file.crs)


@pytest.mark.parametrize(("year", "hectares"), [("t1", 80045.30), ("t2", 77536.63), ("t3", 72935.73)])
def test_forest_of_guadeloupe(test_data: Path, year: str, hectares: float) -> None:
    labels, grid = read(test_data / "area_reference" / "guadeloupe_forest" / f"forest_{year}.tif")
    area = PixelArea(grid)
    tally = of_part(labels, slice(0, labels.shape[0]), slice(0, labels.shape[1]), area)
    assert tally.area_m2(1) / 1e4 == pytest.approx(hectares, abs=0.005)
    nominal = tally.pixel_count(1) * area.nominal_pixel_m2()
    assert (nominal / tally.area_m2(1) - 1) * 100 == pytest.approx(8.3, abs=0.05)


def test_land_cover_of_augusta(test_data: Path) -> None:
    """All 15 class areas that FRAGSTATS published."""
    folder = test_data / "area_reference" / "augusta_nlcd"
    labels, grid = read(folder / "augusta_nlcd.tif")
    tally = of_part(labels, slice(0, labels.shape[0]), slice(0, labels.shape[1]), PixelArea(grid))
    with (folder / "fragstats_expected.csv").open() as file:
        expected = {int(row["nlcd_class"]): float(row["fragstats_CA_ha"]) for row in csv.DictReader(file)}
    assert len(expected) == 15
    assert {k: round(tally.area_m2(k) / 1e4, 4) for k in expected} == expected
