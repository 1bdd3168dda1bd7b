"""Patches to probabilities: normalisation by algebra in numpy, whatever the dtype, nodata, company or memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from geoseg.core.patch import Patch, Scores
from geoseg.core.window import Window
from geoseg.errors import BundleError, ResourceError
from geoseg.model.bundle import Conversion, ModelBundle
from geoseg.model.network import load_network
from geoseg.model.precision import cpu_has_bf16
from geoseg.model.predictor import Predictor
from geoseg.model.weights import read_state
from tests.model.bundles import tiny_bundle

SIDE = 32
Float64 = npt.NDArray[np.float64]
needs_bf16 = pytest.mark.skipif(not cpu_has_bf16(), reason="this processor computes no bf16")


def predictor(bundle: ModelBundle, *, side: int = SIDE, **settings: Any) -> Predictor:
    usual: dict[str, Any] = {"engine": "torch-cpu", "precision": "fp32", "device": "cpu", "tile_shape": (side, side)}
    return Predictor(bundle, **{**usual, **settings})


def patch(pixels: npt.NDArray[Any], valid: npt.NDArray[np.bool_] | None = None) -> Patch:
    height, width = pixels.shape[1:]
    valid = np.ones((height, width), np.bool_) if valid is None else valid
    return Patch(window=Window(row=0, col=0, height=height, width=width), pixels=pixels, valid=valid)


def random_pixels(dtype: str, *, bands: int = 3, side: int = SIDE, seed: int = 0) -> npt.NDArray[Any]:
    rng = np.random.default_rng(seed)
    if dtype.startswith("float"):
        return rng.normal(2000, 3000, (bands, side, side)).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, (bands, side, side), dtype=dtype, endpoint=True)


def expected_pointwise(bundle: ModelBundle, pixels: Float64, *, temperature: float = 1.0) -> Float64:
    """The probabilities a 1 x 1 convolution gives, worked out in float64 by the formulas of bundle.yaml."""
    state = {name: tensor.numpy().astype(np.float64) for name, tensor in read_state(bundle.weights).items()}
    mean, std = (np.array([getattr(b, key) for b in bundle.spec.bands])[:, None, None] for key in ("mean", "std"))
    scale, offset = (
        np.array([getattr(b, key) for b in bundle.spec.bands])[:, None, None] for key in ("scale", "offset")
    )
    x = (pixels * scale + offset - mean) / std
    logits = np.einsum("kb,bhw->khw", state["weight"][:, :, 0, 0], x) + state["bias"][:, None, None]
    logits = logits / temperature
    exponent = np.exp(logits - logits.max(axis=0))
    return np.asarray(exponent / exponent.sum(axis=0))


BANDS = [
    {"name": "red", "scale": 0.0001, "offset": -0.1, "mean": 0.2, "std": 0.5},
    {"name": "green", "scale": 0.0002, "mean": 0.1, "std": 0.9},
    {"name": "nir", "mean": 2000.0, "std": 9000.0},
]


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64", ">u2", ">f4"]
)
def test_every_dtype_of_a_scene_is_normalised_as_the_bundle_says(dtype: str, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b", bands=["red", "green", "nir"], classes=3, level="any")
    spec = bundle.spec.model_validate({**bundle.spec.model_dump(), "bands": BANDS})
    bundle = ModelBundle(path=bundle.path, spec=spec, sha256=bundle.sha256)
    native = np.dtype(dtype).newbyteorder("=").name
    pixels = random_pixels(native).astype(dtype)
    if native in ("uint32", "int32"):
        pixels = (pixels // 70000).astype(dtype)  # beyond 24 bits float32 itself rounds
        pixels[0, 0, 0] = 70000
    scores = predictor(bundle).predict([patch(pixels)])[0]
    assert scores.values.dtype == np.float32
    np.testing.assert_allclose(scores.values, expected_pointwise(bundle, pixels.astype(np.float64)), atol=2e-6)
    np.testing.assert_allclose(scores.values.sum(axis=0), 1.0, atol=1e-6)


def test_temperature_divides_the_logits(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b", classes=4, temperature=2.5)
    pixels = random_pixels("uint8")
    scores = predictor(bundle).predict([patch(pixels)])[0]
    expected = expected_pointwise(bundle, pixels.astype(np.float64), temperature=2.5)
    np.testing.assert_allclose(scores.values, expected, atol=2e-6)


def test_a_conversion_is_applied_clipped_and_rounded_half_to_even(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b", classes=2)
    pixels = random_pixels("uint16")
    pixels[0, 0, :4] = [1, 3, 5, 0]  # halves: 0.5 -> 0, 1.5 -> 2, 2.5 -> 2
    conversion = Conversion(
        from_level="toa", from_dtype="uint16", scale=0.5, offset=0.0, clip_min=0.0, clip_max=255.0, round=True
    )
    scores = predictor(bundle, conversion=conversion).predict([patch(pixels)])[0]
    display = np.clip(np.rint(pixels * 0.5), 0, 255)
    np.testing.assert_allclose(scores.values, expected_pointwise(bundle, display), atol=2e-6)


@pytest.mark.parametrize("kind", ["pointwise", "unet"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_what_lies_under_nodata_changes_nothing(kind: str, dtype: str, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b", kind, level="any")
    valid = np.random.default_rng(1).random((SIDE, SIDE)) > 0.3
    answers = []
    for filler in (0, 65535) if dtype == "uint16" else (0.0, np.nan, np.inf, -1e38):
        pixels = random_pixels(dtype)
        pixels[:, ~valid] = filler
        scores = predictor(bundle).predict([patch(pixels, valid)])[0]
        assert np.isfinite(scores.values).all()
        np.testing.assert_array_equal(scores.valid, valid)
        answers.append(scores.values)
    for other in answers[1:]:
        np.testing.assert_array_equal(answers[0], other)


def test_nodata_enters_as_the_mean_of_its_band(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b", "unet")
    pixels = random_pixels("uint8")
    valid = np.ones((SIDE, SIDE), np.bool_)
    valid[5:20, 3:9] = False
    mean = pixels.copy()
    mean[:, ~valid] = 120  # the mean of tiny_bundle's bands
    ours = predictor(bundle).predict([patch(pixels, valid)])[0].values
    theirs = predictor(bundle).predict([patch(mean)])[0].values
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_nan_that_claims_to_be_valid_stays_one_pixel(tmp_path: Path) -> None:
    pixels = random_pixels("float32")
    pixels[1, 4, 4] = np.nan
    scores = predictor(tiny_bundle(tmp_path / "b", "unet", level="any")).predict([patch(pixels)])[0]
    assert np.isfinite(scores.values).all()


def test_a_constant_bundle_gives_its_constant(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b", "constant", classes=3)
    for precision in ("fp32", "bf16"):
        scores = predictor(bundle, precision=precision).predict([patch(random_pixels("uint8"))])[0]
        expected = np.array([1, 2, 3])[:, None, None] / 6
        np.testing.assert_allclose(scores.values, np.broadcast_to(expected, scores.values.shape), atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
def test_company_changes_nothing_on_a_cpu(batch: int, tmp_path: Path) -> None:
    network = predictor(tiny_bundle(tmp_path / "b", "unet"), batch=batch)
    patches = [patch(random_pixels("uint8", seed=seed)) for seed in range(4)]
    together = network.predict(patches)
    for one, alone in zip(together, patches, strict=True):
        np.testing.assert_array_equal(one.values, network.predict([alone])[0].values)
    assert network.predict([]) == []


def test_folding_and_layout_give_what_the_plain_network_gives(tmp_path: Path) -> None:
    for kind in ("unet", "unet:resnet18"):
        bundle = tiny_bundle(tmp_path / kind.replace(":", "-"), kind, classes=3)
        pixels = random_pixels("uint8", side=64)
        with torch.inference_mode():
            x = (torch.from_numpy(pixels.astype(np.float32)) - 120.0) / 60.0
            plain = torch.softmax(load_network(bundle)(x[None])[0], dim=0).numpy()
        ours = predictor(bundle, side=64).predict([patch(pixels)])[0].values
        assert np.abs(ours - plain).max() <= 1e-5


@needs_bf16
@pytest.mark.parametrize("kind", ["unet", "unet:resnet18"])
def test_bf16_gives_nearly_the_probabilities_of_fp32(kind: str, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b", kind)
    scores = [predictor(bundle, side=128, precision=p).predict([patch(smooth(128))])[0] for p in ("fp32", "bf16")]
    assert np.abs(scores[0].values - scores[1].values).max() < 0.02


def test_a_short_batch_is_filled_and_only_asked_patches_come_back(tmp_path: Path) -> None:
    network = FakeMemory(tiny_bundle(tmp_path / "b"), room=8)
    patches = [patch(random_pixels("uint8", seed=seed)) for seed in range(11)]
    check_same(network.predict(patches), patches, tmp_path)
    assert network.shapes == [8, 8]
    assert network.notes == []


def test_running_out_of_memory_halves_the_batch_says_so_and_goes_on(tmp_path: Path) -> None:
    network = FakeMemory(tiny_bundle(tmp_path / "b"), room=3)
    patches = [patch(random_pixels("uint8", seed=seed)) for seed in range(5)]
    check_same(network.predict(patches), patches, tmp_path)
    assert network.shapes == [8, 4, 2, 2, 2]
    assert network.notes == [
        "cpu ran out of memory: batch halved from 8 to 4",
        "cpu ran out of memory: batch halved from 4 to 2",
    ]
    network.predict(patches[:1])
    assert network.shapes[-1] == 2


def test_no_room_for_one_tile_is_said_with_the_remedy(tmp_path: Path) -> None:
    network = FakeMemory(tiny_bundle(tmp_path / "b"), room=0)
    with pytest.raises(ResourceError, match=r"no room for one tile of 32 x 32 pixels: --set tiling\.tile"):
        network.predict([patch(random_pixels("uint8"))])


def test_a_machine_without_room_says_the_same_as_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch itself says when the CPU's memory is out, which is no OutOfMemoryError."""
    network = predictor(tiny_bundle(tmp_path / "b"))
    monkeypatch.setattr(network, "_forward", lambda pixels: torch.empty(2**60, dtype=torch.uint8))
    with pytest.raises(ResourceError, match=r"cpu has no room for one tile of 32 x 32 pixels: --set tiling\.tile"):
        network.predict([patch(random_pixels("uint8"))])
    monkeypatch.setattr(network, "_forward", lambda pixels: pixels @ pixels[:, :, :5])
    with pytest.raises(RuntimeError, match="size"):  # any other error of torch is a bug and stays one
        network.predict([patch(random_pixels("uint8"))])


def test_threads_are_set_for_the_process(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        predictor(tiny_bundle(tmp_path / "b"), threads=1)
        assert torch.get_num_threads() == 1
        predictor(tiny_bundle(tmp_path / "b"), threads=0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b", "pointwise")
    unet = bundle.spec.model_copy(update={"architecture": "unet"})
    with pytest.raises(BundleError, match=r"model\.safetensors does not fit the architecture"):
        load_network(ModelBundle(path=bundle.path, spec=unet, sha256=bundle.sha256))


def test_an_architecture_that_cannot_be_built_names_the_bundle(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b")
    other = bundle.spec.model_copy(update={"architecture": "unet:resnet81"})
    with pytest.raises(BundleError, match=r"bundle 'tiny-pointwise' in .*encoder 'resnet81' is not known"):
        load_network(ModelBundle(path=bundle.path, spec=other, sha256=bundle.sha256))


def test_a_bundle_that_misstates_its_sizes_is_refused(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b", "unet", divisor=8, min_size=72, margin_tolerance=96, margin_exact=96)
    with pytest.raises(BundleError, match=r"unet cannot take a tile of 72 pixels .*min_size 72 or divisor 8 is wrong"):
        predictor(bundle, side=80)


def test_patches_and_tiles_of_the_wrong_shape_are_bugs(tmp_path: Path) -> None:
    network = predictor(tiny_bundle(tmp_path / "b"))
    with pytest.raises(ValueError, match=r"is not \(3, 32, 32\)"):
        network.predict([patch(random_pixels("uint8", bands=2))])
    with pytest.raises(ValueError, match="does not suit divisor 16"):
        predictor(tiny_bundle(tmp_path / "u", "unet"), side=40)


class FakeMemory(Predictor):
    """A predictor in batches of 8 on the CPU, whose device has room for `room` tiles."""

    def __init__(self, bundle: ModelBundle, *, room: int) -> None:
        super().__init__(bundle, engine="torch-cuda", precision="fp32", device="cpu", tile_shape=(SIDE, SIDE), batch=8)
        self.room = room
        self.shapes: list[int] = []

    def _forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.shapes.append(pixels.shape[0])
        if pixels.shape[0] > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return super()._forward(pixels)


def check_same(scores: Sequence[Scores], patches: Sequence[Patch], tmp_path: Path) -> None:
    alone = predictor(tiny_bundle(tmp_path / "b"))
    assert len(scores) == len(patches)
    for one, source in zip(scores, patches, strict=True):
        np.testing.assert_allclose(one.values, alone.predict([source])[0].values, atol=1e-6)


def smooth(side: int) -> npt.NDArray[np.uint8]:
    """A slow wave per band."""
    rows, cols = np.mgrid[0:side, 0:side] / side * 2 * np.pi
    waves = [np.sin(rows + k) * np.cos(cols * (k + 1)) for k in range(3)]
    return np.stack([np.rint(120 + 60 * wave) for wave in waves]).astype(np.uint8)
