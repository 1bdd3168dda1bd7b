"""Laws of drawing: without replacement, the asked number, in proportion to area, blind to how rows are cut."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from odc.geo.geobox import GeoBox
from scipy import stats

from geoseg.accuracy.draw import Drawn, Survey, draw, survey
from geoseg.accuracy.eligible import NEAR_BORDER, NO_STRATUM, StratumRows, stratify
from geoseg.core.area import PixelArea
from geoseg.core.window import Window
from geoseg.errors import ProductError

Labels = npt.NDArray[np.uint8]

MAPS = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.sampled_from([0, 1, 1, 7, 255])
)


def cut(labels: Labels, height: int) -> Iterator[tuple[int, Labels]]:
    for row in range(0, len(labels), height):
        yield row, labels[row : row + height]


def source_of(
    labels: Labels, height: int, *, buffer: int = 0, strata: Labels | None = None
) -> Callable[[], Iterator[StratumRows]]:
    return lambda: stratify(
        cut(labels, height), buffer=buffer, strata=None if strata is None else cut(strata, height + 1)
    )


def area_of(labels: Labels) -> PixelArea:
    """A degree to the pixel: areas differ from row to row."""
    return PixelArea(GeoBox(labels.shape, Affine(1, 0, 10, 0, -1, 60), "EPSG:4326"))


def sample(labels: Labels, counts: dict[int, int], *, height: int = 5, seed: int = 0) -> tuple[Survey, list[Drawn]]:
    source, area = source_of(labels, height), area_of(labels)
    found = survey(source, area)
    return found, draw(source, found, counts, seed=seed, area=area)


@given(MAPS, st.integers(1, 15), st.integers(0, 2**32), st.data())
@settings(max_examples=60)
def test_a_sample_has_the_points_asked_for_each_once_whatever_the_cutting(
    labels: Labels, height: int, seed: int, data: st.DataObject
) -> None:
    pixels = {int(k): int(n) for k, n in zip(*np.unique(labels[labels < 255], return_counts=True), strict=True)}
    counts = {k: data.draw(st.integers(0, n)) for k, n in pixels.items()}
    found, points = sample(labels, counts, height=height, seed=seed)
    assert {k: n for k, n in found.strata.pixels.items() if k < 200} == pixels
    assert len({(one.row, one.col) for one in points}) == len(points)
    drawn = [one.stratum for one in points]
    assert {k: drawn.count(k) for k in counts} == counts
    assert all(labels[one.row, one.col] == one.stratum == one.map_class for one in points)
    other, again = sample(labels, counts, height=height % 7 + 1, seed=seed)
    assert again == points
    assert (other.pixels_sha256, other.strata) == (found.pixels_sha256, found.strata)


@given(MAPS, st.integers(1, 3), st.integers(1, 6))
@settings(max_examples=60)
def test_a_buffer_keeps_pixels_whose_whole_neighbourhood_is_of_their_class(
    labels: Labels, buffer: int, height: int
) -> None:
    """Against a walk over every pixel of the padded map."""
    padded = np.pad(labels, buffer, constant_values=255)
    expected = labels.copy()
    for row, col in np.argwhere(labels != 255):
        around = padded[row : row + 2 * buffer + 1, col : col + 2 * buffer + 1]
        if (around != labels[row, col]).any():
            expected[row, col] = NEAR_BORDER
    blocks = list(source_of(labels, height, buffer=buffer)())
    assert np.array_equal(np.concatenate([one.strata for one in blocks]), expected)
    assert np.array_equal(np.concatenate([one.labels for one in blocks]), labels)
    assert [one.row for one in blocks] == list(np.cumsum([0, *(len(one.labels) for one in blocks)])[:-1])


def test_strata_may_come_from_another_raster() -> None:
    labels = np.array([[0, 1, 1, 255], [0, 0, 1, 1]], np.uint8)
    strata = np.array([[5, 5, 6, 6], [255, 6, 6, 5]], np.uint8)
    blocks = list(source_of(labels, 1, strata=strata)())
    expected = [[5, 5, 6, 255], [NO_STRATUM, 6, 6, 5]]
    assert np.concatenate([one.strata for one in blocks]).tolist() == expected
    found = survey(source_of(labels, 1, strata=strata), area_of(labels))
    assert dict(found.strata.pixels) == {5: 3, 6: 3, NO_STRATUM: 1, 255: 1}
    assert dict(found.classes.pixels) == {0: 2, 1: 4}
    assert dict(found.mapped.pixels) == {0: 3, 1: 4}
    with pytest.raises(ProductError, match="not of the map's shape"):
        list(source_of(labels, 1, strata=strata[:1])())


def test_points_fall_in_proportion_to_ground_area() -> None:
    """1e5 of the 7.2 million pixels of one class between the equator and 60 degrees, in bins of five degrees of
    latitude: the expected counts are the bins' areas, from the sine of the authalic latitude on the ellipsoid."""
    labels = np.ones((1800, 4000), np.uint8)
    grid = GeoBox(labels.shape, Affine(0.01, 0, 0, 0, -60 / 1800, 60), "EPSG:4326")
    area = PixelArea(grid)
    source = source_of(labels, 400)
    points = draw(source, survey(source, area), {1: 100_000}, seed=7, area=area)
    counts = np.bincount([one.row // 150 for one in points], minlength=12)
    edges = np.radians(np.linspace(60, 0, 13))
    e = 0.0818191908426215
    q = np.sin(edges) / (1 - (e * np.sin(edges)) ** 2) + np.arctanh(e * np.sin(edges)) / e
    expected = -np.diff(q) / (q[0] - q[-1]) * 100_000
    assert stats.chisquare(counts, expected).pvalue > 0.01
    assert stats.chisquare(counts).pvalue < 1e-100  # not in proportion to pixels
    columns = np.bincount([one.col // 250 for one in points], minlength=16)
    assert stats.chisquare(columns).pvalue > 0.01


@pytest.mark.parametrize("count", [50, 70, 80])
def test_weights_undo_that_pixels_run_out(count: int) -> None:
    """Many of eighty pixels between the equator and 60 degrees: the northern half's share of the ground, from 120
    samples. Unweighed it is far off, as small pixels are nearly all that is left; of all eighty it is exact."""
    labels = np.ones((40, 2), np.uint8)
    area = PixelArea(GeoBox(labels.shape, Affine(1, 0, 0, 0, -1.5, 60), "EPSG:4326"))
    source = source_of(labels, 7)
    found = survey(source, area)
    ground = area.of(Window(row=0, col=0, height=40, width=2))[:, 0]
    truth = ground[:20].sum() / ground.sum()
    plain, weighed = [], []
    for seed in range(120):
        points = draw(source, found, {1: count}, seed=seed, area=area)
        north, weights = np.array([one.row < 20 for one in points]), np.array([one.weight for one in points])
        assert weights.mean() == pytest.approx(1)
        plain.append(north.mean())
        weighed.append(weights @ north / count)
    noise = np.std(weighed) / math.sqrt(120)
    assert np.mean(weighed) == pytest.approx(truth, abs=4 * noise + 1e-8)
    assert np.mean(plain) - truth > 4 * noise


def test_points_of_one_zone_weigh_the_same() -> None:
    labels = np.ones((20, 20), np.uint8)
    area = PixelArea(GeoBox(labels.shape, Affine(10, 0, 7e5, 0, -10, 5e6), "EPSG:32632"))
    source = source_of(labels, 6)
    assert {one.weight for one in draw(source, survey(source, area), {1: 300}, seed=0, area=area)} == {1.0}


def test_every_pixel_of_an_equal_area_class_has_the_same_chance() -> None:
    """Inclusions of 400 pixels in 150 samples of 100; the variance is that of sampling without replacement."""
    labels = np.zeros((20, 20), np.uint8)
    area = PixelArea(GeoBox(labels.shape, Affine(30, 0, 0, 0, -30, 0), "EPSG:6933"))
    source = source_of(labels, 6)
    found = survey(source, area)
    hits = np.zeros(labels.shape)
    for seed in range(150):
        for one in draw(source, found, {0: 100}, seed=seed, area=area):
            hits[one.row, one.col] += 1
    spread = ((hits - 37.5) ** 2).sum() / (150 * 0.25 * 0.75)  # hypergeometric: 399 degrees of freedom x 400/399
    assert stats.chi2.cdf(spread * 399 / 400, 399) == pytest.approx(0.5, abs=0.495)


def test_every_pixel_of_a_map_up_to_the_pole_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Areas differ by a factor of 230; where that takes too many draws, it is told."""
    labels = np.ones((170, 2), np.uint8)
    labels[-1] = 2
    area = PixelArea(GeoBox(labels.shape, Affine(1, 0, 0, 0, -0.5, 90), "EPSG:4326"))
    source = source_of(labels, 50)
    found = survey(source, area)
    points = draw(source, found, {1: 338, 2: 2}, seed=0, area=area)
    assert {(one.row, one.col) for one in points} == {(row, col) for row in range(170) for col in range(2)}
    monkeypatch.setattr("geoseg.accuracy.draw._MAX_DRAWS", 10)
    with pytest.raises(ProductError, match="338 of the 338 pixels of stratum 1 were not all met"):
        draw(source, found, {1: 338, 2: 2}, seed=0, area=area)


def test_seeds_differ_and_the_order_tells_nothing_of_the_class() -> None:
    labels = np.tile(np.array([[0, 1]], np.uint8), (100, 4))
    _, one = sample(labels, {0: 100, 1: 100}, seed=1)
    _, two = sample(labels, {0: 100, 1: 100}, seed=2)
    assert {(p.row, p.col) for p in one} != {(p.row, p.col) for p in two}
    places = [k for k, point in enumerate(one) if point.stratum == 1]
    assert stats.ranksums(places, [k for k in range(200) if k not in places]).pvalue > 0.01
