"""The CRF on the sparse lattice against mean field with every pair of pixels written out."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from geoseg.core.patch import Patch
from geoseg.core.window import Window
from geoseg.errors import BundleError
from geoseg.model.appearance import find_appearance, principal_appearance, to_tones
from geoseg.model.predictor import Predictor
from geoseg.model.refine import refine
from geoseg.pipeline import RefinementSection
from tests.model.bundles import tiny_bundle

CRF = RefinementSection(method="crf")
Floats = npt.NDArray[np.float32]


def scene(side: int, classes: int, *, seed: int, noise: float = 6.0) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """(probabilities that mostly err, tones with clear edges, truth)."""
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[:side, :side]
    truth = ((col // (side // 4)) + (row // (side // 3)) * 2) % classes
    tones = np.stack([40 + truth * 37 % 200, 90 + truth * 53 % 150, 60 + truth * 71 % 180])
    tones = np.clip(tones + rng.normal(0, noise, tones.shape), 0, 255).astype(np.float32)
    logits = rng.normal(0, 1.2, (classes, side, side)) + (np.arange(classes)[:, None, None] == truth)
    powers = np.exp(logits)
    return (powers / powers.sum(axis=0)).astype(np.float32), tones, truth


def brute_force(values: Floats, tones: Floats, *, section: RefinementSection) -> npt.NDArray[np.float64]:
    """Mean field with both kernels as full matrices, float64."""
    classes, height, width = values.shape
    row, col = np.mgrid[:height, :width]
    place = np.stack([row.ravel(), col.ravel()], axis=1).astype(float)
    colour = tones.reshape(len(tones), -1).T.astype(float)
    seen = np.concatenate([place / section.appearance_px, colour / section.appearance_tone], axis=1)
    pairs = section.smoothness_weight * gaussian(place / section.smoothness_px)
    pairs += section.appearance_weight * gaussian(seen)
    logs = np.log(np.maximum(values.reshape(classes, -1).T.astype(float), 1e-6))
    found = values.reshape(classes, -1).T.astype(float)
    for _ in range(section.iterations):
        energy = logs + pairs @ found
        powers = np.exp(energy - energy.max(axis=1, keepdims=True))
        found = powers / powers.sum(axis=1, keepdims=True)
    return found.T.reshape(values.shape)


def gaussian(features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    squares = (features**2).sum(axis=1)
    kernel = np.exp(-0.5 * np.maximum(squares[:, None] + squares[None] - 2 * features @ features.T, 0))
    norm = 1 / np.sqrt(kernel.sum(axis=1))
    return np.asarray(kernel * norm[:, None] * norm[None])


@pytest.mark.parametrize(
    ("classes", "seed", "noise", "agreement"),
    [(4, 0, 6.0, 1.0), (2, 1, 12.0, 1.0), (6, 7, 6.0, 1.0), (6, 2, 12.0, 0.999)],
)
def test_labels_are_those_of_mean_field_over_all_pairs(classes: int, seed: int, noise: float, agreement: float) -> None:
    values, tones, truth = scene(64, classes, seed=seed, noise=noise)
    found = refine(values, tones, np.ones((64, 64), bool), section=CRF)
    exact = brute_force(values, tones, section=CRF)
    assert (found.argmax(axis=0) == exact.argmax(axis=0)).mean() >= agreement
    assert np.abs(found - exact).mean() < 1e-3
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    assert (values.argmax(axis=0) == truth).mean() < 0.8 < 0.99 < (found.argmax(axis=0) == truth).mean()


def test_what_was_not_observed_neither_changes_nor_speaks() -> None:
    values, tones, _ = scene(48, 3, seed=3)
    valid = np.ones((48, 48), bool)
    valid[:, 20:] = False
    loud, dark = values.copy(), tones.copy()
    loud[:, ~valid] = np.array([1, 0, 0], np.float32)[:, None]
    dark[:, ~valid] = 0
    found = refine(loud, dark, valid, section=CRF)
    assert np.array_equal(found[:, ~valid], loud[:, ~valid])
    alone = refine(values[:, :, :20], tones[:, :, :20], valid[:, :20], section=CRF)
    np.testing.assert_array_equal(found[:, :, :20], alone)
    assert refine(values, tones, np.zeros_like(valid), section=CRF) is values


def test_without_weights_nothing_changes() -> None:
    values, tones, _ = scene(32, 3, seed=4)
    idle = RefinementSection(method="crf", smoothness_weight=0, appearance_weight=0)
    np.testing.assert_allclose(refine(values, tones, np.ones((32, 32), bool), section=idle), values, atol=1e-6)


def test_many_bands_are_seen_in_their_principal_components() -> None:
    rng = np.random.default_rng(5)
    mixing = rng.normal(size=(6, 6))
    pixels = (mixing @ rng.normal(size=(6, 4000))).astype(np.float64)
    appearance = principal_appearance(np.cov(pixels))
    tones = to_tones(pixels.reshape(6, 40, 100).astype(np.float32), appearance)
    assert tones.shape == (3, 40, 100)
    assert tones.min() >= 0
    assert tones.max() <= 255
    inside = (tones > 0).all(axis=0) & (tones < 255).all(axis=0)
    assert inside.mean() > 0.95
    correlation = np.corrcoef(tones[:, inside])
    assert np.abs(correlation - np.eye(3)).max() < 0.05
    spread = tones[:, inside].std(axis=1)
    assert spread[0] > spread[1] > spread[2]


def test_a_display_image_is_seen_as_it_is(tmp_path: Path) -> None:
    spec = tiny_bundle(tmp_path / "b", bands=("red", "green", "blue"), level="display8").spec
    values = np.array([0, 7, 120, 255], np.float32)
    normalised = np.stack([(values - 120) / 60] * 3)[:, None].astype(np.float32)
    assert np.abs(to_tones(normalised, find_appearance(spec)) - values).max() < 1e-4
    other = tiny_bundle(tmp_path / "c", bands=("red", "green", "blue", "nir"), level="toa").spec
    with pytest.raises(BundleError, match="does not say how its bands are to be seen"):
        find_appearance(other)


def test_the_predictor_refines_each_tile(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b", "unet", bands=("red", "green", "blue"), level="display8", classes=3)
    pixels = np.random.default_rng(6).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    valid = np.ones((64, 64), bool)
    valid[50:] = False
    patch = Patch(window=Window(row=0, col=0, height=64, width=64), pixels=pixels, valid=valid)
    settings: dict[str, Any] = {"engine": "torch-cpu", "precision": "fp32", "device": "cpu", "tile_shape": (64, 64)}
    plain = Predictor(bundle, **settings).predict([patch])[0]
    refined = Predictor(bundle, refinement=CRF, **settings).predict([patch])[0]
    seen = np.where(valid, pixels, 120).astype(np.float32)
    np.testing.assert_allclose(refined.values, refine(plain.values, seen, valid, section=CRF), atol=2e-4)
    assert not np.allclose(refined.values, plain.values, atol=1e-3)
