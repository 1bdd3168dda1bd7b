"""One small training run from files to a bundle, and what the shipped bundle was trained on."""

import csv
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from geoseg.core.patch_source import LabelledImage
from geoseg.errors import InputError, SettingsError
from geoseg.model.bundle import load_bundle
from geoseg.training.config import FIRST_TRAINING_SEED, TrainConfig, load_train_config
from geoseg.training.config_data import DataConfig
from geoseg.training.dataset import Mixture, MixtureSupply
from geoseg.training.evaluate import evaluate, map_classes
from geoseg.training.fit import Progress, train_network
from geoseg.training.margin import measure_margins, plan_margins
from geoseg.training.state import build_network
from geoseg.workflows.fit import evaluate_folds, fit
from geoseg.workflows.progress import Silent

SIDE = 256
SHIPPED = Path(__file__).parents[2] / "configs" / "train" / "forest-s2-rgb.yaml"


def easy_image(name: str, *, seed: int, side: int = SIDE) -> LabelledImage:
    """Dark forest and bright fields in blocks of 32 pixels, with noise."""
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 2, (side // 32, side // 32)), np.ones((32, 32))).astype(np.uint8)
    base = np.where(labels == 1, 30, 75)[None] + np.array([0, 12, 18])[:, None, None]
    pixels = (base + rng.normal(0, 2, (3, side, side))).clip(0, 255).astype(np.uint8)
    return LabelledImage(name=name, pixels=pixels, labels=labels)


def write_tiles(folder: Path, positions: dict[str, tuple[float, float, str]], *, side: int = SIDE) -> None:
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    rows = [("file", "lon", "lat", "split")]
    for seed, (name, (longitude, latitude, split)) in enumerate(positions.items()):
        image = easy_image(name, seed=seed, side=side)
        profile = {
            "driver": "GTiff",
            "height": side,
            "width": side,
            "dtype": "uint8",
            "crs": "EPSG:4326",
            "transform": from_origin(longitude, latitude, 9e-5, 9e-5),
        }
        with rasterio.open(folder / "images" / f"{name}.tiff", "w", count=3, **profile) as out:
            out.write(image.pixels)
        with rasterio.open(folder / "masks" / f"{name}.tif", "w", count=1, nodata=255, **profile) as out:
            out.write(image.labels, 1)
        rows.append((f"{name}.tiff", str(longitude), str(latitude), split))
    with (folder / "tiles.csv").open("w", newline="") as out:
        csv.writer(out).writerows(rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiles")
    positions = {
        "north": (-50.0, -2.0, "train"),
        "middle": (-51.0, -5.0, "train"),
        "west": (-58.0, -6.0, "train"),
        "south": (-52.0, -11.0, "train"),
        "held": (-55.0, -14.0, "validation"),
    }
    write_tiles(folder, positions)
    return folder


def test_the_loss_falls_and_the_classes_are_found(small_config: TrainConfig) -> None:
    images = [easy_image("a", seed=1), easy_image("b", seed=2)]
    losses: list[float] = []

    def report(progress: Progress) -> None:
        losses.append(progress.loss)

    config = small_config.model_copy(
        update={"fit": small_config.fit.model_copy(update={"steps": 120, "average_decay": 0.9, "batch": 4})}
    )
    supply = MixtureSupply(mixture=Mixture(tiles=images, procedural=(), procedural_share=0), config=config)
    trained = train_network(config, supply, held=[easy_image("c", seed=3)], report=report)
    assert len(losses) == 12
    assert losses[-1] < 0.75 * losses[0]
    assert trained.ended == "steps"
    assert trained.scores is not None
    assert trained.scores.confusion.accuracy > 0.9
    again = train_network(config, supply)
    one, same = (map_classes(each.network, images[0], config=config.network) for each in (trained, again))
    assert np.array_equal(one, same)
    scores = evaluate(again.network, [easy_image("c", seed=3)], config=config.network)
    assert np.array_equal(scores.confusion.counts, trained.scores.confusion.counts)


def test_one_command_gives_a_bundle_that_names_its_inputs(
    data: Path, tmp_path: Path, small_config: TrainConfig
) -> None:
    progress = Silent()
    bundle = fit(small_config, data=data, out=tmp_path / "bundle", progress=progress)
    assert load_bundle(str(tmp_path / "bundle")).sha256 == bundle.sha256
    inputs = bundle.spec.training_data.inputs
    assert sorted(inputs) == sorted(
        [f"images/{name}.tiff" for name in ("north", "middle", "west", "south")]
        + [f"masks/{name}.tif" for name in ("north", "middle", "west", "south")]
    )
    for name, digest in inputs.items():
        assert hashlib.sha256((data / name).read_bytes()).hexdigest() == digest
    assert bundle.spec.training_data.procedural_seeds == (1000,)
    assert bundle.spec.level == "display8"
    assert bundle.spec.margin_tolerance <= 96
    assert any("step 30/30" in line for line in progress.notes)


def test_folds_hold_out_the_south_first(data: Path, small_config: TrainConfig) -> None:
    progress = Silent()
    short = small_config.model_copy(update={"fit": small_config.fit.model_copy(update={"steps": 2})})
    scores = evaluate_folds(short, data=data, folds=[0], progress=progress)
    assert list(scores) == [0]
    assert scores[0].counts.sum() == SIDE * SIDE
    assert progress.notes[-1].startswith("fold 0 step 2/2")


def test_missing_data_is_refused_with_the_remedy(tmp_path: Path, data: Path, small_config: TrainConfig) -> None:
    with pytest.raises(InputError, match=r"--data needs a folder with tiles\.csv"):
        fit(small_config, data=tmp_path, out=tmp_path / "bundle")
    other = small_config.model_copy(update={"data": DataConfig(split="nowhere")})
    with pytest.raises(InputError, match="no row whose split is 'nowhere'"):
        fit(other, data=data, out=tmp_path / "bundle")


def test_a_wrong_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(SHIPPED.read_text() + "stepz: 3\n")
    with pytest.raises(SettingsError, match="stepz"):
        load_train_config(file)
    with pytest.raises(SettingsError, match=r"none\.yaml cannot be read"):
        load_train_config(tmp_path / "none.yaml")


def test_images_too_small_for_a_margin_are_refused_before_training(
    tmp_path: Path, small_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config.network
    network = build_network(config).bare
    with pytest.raises(InputError, match=r"64 px are too small .* at least 80 px"):
        plan_margins(network, config=config, side_px=64)
    assert plan_margins(network, config=config, side_px=512).tile == 512 - 2 * 96
    assert plan_margins(network, config=config, side_px=80).tile == 48
    write_tiles(tmp_path / "data", {"a": (-50.0, -2.0, "train")}, side=64)
    monkeypatch.setattr("geoseg.workflows.fit.train_network", lambda *a, **b: pytest.fail("was trained"))
    with pytest.raises(InputError, match="too small"):
        fit(small_config, data=tmp_path / "data", out=tmp_path / "bundle")


def test_a_margin_that_is_not_met_is_the_exact_one(small_config: TrainConfig) -> None:
    torch.manual_seed(0)
    config = small_config.network
    network = build_network(config).bare.eval()
    noise = np.random.default_rng(0).integers(0, 255, (3, 96, 96)).astype(np.uint8)
    image = LabelledImage(name="noise", pixels=noise, labels=np.zeros((96, 96), np.uint8))
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.bias)
    plan = plan_margins(network, config=config, side_px=96)
    assert (plan.exact, plan.side, plan.tile) == (96, 96, 48)
    assert measure_margins(network, [image], plan=plan, config=config)["margin_tolerance"] == 96
    blind = replace(plan, exact=None)
    fields = measure_margins(network, [image], plan=blind, config=config)
    assert fields["margin_exact"] is None
    assert fields["margin_tolerance"] == 16
    assert 0.001 < fields["tolerance"] < 0.9999


def test_the_shipped_bundle_saw_no_validation_tile_and_no_demo_seed(test_data: Path) -> None:
    data = load_bundle("forest-s2-rgb").spec.training_data
    assert min(data.procedural_seeds) >= FIRST_TRAINING_SEED
    folder = test_data / "amazon_s2_forest"
    with (folder / "tiles.csv").open(newline="") as lines:
        splits = {row["file"]: row["split"] for row in csv.DictReader(lines)}
    trained = {Path(name).name for name in data.inputs if name.startswith("images/")}
    assert trained == {name for name, split in splits.items() if split == "train"}
    held = [name for name, split in splits.items() if split == "validation"]
    paths = [folder / "images" / name for name in held]
    paths += [folder / "masks" / f"{Path(name).stem}.tif" for name in held]
    assert len(paths) == 18
    for path in paths:
        assert hashlib.sha256(path.read_bytes()).hexdigest() not in data.inputs.values()


def test_the_shipped_bundle_names_the_inputs_of_its_config(shipped_config: TrainConfig) -> None:
    bundle = load_bundle("forest-s2-rgb")
    assert bundle.spec.training_data.procedural_seeds == shipped_config.procedural.seeds
    assert len(bundle.spec.training_data.inputs) == 50
    assert not any("validation" in name for name in bundle.spec.training_data.inputs)
    assert bundle.weights.stat().st_size <= 16_000_000
