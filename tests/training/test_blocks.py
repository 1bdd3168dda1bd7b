"""What is held out: no pixel of it, nor within the buffer, ever reaches training; shares and classes are as asked."""

from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.core.patch_source import IGNORE
from geoseg.core.window import Window
from geoseg.errors import InputError, SettingsError
from geoseg.training.blocks import Block, Split, count_blocks, split_blocks, tile_windows
from geoseg.training.config import TrainConfig
from geoseg.training.config_data import BlockConfig, SamplingConfig
from geoseg.training.ground import Ground, held_views, train_views
from geoseg.training.sampling import SceneSupply, class_weights
from tests.training.array_scene import ArrayScene

SECRET = 9999.0
By: TypeAlias = Literal["share", "checkerboard", "scene"]


def made(shape: tuple[int, int], *, seed: int, name: str = "a", classes: int = 2, bands: int = 3) -> ArrayScene:
    """Random pixels, labels in squares of 8, a tenth of them ignored."""
    rng = np.random.default_rng(seed)
    squares = rng.integers(0, classes, (shape[0] // 8 + 1, shape[1] // 8 + 1))
    drawn = np.kron(squares, np.ones((8, 8)))[: shape[0], : shape[1]].astype(np.uint8)
    drawn[rng.random(shape) < 0.1] = IGNORE
    return ArrayScene(name=name, pixels=rng.uniform(1, 200, (bands, *shape)), drawn=drawn)


def ground_of(scenes: list[ArrayScene], config: BlockConfig, *, classes: int = 2) -> Ground:
    blocks = count_blocks(scenes, side_px=[config.side_px] * len(scenes), classes=classes)
    bands = len(scenes[0].pixels)
    return Ground(
        scenes=tuple(scenes),
        conversions=(None,) * len(scenes),
        scale=(1.0,) * bands,
        offset=(0.0,) * bands,
        split=split_blocks(blocks, config),
    )


def still(config: TrainConfig, *, window_px: int = 32, zoom: float = 0.2, rotate_deg: float = 20) -> TrainConfig:
    """Geometry only: values are as they were, between those of neighbours, or the mean."""
    augment = {"gain": 0, "band_gain": 0, "gamma": 0, "offset": 0, "haze": 0, "noise": 0, "blur_share": 0}
    content = config.model_dump(mode="json")
    content["augment"] |= augment | {"units": "std", "zoom": zoom, "rotate_deg": rotate_deg}
    content["fit"] |= {"window_px": window_px, "batch": 3}
    content["procedural"]["seeds"] = []
    return TrainConfig.model_validate(content)


@settings(max_examples=25)
@given(
    st.integers(60, 140),
    st.integers(60, 140),
    st.sampled_from([16, 20, 32]),
    st.integers(0, 12),
    st.sampled_from(["share", "checkerboard", "scene"]),
    st.integers(0, 1000),
)
def test_nothing_within_the_buffer_of_held_ground_reaches_training(
    small_config: TrainConfig, height: int, width: int, side: int, buffer: int, by: By, seed: int
) -> None:
    """A secret value is painted there after the split; no batch and no training view shows it or its labels."""
    scenes = [made((height, width), seed=seed), made((width, height), seed=seed + 1, name="b")]
    test_share = 0.1 if by == "share" else 0.0
    config = BlockConfig(side_px=side, by=by, held_share=0.25, test_share=test_share, buffer_px=buffer, seed=seed)
    split = ground_of(scenes, config).split
    for block, part in split.parts:
        if part != "train":
            one = block.window
            around = np.s_[
                max(one.row - buffer, 0) : one.row_stop + buffer, max(one.col - buffer, 0) : one.col_stop + buffer
            ]
            scenes[block.scene].pixels[(slice(None), *around)] = SECRET
            drawn = scenes[block.scene].drawn[around]
            drawn[drawn != IGNORE] = 1
    for scene in scenes:
        scene.drawn[(scene.drawn != IGNORE) & (scene.pixels[0] != SECRET)] = 0
    if not any((scene.drawn == 0).any() for scene in scenes):
        return
    ones, zeros = (1.0,) * 3, (0.0,) * 3
    ground = Ground(scenes=tuple(scenes), conversions=(None, None), scale=ones, offset=zeros, split=split)
    run = still(small_config)
    supply = SceneSupply(ground=ground, config=run)
    for step in range(1, 4):
        batch = supply.batch(step, 0)
        assert batch.pixels.max() < 201
        assert not (batch.labels == 1).any()
    for image in train_views(ground, run, side_px=64, most=4):
        assert image.pixels.max() < 201
        assert not (image.labels == 1).any()
    assert ground.measure().mean.max() < 201


def test_the_buffer_is_a_distance_in_pixels_to_the_nearest_held_pixel() -> None:
    blocks = [Block(scene=0, window=one, counts=(10, 10)) for one in tile_windows((96, 80), 16)]
    chosen = {5, 17, 18}
    split = Split(parts=tuple((one, "held" if k in chosen else "train") for k, one in enumerate(blocks)), buffer_px=5)
    held = np.zeros((96, 80), bool)
    for k in chosen:
        held[blocks[k].window.slices_in(Window(row=0, col=0, height=96, width=80))] = True
    from scipy.ndimage import distance_transform_cdt

    away = distance_transform_cdt(~held, metric="chessboard")
    assert np.array_equal(split.trainable(0, Window(row=0, col=0, height=96, width=80)), away > 5)
    assert split.trainable(1, Window(row=0, col=0, height=96, width=80)).all()


def test_the_share_and_the_classes_of_what_is_held_are_as_asked() -> None:
    scenes = [made((400, 400), seed=4, classes=3)]
    split = ground_of(scenes, BlockConfig(side_px=40, held_share=0.3, test_share=0.1), classes=3).split
    every = sum(split.classes(part) for part in ("train", "held", "test"))
    assert np.array_equal(every, np.bincount(scenes[0].drawn[scenes[0].drawn != IGNORE], minlength=3))
    assert split.classes("held") / every == pytest.approx(0.3, abs=0.03)
    assert split.classes("test") / every == pytest.approx(0.1, abs=0.03)
    again = ground_of(scenes, BlockConfig(side_px=40, held_share=0.3, test_share=0.1), classes=3).split
    other = ground_of(scenes, BlockConfig(side_px=40, held_share=0.3, test_share=0.1, seed=1), classes=3).split
    assert again.parts == split.parts
    assert other.parts != split.parts


def test_a_checkerboard_has_no_two_neighbours_of_one_part() -> None:
    split = ground_of([made((100, 90), seed=1)], BlockConfig(side_px=20, by="checkerboard")).split
    colours = np.array([part == "held" for _, part in split.parts]).reshape(5, 5)
    assert (colours[1:] != colours[:-1]).all()
    assert (colours[:, 1:] != colours[:, :-1]).all()


def test_whole_scenes_are_held_out() -> None:
    scenes = [made((40, 40), seed=k, name=str(k)) for k in range(6)]
    split = ground_of(scenes, BlockConfig(side_px=16, by="scene", held_share=0.34)).split
    parts = {k: {part for block, part in split.parts if block.scene == k and block.labelled} for k in range(6)}
    assert all(len(found) == 1 for found in parts.values())
    assert sum(found == {"held"} for found in parts.values()) == 2


def test_what_is_held_is_scored_once_and_seen_with_its_buffer(small_config: TrainConfig) -> None:
    scene = made((100, 90), seed=2)
    ground = ground_of([scene], BlockConfig(side_px=24, held_share=0.3, buffer_px=7))
    views = held_views(ground, small_config, part="held")
    assert sum(int((image.labels != IGNORE).sum()) for image in views) == int(ground.split.classes("held").sum())
    for view, image in zip(views.views, views, strict=True):
        window = view.window
        there = np.s_[window.row : window.row_stop, window.col : window.col_stop]
        assert np.allclose(image.pixels, scene.pixels[(slice(None), *there)])
    trained = train_views(ground, small_config, side_px=50, most=100)
    free = ground.split.trainable(0, Window(row=0, col=0, height=100, width=90)) & (scene.drawn != IGNORE)
    assert sum(int((image.labels != IGNORE).sum()) for image in trained) == int(free.sum())
    assert {image.labels.shape for image in trained} == {(50, 50)}
    assert len(train_views(ground, small_config, side_px=50, most=2)) == 2


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(InputError, match="no pixel of a is labelled: do scene and labels overlap"):
        ground_of([replace(made((40, 40), seed=0), drawn=np.full((40, 40), IGNORE, np.uint8))], BlockConfig())
    with pytest.raises(InputError, match="a: a label is 2; there are 2 classes"):
        ground_of([made((40, 40), seed=0, classes=3)], BlockConfig(side_px=16))
    with pytest.raises(SettingsError, match="finds no labelled block for held: lower side_px"):
        ground_of([made((40, 40), seed=0)], BlockConfig(side_px=64, held_share=0.2))
    with pytest.raises(ValueError, match="leave nothing to train on"):
        BlockConfig(held_share=0.6, test_share=0.4)


def test_batches_follow_step_and_part_and_nothing_else(small_config: TrainConfig) -> None:
    ground = ground_of([made((120, 120), seed=1), made((60, 90), seed=2, name="b")], BlockConfig(side_px=32))
    run = still(small_config)
    supply, again = (SceneSupply(ground=ground, config=run) for _ in range(2))
    first = supply.batch(3, 1)
    for step, part in ((9, 0), (3, 0)):
        assert not np.array_equal(again.batch(step, part).pixels, first.pixels)
    same = again.batch(3, 1)
    assert np.array_equal(same.pixels, first.pixels)
    assert np.array_equal(same.labels, first.labels)
    assert first.pixels.shape == (3, 3, 32, 32)
    assert first.pixels.dtype == np.float32
    assert np.isfinite(first.pixels).all()


def test_rare_classes_are_drawn_as_often_as_declared(small_config: TrainConfig) -> None:
    """One pixel in 400 is of class 1; the middle pixel of windows that are not shifted tells what was drawn."""
    drawn = np.zeros((200, 200), np.uint8)
    drawn[100:110, 50:60] = 1
    drawn[:, 150:] = IGNORE
    scene = ArrayScene(name="a", pixels=np.full((3, 200, 200), 50.0), drawn=drawn)
    ground = ground_of([scene], BlockConfig(side_px=40))
    for weights, evenness, expected in (((), 0.0, 100 / 30000), ((), 1.0, 0.5), ((3.0, 1.0), 0.0, 0.25)):
        content = still(small_config, window_px=31 + 1, zoom=0, rotate_deg=0).model_dump(mode="json")
        content["data"]["sampling"] = {"evenness": evenness, "class_weights": weights, "shift": 0, "labelled_share": 0}
        supply = SceneSupply(ground=ground, config=TrainConfig.model_validate(content))
        rng = np.random.default_rng(0)
        places = [supply._pixel(rng) for _ in range(400)]
        share = np.mean([drawn[row, col] == 1 for _, row, col in places])
        assert share == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 400) + 1e-9)
        rare = {(row, col) for _, row, col in places if drawn[row, col] == 1}
        assert evenness < 1 or len(rare) > 60
        assert not any(drawn[row, col] == IGNORE for _, row, col in places)


def test_windows_have_labels_where_any_can_be_had(small_config: TrainConfig) -> None:
    """A single labelled corner: unlabelled windows never come, though they are nearly everywhere."""
    drawn = np.full((300, 300), IGNORE, np.uint8)
    drawn[:20, :20] = 1
    ground = ground_of(
        [ArrayScene(name="a", pixels=np.full((3, 300, 300), 50.0), drawn=drawn)], BlockConfig(side_px=64)
    )
    supply = SceneSupply(ground=ground, config=still(small_config))
    assert all(((one != IGNORE).mean() >= 0.05) for step in range(1, 20) for one in supply.batch(step, 0).labels)


def test_weights_of_classes() -> None:
    counts = np.array([900.0, 0.0, 100.0])
    assert class_weights(counts, SamplingConfig(evenness=0)).tolist() == [0.9, 0, 0.1]
    assert class_weights(counts, SamplingConfig(evenness=1)).tolist() == [0.5, 0, 0.5]
    assert class_weights(counts, SamplingConfig()).tolist() == [0.75, 0, 0.25]
    with pytest.raises(SettingsError, match="gives no weight to a class that is labelled"):
        class_weights(counts, SamplingConfig(class_weights=(0, 1, 0)))
