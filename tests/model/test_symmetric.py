"""Scores averaged over the symmetries of a tile, against the network turned by hand."""

from pathlib import Path

import numpy as np
import pytest

from geoseg.core.patch import Patch
from geoseg.core.window import Window
from geoseg.model.bundle import ModelBundle
from geoseg.model.predictor import Predictor
from geoseg.model.symmetric import SymmetricPredictor
from tests.model.bundles import tiny_bundle


def predictor(bundle: ModelBundle, shape: tuple[int, int]) -> Predictor:
    return Predictor(bundle, engine="torch-cpu", precision="fp32", device="cpu", tile_shape=shape)


def patch_of(shape: tuple[int, int], *, seed: int = 0) -> Patch:
    rng = np.random.default_rng(seed)
    return Patch(
        window=Window(row=32, col=64, height=shape[0], width=shape[1]),
        pixels=rng.integers(1, 255, (3, *shape)).astype(np.uint8),
        valid=rng.random(shape) < 0.95,
    )


def of_arrays(pixels: np.ndarray, valid: np.ndarray) -> Patch:
    window = Window(row=0, col=0, height=valid.shape[0], width=valid.shape[1])
    return Patch(window=window, pixels=np.ascontiguousarray(pixels), valid=np.ascontiguousarray(valid))


@pytest.mark.parametrize("shape", [(64, 64), (64, 96)])
def test_it_is_the_mean_of_the_eight(shape: tuple[int, int], tmp_path: Path) -> None:
    """Transposed and flipped one by one."""
    bundle = tiny_bundle(tmp_path / "b", "unet", seed=3)
    patch = patch_of(shape)
    symmetric = SymmetricPredictor(lambda one: predictor(bundle, one), shape)
    (found,) = symmetric.predict([patch])
    total = np.zeros((2, *shape))
    for is_transposed in (False, True):
        for rows in (1, -1):
            for cols in (1, -1):
                pixels, valid = patch.pixels[:, ::rows, ::cols], patch.valid[::rows, ::cols]
                if is_transposed:
                    pixels, valid = pixels.transpose(0, 2, 1), valid.T
                (scores,) = predictor(bundle, valid.shape).predict([of_arrays(pixels, valid)])
                back = scores.values.transpose(0, 2, 1) if is_transposed else scores.values
                total += back[:, ::rows, ::cols]
    np.testing.assert_allclose(found.values, total / 8, atol=1e-5)
    np.testing.assert_allclose(found.values.sum(0), 1, atol=1e-5)
    assert found.window == patch.window
    assert np.array_equal(found.valid, patch.valid)
    (plain,) = predictor(bundle, shape).predict([patch])
    assert np.abs(plain.values - found.values).max() > 1e-3


def test_a_pointwise_network_gains_nothing(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b", "pointwise")
    patches = [patch_of((16, 32), seed=seed) for seed in range(2)]
    symmetric = SymmetricPredictor(lambda one: predictor(bundle, one), (16, 32)).predict(patches)
    for found, plain in zip(symmetric, predictor(bundle, (16, 32)).predict(patches), strict=True):
        np.testing.assert_allclose(found.values, plain.values, atol=1e-6)
