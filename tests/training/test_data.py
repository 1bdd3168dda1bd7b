"""Folds, augmentation, clouds and batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.core.patch_source import ArraySource, LabelledImage
from geoseg.training.augment import turn, vary_radiometry, zoom_window
from geoseg.training.clouds import ignore_clouds
from geoseg.training.config import AugmentConfig, CloudRule, ProceduralConfig, TrainConfig
from geoseg.training.dataset import Mixture, MixtureSupply, procedural_images
from geoseg.training.folds import spatial_folds


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=4),
        st.tuples(st.floats(-180, 180), st.floats(-90, 90)),
        min_size=6,
        max_size=40,
    ),
    st.integers(2, 6),
)
def test_folds_are_disjoint_complete_and_even(positions: dict[str, tuple[float, float]], count: int) -> None:
    folds = spatial_folds(positions, count=count)
    names = [name for fold in folds for name in fold]
    assert len(folds) == count
    assert sorted(names) == sorted(positions)
    assert max(map(len, folds)) - min(map(len, folds)) <= 1
    southern = [positions[name][1] for name in folds[0]]
    assert max(southern) <= min(positions[name][1] for fold in folds[1:] for name in fold)


def test_too_few_images_for_the_folds_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be split into 3 folds"):
        spatial_folds({"a": (0, 0), "b": (1, 1)}, count=3)


@pytest.mark.parametrize("symmetry", range(8))
def test_turns_move_labels_with_pixels(symmetry: int) -> None:
    labels = np.arange(36, dtype=np.uint8).reshape(6, 6)
    pixels = np.stack([labels, labels + 100]).astype(np.float32)
    turned, moved = turn(pixels, labels, symmetry=symmetry)
    assert np.array_equal(turned[0], moved)
    assert np.array_equal(np.sort(moved.ravel()), labels.ravel())


def test_the_eight_turns_differ() -> None:
    labels = np.arange(9, dtype=np.uint8).reshape(3, 3)
    turned = {turn(labels[None].astype(np.float32), labels, symmetry=k)[1].tobytes() for k in range(8)}
    assert len(turned) == 8


@pytest.mark.parametrize(("source", "target"), [(40, 32), (26, 32), (32, 32)])
def test_zoom_keeps_a_gradient_and_label_values(source: int, target: int) -> None:
    ramp = np.tile(np.arange(source, dtype=np.float32), (source, 1))[None]
    labels = np.where(ramp[0] < source / 2, 1, 255).astype(np.uint8)
    pixels, zoomed = zoom_window(ramp, labels, size_px=target)
    assert pixels.shape == (1, target, target)
    assert zoomed.shape == (target, target)
    assert set(np.unique(zoomed)) == {1, 255}
    expected = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    assert np.allclose(pixels[0, target // 2], expected, atol=1e-4)
    assert abs(int((zoomed == 1).sum()) / target**2 - 0.5) < 0.05


def test_no_variation_changes_nothing() -> None:
    pixels = np.random.default_rng(0).uniform(5, 250, (3, 16, 16)).astype(np.float32)
    still = AugmentConfig(gain=0, band_gain=0, gamma=0, offset=0, haze=0, noise=0, blur_share=0)
    varied = vary_radiometry(pixels, config=still, rng=np.random.default_rng(1))
    assert np.allclose(varied, pixels, rtol=1e-5)


def test_variation_stays_a_display_value_and_follows_its_seed() -> None:
    pixels = np.full((3, 8, 8), 250, dtype=np.float32)
    one, same = (vary_radiometry(pixels, config=AugmentConfig(), rng=np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one, same)
    assert one.min() >= 0
    assert one.max() <= 255
    assert one.dtype == np.float32


def test_bright_grey_of_the_wrong_label_becomes_ignored_and_nothing_else() -> None:
    pixels = np.full((3, 40, 40), 40, dtype=np.uint8)
    labels = np.zeros((40, 40), dtype=np.uint8)
    labels[:, 30:] = 1
    pixels[:, 10:20, 10:20] = 120
    pixels[:, 10:20, 32:38] = 120
    pixels[0, 30:36, 5:11], pixels[2, 30:36, 5:11] = 130, 80
    rule = CloudRule(images=("a",), label=0, grow_px=2)
    image = LabelledImage(name="a", pixels=pixels, labels=labels)
    cleaned = ignore_clouds(image, rule=rule).labels
    assert (cleaned[10:20, 10:20] == 255).all()
    assert (cleaned[:, 30:] == 1).all()
    assert (cleaned[28:, :] != 255).all()
    assert cleaned[9, 15] == 255
    assert ignore_clouds(LabelledImage(name="b", pixels=pixels, labels=labels), rule=rule).labels is labels


def test_demo_seeds_cannot_be_trained_on() -> None:
    with pytest.raises(ValueError, match="kept for the demo"):
        ProceduralConfig(seeds=(1000, 99))


def test_batches_follow_the_seed_and_hold_nodata_at_the_mean(small_config: TrainConfig) -> None:
    pixels = np.full((3, 64, 64), 80, dtype=np.uint8)
    pixels[:, :32] = 0
    labels = np.where(pixels[0] == 0, 255, 1).astype(np.uint8)
    image = LabelledImage(name="half", pixels=pixels, labels=labels)
    mixture = Mixture(tiles=[image], procedural=(), procedural_share=0.5)
    supply, again = (MixtureSupply(mixture=mixture, config=small_config) for _ in range(2))
    one = supply.batch(7, 1)
    others = [again.batch(7, 0), again.batch(8, 1)]
    assert np.array_equal(one.pixels, again.batch(7, 1).pixels)
    assert not any(np.array_equal(one.pixels, other.pixels) for other in others)
    assert one.pixels.shape == (2, 3, 32, 32)
    dark = one.labels == 255
    assert dark.any()
    for band, mean in enumerate(small_config.network.mean):
        assert (one.pixels[:, band][dark] == mean).all()


def test_procedural_images_are_display_values(small_config: TrainConfig) -> None:
    (image,) = procedural_images(small_config)
    assert image.name == "procedural-1000"
    assert image.pixels.dtype == np.uint8
    assert 15 < np.median(image.pixels[0][image.labels == 1]) < 45
    assert (image.pixels[:, image.labels == 255] == 0).all()


def test_a_source_gives_images_by_unique_name() -> None:
    image = LabelledImage(name="a", pixels=np.zeros((1, 2, 2), np.uint8), labels=np.zeros((2, 2), np.uint8))
    assert ArraySource(images=(image,)).image_of("a") is image
    with pytest.raises(ValueError, match="not unique"):
        ArraySource(images=(image, image))
    with pytest.raises(ValueError, match="do not fit"):
        LabelledImage(name="b", pixels=np.zeros((1, 2, 3), np.uint8), labels=np.zeros((2, 2), np.uint8))
