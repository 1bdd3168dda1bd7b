"""Every architecture from its first step to a map of a real scene; where it has a margin, tiles are the whole image."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import torch
import torch.nn.functional as F
from rasterio.windows import Window as RasterWindow
from torch import nn

from geoseg.config import Config
from geoseg.model.bundle import ModelBundle
from geoseg.model.margin import probe_margin
from geoseg.model.network import prepare_network
from geoseg.model.registry import build_network, find_architecture, list_architectures
from geoseg.pipeline import Pipeline
from geoseg.workflows.plan import Request, plan_scene
from geoseg.workflows.segment import segment
from tests.matrix import REDUCED, Reduced
from tests.model.bundles import tiny_bundle
from tests.model.zoo.network_laws import all_outputs, calibrated
from tests.workflows.test_segment import read, whole_image

SCENE = "scenes/s2_austria_ftw/inference-img.tif"
CLASSES = 3
BANDS = (1, 3, 4, 13)
QUICK_BANDS = 4
RAMP = 16


def cases() -> list[Any]:
    """One of each family with one number of bands at once; all of all in the long run."""
    return [
        pytest.param(one, bands, id=f"{one.name}-{bands}", marks=[] if quick else pytest.mark.long)
        for one in REDUCED
        for bands in BANDS
        for quick in [one.first and bands == QUICK_BANDS]
    ]


def test_every_architecture_is_in_the_matrix() -> None:
    """Of two that are called alike, each; terratorch's need an extra and weights."""
    named = {(one.name.partition(":")[0], bool(find_architecture(one.name).encoders)) for one in REDUCED}
    listed = {(one.name, bool(one.encoders)) for one in list_architectures() if one.extra != "foundation"}
    assert named == listed
    families = {find_architecture(one.name).build.__module__ for one in REDUCED}
    assert len(REDUCED) == len(listed)
    assert len(families) >= 10


@pytest.mark.parametrize(("one", "bands"), cases())
def test_it_trains_is_packed_and_maps_a_real_scene(one: Reduced, bands: int, test_data: Path, tmp_path: Path) -> None:
    if one.needs:
        pytest.importorskip(one.needs)
    facts = find_architecture(one.name)
    trained = train(one, bands)
    margin = probe(one) if facts.margin is not None else None
    tile = tile_side(one, margin)
    shape = (side_of(one), tile + max(2 * facts.divisor, 64))
    pixels = crop(test_data / SCENE, tmp_path / "scene.tif", bands=bands, shape=shape)
    bundle = packed(one, trained, pixels, margin=margin, folder=tmp_path / "bundle")
    mapped, confidence = run(tmp_path, bands, tile=tile, margin="tolerance" if margin is None else "exact")
    assert mapped.shape == pixels.shape[1:]
    assert set(np.unique(mapped)) <= set(bundle.legend.ids)
    if margin is None:
        return
    scores = whole_image(bundle, pixels, facts.divisor)
    first, second = np.sort(scores, axis=0)[-1], np.sort(scores, axis=0)[-2]
    decided = first - second > 1e-4
    assert decided.mean() > 0.9
    np.testing.assert_array_equal(mapped[decided], scores.argmax(0).astype(np.uint8)[decided])
    assert np.abs(confidence.astype(int) - np.rint(100 * first)).max() <= 1


@pytest.mark.parametrize(
    "one", [pytest.param(one, id=one.name, marks=[] if one.first else pytest.mark.long) for one in REDUCED]
)
def test_it_computes_in_bfloat16(one: Reduced, tmp_path: Path) -> None:
    """The layers after the one that is kept in float32, if there are any, take what it gives."""
    if one.needs:
        pytest.importorskip(one.needs)
    side = side_of(one)
    bundle = tiny_bundle(tmp_path, one.name, ["a", "b", "c"], CLASSES, options=one.options)
    network = prepare_network(bundle, precision="bf16", device="cpu")
    with torch.inference_mode():
        logits = network(torch.randn(1, 3, side, side, dtype=torch.bfloat16))
    assert logits.shape == (1, CLASSES, side, side)
    assert bool(logits.isfinite().all())


def train(one: Reduced, bands: int) -> nn.Module:
    """Two steps of one sample and two of two; every output is learnt, and stays finite."""
    torch.manual_seed(0)
    options = {**one.options, "aux": True} if one.aux else one.options
    network = build_network(one.name, in_channels=bands, classes=CLASSES, options=options).train()
    side = side_of(one)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    before = {key: parameter.detach().clone() for key, parameter in network.named_parameters()}
    for batch in (1, 1, 2, 2):
        labels = torch.randint(CLASSES, (batch, side, side))
        outputs = all_outputs(network, torch.randn(batch, bands, side, side))
        assert outputs["out"].shape == (batch, CLASSES, side, side)
        loss = torch.stack([loss_of(output, labels) for output in outputs.values()]).sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        assert torch.isfinite(loss)
    # smp's encoders keep stages that a network does not use, and some upsampling is fixed
    learnt = {key: one for key, one in network.named_parameters() if one.grad is not None}
    assert len(learnt) > len(before) / 2
    assert np.mean([not torch.equal(before[key], one) for key, one in learnt.items()]) > 0.9
    assert all(bool(parameter.isfinite().all()) for parameter in network.parameters())
    return network


def side_of(one: Reduced) -> int:
    """A small tile that it takes."""
    facts = find_architecture(one.name)
    return -(-max(facts.min_size, 64) // facts.divisor) * facts.divisor


def loss_of(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of classes, or of an edge, which has one channel."""
    if output.shape[1] == CLASSES:
        return F.cross_entropy(output, labels)
    return F.binary_cross_entropy_with_logits(output, (labels[:, None] == 0).float())


def probe(one: Reduced) -> int:
    """The margin of this instance, which is smaller than the one the registry names, for larger ones."""
    facts = find_architecture(one.name)
    assert facts.margin is not None
    if one.declared:
        return facts.margin
    network = build_network(one.name, in_channels=1, classes=1, options=one.options)
    found = probe_margin(network, 1, facts.divisor, min_size=facts.min_size)
    assert found is not None
    assert found <= facts.margin
    return found


def tile_side(one: Reduced, margin: int | None) -> int:
    """The smallest that leaves a step of one block beyond both margins and the ramp."""
    facts = find_architecture(one.name)
    least = 2 * (facts.divisor if margin is None else margin) + RAMP + facts.divisor
    return -(-max(least, facts.min_size, 64) // facts.divisor) * facts.divisor


def crop(source: Path, file: Path, *, bands: int, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """A strip of a real scene, mirrored where it is not wide enough; its bands are repeated."""
    height, width = shape
    with rasterio.open(source) as scene:
        pixels = scene.read(window=RasterWindow(0, 100, min(scene.width, width), height))
        profile = {"crs": scene.crs, "transform": scene.transform}
    low, high = (np.percentile(pixels, q, axis=(1, 2), keepdims=True) for q in (1, 99))
    stretched = (1 + 254 * (pixels - low) / (high - low)).clip(1, 255).astype(np.uint8)
    wide = np.pad(stretched, ((0, 0), (0, 0), (0, width - stretched.shape[2])), mode="symmetric")
    made = np.ascontiguousarray(wide[np.arange(bands) % len(wide)])
    with rasterio.open(
        file,
        "w",
        driver="GTiff",
        dtype="uint8",
        count=bands,
        height=height,
        width=width,
        photometric="MINISBLACK",
        **profile,
    ) as target:
        target.write(made)
    return made


def packed(
    one: Reduced, trained: nn.Module, pixels: npt.NDArray[np.uint8], *, margin: int | None, folder: Path
) -> ModelBundle:
    """A bundle of what was trained, without the heads of training only, with the scene's statistics in its norms."""
    bands = len(pixels)
    network = build_network(one.name, in_channels=bands, classes=CLASSES, options=one.options)
    state = trained.state_dict()
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    facts = find_architecture(one.name)
    side = side_of(one)
    seen = torch.from_numpy(pixels[None, :, :side, :side].astype(np.float32) - 120) / 60
    with torch.inference_mode():
        spread = float(calibrated(network, seen)(seen).std())
    return tiny_bundle(
        folder,
        one.name,
        [f"x{k}" for k in range(bands)],
        CLASSES,
        options=one.options,
        state=network.state_dict(),
        temperature=spread,  # after four steps some logits are nearly equal
        margin_exact=margin,
        margin_tolerance=facts.divisor if margin is None else margin,
        min_size=-(-facts.min_size // facts.divisor) * facts.divisor,
    )


def run(folder: Path, bands: int, *, tile: int, margin: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Classes and confidence of scene.tif by bundle."""
    pipeline = Pipeline.model_validate(
        {
            "name": "test",
            "model": str(folder / "bundle"),
            "scene": {"bands": {f"x{k}": str(k + 1) for k in range(bands)}, "level": "display8"},
            "tiling": {"tile": tile, "margin": margin, "ramp": RAMP},
            "inference": {"engine": "torch-cpu", "precision": "fp32"},
            "products": ["classes", "confidence"],
        }
    )
    plan = plan_scene(Request(source=str(folder / "scene.tif"), pipeline=pipeline, config=Config(threads=1)))
    assert plan.tiles.count() > 1
    segment(plan, folder / "out")
    return read(folder / "out" / "classes.tif"), read(folder / "out" / "confidence.tif")
