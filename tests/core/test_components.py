"""Components against scipy.ndimage class by class, and patch counts that FRAGSTATS published."""

import csv
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from geoseg.core.components import ComponentLabeler, count_patches

STRUCTURE = {4: ndimage.generate_binary_structure(2, 1), 8: np.ones((3, 3), int)}
maps = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.sampled_from([0, 1, 5, 199, 252, 255])
)


def cut(labels: np.ndarray, heights: list[int]) -> list[np.ndarray]:
    blocks, row = [], 0
    for height in [*heights, len(labels)]:
        if row < len(labels):
            blocks.append(labels[row : row + height])
            row += height
    return blocks


def expected_counts(labels: np.ndarray, connectivity: int) -> dict[int, int]:
    classes = [int(one) for one in np.unique(labels) if one < 200]
    return {one: int(ndimage.label(labels == one, STRUCTURE[connectivity])[1]) for one in classes}


@settings(max_examples=300)
@given(labels=maps, heights=st.lists(st.integers(1, 5), max_size=14), connectivity=st.sampled_from([4, 8]))
def test_patches_are_those_of_scipy_for_every_cut(
    labels: np.ndarray, heights: list[int], connectivity: Literal[4, 8]
) -> None:
    assert count_patches(cut(labels, heights), connectivity) == expected_counts(labels, connectivity)


@settings(max_examples=300)
@given(labels=maps, heights=st.lists(st.integers(1, 5), max_size=14))
def test_components_are_numbered_by_their_first_pixel(labels: np.ndarray, heights: list[int]) -> None:
    labeler = ComponentLabeler()
    runs = np.concatenate([labeler.feed(block) for block in cut(labels, heights)])
    component_of_run, class_of = labeler.finish()
    ids = component_of_run[runs]
    firsts = [int(np.flatnonzero(ids == one)[0]) for one in range(1, len(class_of))]
    assert firsts == sorted(firsts)
    assert np.array_equal(ids == 0, labels >= 200)
    for one in range(1, len(class_of)):
        inside = ids == one
        assert set(labels[inside].tolist()) == {int(class_of[one])}
        assert ndimage.label(inside)[1] == 1
    counts = np.bincount(class_of[1:], minlength=1)
    assert {int(k): int(counts[k]) for k in np.flatnonzero(counts)} == expected_counts(labels, 4)


def test_a_spiral_is_one_component_although_its_arms_meet_late() -> None:
    """A comb: arms are separate until the last row joins them."""
    comb = np.zeros((40, 41), np.uint8)
    comb[:-1, 1::2] = 1
    assert count_patches([comb[row : row + 1] for row in range(40)], 4) == {0: 1, 1: 20}


def test_a_checkerboard() -> None:
    board = (np.indices((6, 7)).sum(axis=0) % 2).astype(np.uint8)
    assert count_patches([board], 4) == {0: 21, 1: 21}
    assert count_patches([board[:3], board[3:]], 8) == {0: 1, 1: 1}


def test_no_rows_have_no_patches() -> None:
    assert count_patches([], 4) == {}
    component_of_run, class_of = ComponentLabeler().finish()
    assert len(component_of_run) == 0
    assert len(class_of) == 1


@pytest.mark.parametrize("height", [1, 37, 440])
def test_patches_of_augusta(test_data: Path, height: int) -> None:
    """All 15 patch counts, 17141 patches in all, 8-connected."""
    folder = test_data / "area_reference" / "augusta_nlcd"
    with rasterio.open(folder / "augusta_nlcd.tif") as file:
        labels = file.read(1)
    with (folder / "fragstats_expected.csv").open() as table:
        expected = {int(row["nlcd_class"]): int(row["fragstats_NP_8conn"]) for row in csv.DictReader(table)}
    labels[labels == 0] = 255  # its nodata
    counts = count_patches((labels[row : row + height] for row in range(0, len(labels), height)), 8)
    assert counts == expected
    assert sum(counts.values()) == 17141
    assert count_patches([labels], 4)[42] == 3701
