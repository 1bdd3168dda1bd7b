"""Patches and gaps against brute force on random maps for every cut, and drawn cases."""

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.core.area import PixelArea
from geoseg.core.components import Connectivity, index_components
from geoseg.core.mapping_unit import Decision, fill_small_gaps, merge_small_patches
from geoseg.core.pixel_sides import PixelSides
from geoseg.core.region_graph import RegionGraph, measure_regions
from geoseg.core.window import Window
from tests.core.brute_force import Expected, fill_gaps, flood, merge_small
from tests.core.random_maps import Labels, ground_of, in_blocks, random_map


def graph_of(labels: Labels, grid: GeoBox, connectivity: Connectivity, rows: int) -> tuple[RegionGraph, np.ndarray]:
    index = index_components(in_blocks(labels, rows), connectivity)
    graph = measure_regions(in_blocks(labels, rows), index, pixel_area=PixelArea(grid), sides=PixelSides(grid))
    return graph, np.concatenate([index.ids(row, block) for row, block in in_blocks(labels, rows)])


def some_area_m2(random: np.random.Generator, labels: Labels, grid: GeoBox) -> float:
    """A few pixels, or exactly what a patch of the map has, which is not below it."""
    ground = ground_of(grid)
    patches = flood(labels, lambda one: None if one >= 200 else one, 4)
    if patches and random.random() < 0.5:
        return ground.area(patches[random.integers(len(patches))]) * PixelArea(grid).unit_m2
    return float(random.choice([1.5, 2, 3.01, 6, 20])) * corner_m2(grid)


def corner_m2(grid: GeoBox) -> float:
    """Of the first pixel."""
    return float(PixelArea(grid).of(Window(row=0, col=0, height=1, width=1))[0, 0])


def check(decision: Decision, ids: np.ndarray, before: Labels, expected: Expected) -> None:
    after = np.where(decision.new_class[ids] == 255, before, decision.new_class[ids])
    assert np.array_equal(after, expected.labels)
    assert decision.changed == expected.changed
    assert decision.undetermined == expected.undetermined
    found = set(map(tuple, np.argwhere(decision.is_undetermined[ids]).tolist()))
    assert found == expected.undetermined_pixels


@pytest.mark.parametrize("seed", range(200))
def test_small_patches_of_single_classes_merge_as_by_brute_force(seed: int) -> None:
    """Patches of several classes may grow by each other."""
    labels, grid = random_map(seed)
    random = np.random.default_rng(seed)
    connectivity: Connectivity = 4 if seed // 4 % 2 else 8
    classes = [{0, 1, 4, 7, 199}, {1, 7}, {1}][seed % 3]
    least = some_area_m2(random, labels, grid)
    graph, ids = graph_of(labels, grid, connectivity, rows=int(random.integers(1, 14)))
    expected = merge_small(
        labels,
        [{one} for one in classes],
        min_units=least / graph.unit_m2,
        connectivity=connectivity,
        ground=ground_of(grid),
    )
    check(merge_small_patches(graph, classes=classes, min_area_m2=least), ids, labels, expected)


@pytest.mark.parametrize("seed", range(200, 400))
def test_small_gaps_fill_as_by_brute_force(seed: int) -> None:
    """Gaps of several classes within two classes of cover."""
    labels, grid = random_map(seed, classes=(0, 1, 1, 1, 1, 4, 7, 7))
    random = np.random.default_rng(seed)
    connectivity: Connectivity = 4 if seed // 4 % 2 else 8
    cover = [{1}, {1, 7}][seed % 2]
    least = some_area_m2(random, labels, grid)
    gaps = labels.copy()
    gaps[~np.isin(labels, list(cover)) & (labels < 200)] = 0
    graph, ids = graph_of(gaps, grid, connectivity, rows=int(random.integers(1, 14)))
    expected = fill_gaps(
        labels, cover, min_units=least / graph.unit_m2, connectivity=connectivity, ground=ground_of(grid)
    )
    check(fill_small_gaps(graph, gap=0, min_area_m2=least), ids, labels, expected)


def test_a_patch_that_grew_waits_for_its_new_turn() -> None:
    """Ones take the four, and at 9 pixels still come before the 12 sevens, which so reach 21 and stay."""
    drawn = """
        000000000
        000000000
        007111700
        007141700
        007111700
        007777700
        000070000
        000000000
    """
    before = np.array([[int(one) for one in line] for line in drawn.split()], np.uint8)
    grid = GeoBox((8, 9), Affine(10, 0, 679_700, 0, -10, 1000), "EPSG:32632")
    for rows in (1, 3, 8):
        graph, ids = graph_of(before, grid, 4, rows)
        decision = merge_small_patches(graph, classes={1, 4, 7}, min_area_m2=20.5 * corner_m2(grid))
        after = np.where(decision.new_class[ids] == 255, before, decision.new_class[ids])
        assert np.array_equal(after, np.where(before > 0, 7, 0))
        assert (decision.changed, decision.undetermined) == (2, 0)


def test_areas_and_borders_are_exact() -> None:
    """Every region of a map of four on a grid of degrees, by hand."""
    labels = np.array([[1, 1, 0], [1, 0, 0]], np.uint8)
    grid = GeoBox((2, 3), Affine(1e-3, 0, 14, 0, -1e-3, 60), "EPSG:4326")
    graph, _ = graph_of(labels, grid, 8, 1)
    upper, left = PixelSides(grid).millimetres(Window(row=0, col=0, height=2, width=3))
    units = [int(one) for one in PixelArea(grid).units_of(Window(row=0, col=0, height=2, width=3))[:, 0]]
    assert [graph.area_units(one) for one in (1, 2)] == [2 * units[0] + units[1], units[0] + 2 * units[1]]
    border = int(left[0, 0] + upper[1, 0] + left[1, 0])
    assert graph.neighbors(1) == [(2, border)]
    assert graph.neighbors(2) == [(1, border)]
