"""Procedural scenes: the same for the same seed, truth and validity agree, and they look like Sentinel-2 in numbers."""

import numpy as np
import pytest

from geoseg.core.noise import make_lattice, make_texture
from geoseg.core.procedural import ProceduralScene, make_procedural_scene


@pytest.fixture(scope="module")
def scene() -> ProceduralScene:
    return make_procedural_scene(7, height=640, width=832)


def test_a_seed_names_one_scene(scene: ProceduralScene) -> None:
    again = make_procedural_scene(7, height=640, width=832)
    other = make_procedural_scene(8, height=640, width=832)
    assert np.array_equal(scene.reflectance, again.reflectance)
    assert np.array_equal(scene.classes, again.classes)
    assert (scene.epsg, scene.transform) == (again.epsg, again.transform)
    assert not np.array_equal(scene.classes, other.classes)


def test_truth_validity_and_pixels_agree(scene: ProceduralScene) -> None:
    assert scene.reflectance.shape == (3, 640, 832)
    assert scene.reflectance.dtype == np.uint16
    assert scene.classes.shape == scene.valid.shape == (640, 832)
    assert set(np.unique(scene.classes)) == {0, 1, 255}
    assert np.array_equal(scene.valid, scene.classes != 255)
    assert np.array_equal(scene.valid, (scene.reflectance > 0).all(axis=0))
    assert (scene.reflectance[:, ~scene.valid] == 0).all()


def test_the_collar_is_a_slanting_swath(scene: ProceduralScene) -> None:
    missing = ~scene.valid
    assert 0.02 < missing.mean() < 0.4
    assert missing[0, 0]
    assert missing[-1, -1]
    first = scene.valid.argmax(axis=1)
    assert (np.diff(first) <= 0).all()
    assert first[0] > first[-1]


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 1000])
def test_forest_and_other_land_are_both_there_and_dark_forest_is_dark(seed: int) -> None:
    made = make_procedural_scene(seed, height=768, width=768)
    forest = made.classes == 1
    other = made.classes == 0
    assert 0.1 < forest.sum() / made.valid.sum() < 0.9
    red, green, blue = (np.median(band[forest]) for band in made.reflectance)
    assert 200 < red < 600
    assert red < green < blue < 1300
    assert np.median(made.reflectance[0][other]) > 1.3 * red
    assert made.reflectance[:, made.valid].max() < 10000


@pytest.mark.parametrize(("height", "width"), [(512, 512), (513, 777), (512, 2048)])
def test_any_size_is_made_whole(height: int, width: int) -> None:
    made = make_procedural_scene(3, height=height, width=width)
    assert made.classes.shape == (height, width)
    assert (made.classes[:, width // 2] != 255).any()


def test_it_lies_in_a_utm_zone_at_ten_metres(scene: ProceduralScene) -> None:
    a, b, c, d, e, f = scene.transform
    assert 32700 < scene.epsg <= 32760
    assert (a, b, d, e) == (10.0, 0.0, 0.0, -10.0)
    assert c % 10 == 0
    assert f % 10 == 0


def test_impossible_sizes_and_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="sides in"):
        make_procedural_scene(1, height=32, width=512)
    with pytest.raises(ValueError, match="seed of at least 0"):
        make_procedural_scene(-1, height=512, width=512)


def test_noise_is_the_same_however_rows_are_asked_for() -> None:
    rng = np.random.default_rng(0)
    lattice = make_lattice(rng, height=300, width=200, cell_px=37.0)
    texture = make_texture(rng, sigma_px=1.0)
    cols = np.arange(-2, 202)
    for field in (lattice, texture):
        whole = field.at(np.arange(-2, 302), cols)
        part = field.at(np.arange(100, 140), cols)
        assert np.array_equal(whole[102:142], part)
    assert np.abs(whole.std() - 1) < 0.1
