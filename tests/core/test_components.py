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

from geoseg.core import components as components_module
from geoseg.core.components import ComponentIndex, count_patches, index_components
from geoseg.errors import GeosegError

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


def numbered(labels: np.ndarray, connectivity: int) -> np.ndarray:
    """Components of the whole map class by class, renumbered by their first pixel."""
    ids, used = np.zeros(labels.shape, int), 0
    for one in np.unique(labels[labels < 200]):
        found, count = ndimage.label(labels == one, STRUCTURE[connectivity])
        ids[found > 0] = found[found > 0] + used
        used += count
    values, first = np.unique(ids, return_index=True)
    order = values[np.argsort(first)]
    rank = {int(value): number for number, value in enumerate(order[order > 0], start=1)}
    renumbered: np.ndarray = np.vectorize(lambda value: rank.get(int(value), 0), otypes=[int])(ids)
    return renumbered


def starts_of(blocks: list[np.ndarray]) -> list[tuple[int, np.ndarray]]:
    rows = np.cumsum([0, *(len(block) for block in blocks)]).tolist()
    return list(zip(rows, blocks, strict=False))


@settings(max_examples=400)
@given(
    labels=maps,
    heights=st.lists(st.integers(1, 5), max_size=14),
    connectivity=st.sampled_from([4, 8]),
    band=st.sampled_from([1, 30, 1 << 20]),
)
def test_index_numbers_components_by_their_first_pixel(
    labels: np.ndarray, heights: list[int], connectivity: Literal[4, 8], band: int
) -> None:
    """Whatever the blocks, and whatever bands they are looked at in."""
    rows = starts_of(cut(labels, heights))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(components_module, "_BAND_PIXELS", band)
        index = index_components(rows, connectivity)
    expected = numbered(labels, connectivity)
    ids = np.concatenate([index.ids(row, block) for row, block in reversed(rows)][::-1])
    assert ids.dtype == np.int32
    assert np.array_equal(ids, expected)
    assert index.count == expected.max()
    assert index.pixels.tolist() == [0, *(int((expected == k).sum()) for k in range(1, index.count + 1))]
    assert index.class_of[1:].tolist() == [int(labels[expected == k][0]) for k in range(1, index.count + 1)]


def comb_index(height: int) -> tuple[ComponentIndex, np.ndarray]:
    comb = np.zeros((40, 41), np.uint8)
    comb[:-1, 1::2] = 1
    return index_components(starts_of(cut(comb, [height] * 40)), 4), comb


def test_index_takes_the_bands_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `split_rows` gives can be asked for in its place."""
    monkeypatch.setattr(components_module, "_BAND_PIXELS", 41 * 3)
    index, comb = comb_index(10)
    whole = index.ids(10, comb[10:20])
    parts = [index.ids(row, part) for row, part in components_module.split_rows([(10, comb[10:20])])]
    assert len(parts) == 4
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(("row", "height"), [(5, 10), (10, 5), (30, 20), (40, 10), (0, 40)])
def test_index_refuses_rows_it_was_not_built_on(row: int, height: int) -> None:
    index, comb = comb_index(10)
    if (row, height) == (0, 40):
        assert index.ids(row, comb).max() == 21
        return
    with pytest.raises(GeosegError, match="not a block that was indexed"):
        index.ids(row, comb[:height])


def test_index_refuses_other_labels_and_gaps() -> None:
    index, comb = comb_index(10)
    with pytest.raises(GeosegError, match="not the labels"):
        index.ids(10, np.zeros((10, 41), np.uint8))
    with pytest.raises(GeosegError, match="do not follow row 3"):
        index_components([(0, comb[:3]), (4, comb[4:])], 4)


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
    index = index_components([], 4)
    assert index.count == 0
    assert index.pixels.tolist() == [0]


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
