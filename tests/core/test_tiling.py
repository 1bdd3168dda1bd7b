"""Law 1, on arrays: a pointwise model cannot see the tiles, and every pixel leaves once."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from geoseg.core.blend import blend
from geoseg.core.label import align, label
from geoseg.core.legend import LandClass, Legend
from geoseg.core.patch import NODATA, Scores
from geoseg.core.tiling import TilePlan, plan_axis, plan_tiles
from geoseg.core.window import Window

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

plans = st.fixed_dictionaries(
    {
        "height": st.integers(1, 150),
        "width": st.integers(1, 150),
        "tile": st.integers(16, 64),
        "margin": st.integers(0, 12),
        "ramp": st.integers(0, 16),
        "divisor": st.sampled_from([1, 2, 5, 8, 16]),
        "window": st.sampled_from(["hann", "linear", "crop"]),
    }
)


def _plan(drawn: dict[str, Any]) -> TilePlan:
    shape = (drawn["height"], drawn["width"])
    keys = ("tile", "margin", "ramp", "divisor", "window")
    try:
        return plan_tiles(shape, **{key: drawn[key] for key in keys})
    except ValueError:
        assume(False)
        raise


def _tile_scores(plan: TilePlan, panel: Window, values: Floats, valid: Mask) -> Iterator[Scores]:
    """What a pointwise model gives for the tiles of a panel, wholly invalid tiles left out."""
    height, width = plan.shape
    for window in plan.tiles(panel):
        part = window.clip(height, width)
        scores = np.full((len(values), *window.shape), 0.25, np.float32)
        mask = np.zeros(window.shape, np.bool_)
        scores[:, : part.height, : part.width] = values[:, part.row : part.row_stop, part.col : part.col_stop]
        mask[: part.height, : part.width] = valid[part.row : part.row_stop, part.col : part.col_stop]
        if mask.any():
            yield Scores(window=window, values=scores, valid=mask)


def _stitch(plan: TilePlan, values: Floats, valid: Mask, *, panel_width: int) -> tuple[Floats, Mask, Any]:
    """(blended values, valid, how often each pixel left)."""
    out = np.zeros_like(values)
    seen, counted = np.zeros(plan.shape, np.bool_), np.zeros(plan.shape, int)
    for panel in plan.panels(panel_width):
        for rows in blend(plan, panel, _tile_scores(plan, panel, values, valid), classes=len(values)):
            place = (slice(rows.window.row, rows.window.row_stop), slice(rows.window.col, rows.window.col_stop))
            out[(slice(None), *place)] = rows.values
            seen[place] = rows.valid
            counted[place] += 1
    return out, seen, counted


def _scene(plan: TilePlan, seed: int, holes: float) -> tuple[Floats, Mask]:
    rng = np.random.default_rng(seed)
    values = rng.random((3, *plan.shape)).astype(np.float32)
    return values / values.sum(0), rng.random(plan.shape) >= holes


@given(drawn=plans, seed=st.integers(0, 99), holes=st.sampled_from([0.0, 0.3, 0.99, 1.0]), panel=st.integers(16, 200))
@settings(max_examples=150)
def test_a_pointwise_model_cannot_see_the_tiles(drawn: dict[str, Any], seed: int, holes: float, panel: int) -> None:
    plan = _plan(drawn)
    values, valid = _scene(plan, seed, holes)
    out, seen, counted = _stitch(plan, values, valid, panel_width=panel)
    assert (counted == 1).all()
    np.testing.assert_array_equal(seen, valid)
    np.testing.assert_allclose(out[:, valid], values[:, valid], atol=5e-7)


@given(drawn=plans, seed=st.integers(0, 99))
@settings(max_examples=60)
def test_a_constant_model_gives_the_constant_at_corners_and_nodata_borders(drawn: dict[str, Any], seed: int) -> None:
    plan = _plan(drawn)
    _, valid = _scene(plan, seed, 0.5)
    values = np.broadcast_to(np.array([0.7, 0.3], np.float32)[:, None, None], (2, *plan.shape)).copy()
    out, _, _ = _stitch(plan, values, valid, panel_width=64)
    np.testing.assert_allclose(out[0][valid], 0.7, atol=5e-7)


@given(drawn=plans, seed=st.integers(0, 99), panel=st.integers(16, 160))
@settings(max_examples=60)
def test_panels_change_no_bit(drawn: dict[str, Any], seed: int, panel: int) -> None:
    plan = _plan(drawn)
    values, valid = _scene(plan, seed, 0.2)
    whole = _stitch(plan, values, valid, panel_width=10_000)
    cut = _stitch(plan, values, valid, panel_width=panel)
    np.testing.assert_array_equal(whole[0][:, valid], cut[0][:, valid])


@given(drawn=plans)
@settings(max_examples=200)
def test_weights_are_a_partition_of_unity_and_margins_count_nothing(drawn: dict[str, Any]) -> None:
    plan = _plan(drawn)
    for axis in (plan.rows, plan.cols):
        assert all(start % drawn["divisor"] == 0 for start in axis.starts)
        assert axis.starts[0] == 0
        assert axis.starts[-1] + axis.tile >= axis.length
        total = np.zeros(axis.starts[-1] + axis.tile)
        for k, (start, weights) in enumerate(zip(axis.starts, axis.weights, strict=True)):
            total[start : start + axis.tile] += weights
            if k > 0:
                assert not weights[: axis.margin].any()
            if k + 1 < len(axis.starts):
                assert not weights[axis.tile - axis.margin :].any()
        np.testing.assert_allclose(total, 1, atol=1e-6)


def test_crop_takes_each_pixel_from_one_tile() -> None:
    axis = plan_axis(200, tile=64, margin=8, ramp=0, divisor=8, window="crop")
    assert set(np.unique(axis.weights)) == {0.0, 1.0}


def test_a_tile_smaller_than_its_margins_is_refused_with_the_numbers() -> None:
    with pytest.raises(ValueError, match=r"tile 64 leaves no step: 2 x margin 32 .* at least 112"):
        plan_axis(500, tile=64, margin=32, ramp=32, divisor=16, window="hann")


def test_a_scene_smaller_than_a_tile_is_padded_to_the_divisor_only() -> None:
    axis = plan_axis(37, tile=512, margin=96, ramp=32, divisor=16, window="hann")
    assert (axis.starts, axis.tile) == ((0,), 48)


LEGEND = Legend(classes=tuple(LandClass(id=k, name=f"class {k}", color="#102030") for k in (0, 3, 7)))


@given(drawn=plans, seed=st.integers(0, 99), block=st.sampled_from([16, 32, 64]))
@settings(max_examples=60)
def test_labels_are_the_first_best_class_and_leave_on_block_edges(drawn: dict[str, Any], seed: int, block: int) -> None:
    plan = _plan(drawn)
    values, valid = _scene(plan, seed, 0.1)
    values = np.round(values, 1).astype(np.float32)  # makes ties
    (panel,) = plan.panels(10_000)
    rows = list(blend(plan, panel, _tile_scores(plan, panel, values, valid), classes=3))
    blended = np.concatenate([one.values for one in rows], axis=1)
    pieces = list(align((label(one, LEGEND) for one in rows), block, height=plan.shape[0]))
    assert all(piece.window.row % block == 0 for piece in pieces)
    assert all(piece.window.height == block for piece in pieces[:-1])
    labels = np.concatenate([piece.labels for piece in pieces])
    expected = np.array([0, 3, 7])[np.argmax(blended, axis=0)]
    np.testing.assert_array_equal(labels, np.where(valid, expected, NODATA))
    confidence = np.concatenate([piece.confidence for piece in pieces])
    best = np.clip(np.rint(blended.max(0) * np.float32(100)), 0, 100)
    np.testing.assert_array_equal(confidence, np.where(valid, best, NODATA))
