"""Any bands, dtype and units: exact statistics, geometry that keeps labels, radiometry in each band's units."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geoseg.core.patch_source import IGNORE
from geoseg.model.spec import Conversion
from geoseg.training.augment import reshape_window, turn, vary_bands
from geoseg.training.config import TrainConfig
from geoseg.training.config_data import BlockConfig
from geoseg.training.ground import to_physical
from geoseg.training.sampling import SceneSupply
from geoseg.training.statistics import Moments
from tests.training.array_scene import ArrayScene
from tests.training.test_blocks import ground_of, still


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.integers(1, 5), st.floats(-1e6, 1e6))
def test_moments_of_parts_are_those_of_the_whole(sizes: list[int], bands: int, level: float) -> None:
    rng = np.random.default_rng(len(sizes))
    parts = [level + rng.normal(0, 1 + k, (bands, size)) for k, size in enumerate(sizes)]
    total = Moments.none(bands)
    for part in parts:
        total += Moments.of(part)
    whole = np.concatenate(parts, axis=1)
    assert total.count == whole.shape[1]
    if total.count:
        assert total.mean == pytest.approx(whole.mean(axis=1), rel=1e-12)
        assert total.covariance == pytest.approx(np.cov(whole, bias=True).reshape(bands, bands), rel=1e-6, abs=1e-6)


def test_a_large_mean_costs_no_digits() -> None:
    """Sums of squares in float64 would give 0 or less here."""
    values = 1e9 + np.arange(1000) % 7
    total = sum((Moments.of(part[None]) for part in np.split(values, 10)), Moments.none(1))
    assert total.std[0] == pytest.approx(np.std(np.arange(1000) % 7), rel=1e-6)


def test_values_are_converted_as_a_run_converts_them() -> None:
    """Against the predictor's own arithmetic."""
    import torch

    from geoseg.model.predictor import _convert

    conversion = Conversion(
        from_level="toa", from_dtype="uint16", scale=0.0716694772344013, clip_min=0, clip_max=255, round=True
    )
    stored = np.random.default_rng(0).integers(0, 5000, (2, 40, 40)).astype(np.uint16)
    theirs = _convert(torch.from_numpy(stored.astype(np.int32)), conversion).numpy()
    assert np.array_equal(to_physical(stored, conversion, scale=(1, 1), offset=(0, 0)), theirs.astype(np.float32))
    scaled = to_physical(stored, None, scale=(1e-4, 2e-4), offset=(-0.1, 0.0))
    assert scaled[1, 3, 4] == np.float32(stored[1, 3, 4] * 2e-4)
    assert scaled[0, 3, 4] == pytest.approx(stored[0, 3, 4] * 1e-4 - 0.1, abs=1e-6)


@pytest.mark.parametrize(("zoom", "degrees"), list(itertools.product([0.8, 1.0, 1.3], [0.0, 17.0, -40.0, 90.0])))
def test_labels_stay_with_their_pixels_and_among_their_values(zoom: float, degrees: float) -> None:
    """A smooth field and its classes, zoomed and rotated together, still agree; no class appears from between."""
    size = 48
    source = round(size * zoom * (abs(np.cos(np.radians(degrees))) + abs(np.sin(np.radians(degrees)))))
    rows, cols = np.indices((source, source)) / 6
    field = (100 + 50 * np.sin(rows) * np.cos(cols)).astype(np.float32)
    labels = np.select([field < 80, field < 120], [0, 1], 7).astype(np.uint8)
    labels[:2] = IGNORE
    pixels, valid, moved = reshape_window(
        np.stack([field] * 13), np.ones((source, source), bool), labels, size_px=size, zoom=zoom, degrees=degrees
    )
    assert pixels.shape == (13, size, size)
    assert pixels.dtype == np.float32
    assert moved.dtype == np.uint8
    assert set(np.unique(moved)) <= {0, 1, 7, IGNORE}
    inner = ndimage.binary_erosion(moved != IGNORE, iterations=2) & valid
    again = np.select([pixels[0] < 80, pixels[0] < 120], [0, 1], 7)
    assert (again == moved)[inner].mean() > 0.93
    assert inner.mean() > 0.7


def test_a_rotation_of_a_quarter_is_the_symmetry() -> None:
    rng = np.random.default_rng(0)
    pixels, labels = rng.normal(size=(2, 32, 32)).astype(np.float32), rng.integers(0, 9, (32, 32)).astype(np.uint8)
    rotated, valid, moved = reshape_window(pixels, labels < 5, labels, size_px=32, zoom=1.0, degrees=90.0)
    expected, turned = turn(pixels, labels, symmetry=1)
    assert np.allclose(rotated, expected, atol=1e-5)
    assert np.array_equal(moved, turned)
    assert np.array_equal(valid, turned < 5)


def many_bands(config: TrainConfig, names: list[str], mean: list[float], std: list[float]) -> TrainConfig:
    content = config.model_dump(mode="json")
    content["procedural"]["seeds"] = []
    content["bundle"] |= {"bands": names, "scale": [], "offset": []}
    content["network"] |= {"in_channels": len(names), "mean": mean, "std": std}
    content["augment"] |= {"units": "std", "offset": 0.25, "haze": 0.9, "noise": 0.07}
    return TrainConfig.model_validate(content)


def test_variation_is_the_same_in_the_units_of_any_band(small_config: TrainConfig) -> None:
    """Reflectance or the same as integers of 10000, decibels below zero, heights: standardised, nothing differs."""
    rng = np.random.default_rng(1)
    scene = rng.normal(0, 1, (4, 24, 24)).astype(np.float32)
    units = {
        "reflectance": (0.2, 0.05),
        "integers": (2000.0, 500.0),
        "decibels": (-14.0, 3.0),
        "metres": (900.0, 200.0),
    }
    found = []
    for mean, std in units.values():
        config = many_bands(small_config, ["blue", "green", "red", "nir"], [mean] * 4, [std] * 4)
        varied = vary_bands(scene * std + mean, config=config, rng=np.random.default_rng(5))
        assert varied.dtype == np.float32
        found.append((varied - mean) / std)
    assert not np.allclose(found[0], scene, atol=0.05)
    for other in found[1:]:
        assert np.allclose(other, found[0], atol=2e-3)


def test_display_amounts_mean_what_they_did(small_config: TrainConfig) -> None:
    """The recipe that is shipped varies its bands by amounts like those in standard deviations."""
    rng = np.random.default_rng(0)
    network = small_config.network
    scene = (rng.normal(0, 1, (3, 32, 32)) * np.array(network.std)[:, None, None]).astype(np.float32)
    scene += np.array(network.mean, np.float32)[:, None, None]
    as_std = many_bands(small_config, ["red", "green", "blue"], list(network.mean), list(network.std))
    spread = []
    for config in (small_config, as_std):
        moved = [
            (vary_bands(scene, config=config, rng=np.random.default_rng(k)) - scene).mean(axis=(1, 2)) / network.std
            for k in range(300)
        ]
        spread.append(np.std(moved, axis=0))
    assert (spread[1] / spread[0] > 0.4).all()
    assert (spread[1] / spread[0] < 2.0).all()


def test_haze_is_blue_and_leaves_radar_alone(small_config: TrainConfig) -> None:
    names = ["blue", "red", "rededge071", "nir", "swir16", "vv"]
    content = many_bands(small_config, names, [0.0] * 6, [1.0] * 6).model_dump(mode="json")
    content["augment"] |= {"gain": 0, "band_gain": 0, "gamma": 0, "offset": 0, "noise": 0, "haze_share": 1}
    config = TrainConfig.model_validate(content)
    pixels = np.zeros((6, 8, 8), np.float32)
    content["augment"] |= {"blur_share": 0}
    moved = vary_bands(pixels, config=config, rng=np.random.default_rng(3)).mean(axis=(1, 2))
    assert moved[0] > moved[1] > moved[2] > moved[3] > moved[4] > 0
    assert moved[5] == pytest.approx(0, abs=1e-5)


def test_a_dropped_band_is_its_mean_and_only_one_goes(small_config: TrainConfig) -> None:
    content = many_bands(small_config, ["a", "b", "c", "d"], [5.0, 6.0, 7.0, 8.0], [1.0] * 4).model_dump(mode="json")
    content["augment"] |= {"drop_share": 1.0}
    config = TrainConfig.model_validate(content)
    pixels = np.random.default_rng(0).normal(7, 1, (4, 16, 16)).astype(np.float32)
    for seed in range(20):
        varied = vary_bands(pixels, config=config, rng=np.random.default_rng(seed))
        assert sum(bool((varied[k] == config.network.mean[k]).all()) for k in range(4)) == 1


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
@pytest.mark.parametrize("bands", [1, 4, 13])
def test_windows_keep_every_band_and_all_bits(small_config: TrainConfig, bands: int, dtype: str) -> None:
    """Tutorials converted to three bands of eight bits, changed the ground pixel by a resize, and lost the labels."""
    high = 250 if dtype == "uint8" else 12_000
    pixels = np.random.default_rng(0).integers(1, high, (bands, 100, 100)).astype(dtype)
    drawn = (np.random.default_rng(1).integers(0, 4, (100, 100)) * 85).astype(np.uint8)
    drawn[drawn == 85], drawn[drawn == 170] = 1, 7
    config = many_bands(still(small_config), [f"band_{k}" for k in range(bands)], [100.0] * bands, [30.0] * bands)
    content = config.model_dump(mode="json")
    content["augment"] |= {"offset": 0, "haze": 0, "noise": 0, "zoom": 0, "rotate_deg": 0}
    content["network"]["classes"] = 8
    content["bundle"]["legend"] = [{"id": k, "name": f"c{k}", "color": "#000000"} for k in range(8)]
    config = TrainConfig.model_validate(content)
    ground = ground_of([ArrayScene(name="a", pixels=pixels, drawn=drawn)], BlockConfig(side_px=32), classes=8)
    batch = SceneSupply(ground=ground, config=config).batch(1, 0)
    assert batch.pixels.shape == (3, bands, 32, 32)
    assert batch.labels.dtype == np.uint8
    assert set(np.unique(batch.labels)) == {0, 1, 7, 255}
    known = {tuple(one) for one in pixels.reshape(bands, -1).T.astype(np.float32).tolist()}
    filled = tuple([100.0] * bands)
    seen = [tuple(one) for one in np.round(batch.pixels[0].reshape(bands, -1).T).tolist()]
    assert all(one in known or one == filled for one in seen)
