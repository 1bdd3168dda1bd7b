"""`geoseg train` as users meet it: a bundle that maps, a run that is gone on with, one line for what is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from geoseg.cli.train import train
from geoseg.errors import InputError, ProductError, SettingsError
from geoseg.model.bundle import load_bundle
from geoseg.model.network import load_network
from geoseg.presets import dump
from geoseg.training.checkpoint import read_checkpoint
from geoseg.training.config import TrainConfig
from tests.training.test_fit import write_tiles


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_tiles(folder, {"a": (-50.0, -2.0, "train"), "b": (-51.0, -5.0, "validation")})
    return folder


def written(config: TrainConfig, file: Path, **sections: dict[str, object]) -> Path:
    content = config.model_dump(mode="json")
    for section, values in sections.items():
        content[section] |= values
    file.write_text(dump(TrainConfig.model_validate(content)))
    return file


@pytest.fixture
def recipe(small_config: TrainConfig, tmp_path: Path) -> Path:
    """Three steps of a global network with an auxiliary head, one tile held out."""
    return written(
        small_config,
        tmp_path / "run.yaml",
        network={"architecture": "fast_scnn", "options": {"aux": True}},
        data={"held_split": "validation"},
        fit={"steps": 3, "window_px": 64},
        evaluation={"every": 2},
        procedural={"seeds": []},
    )


def call(*words: object) -> str:
    done = CliRunner().invoke(train, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_one_command_gives_a_bundle_without_the_heads_of_training(recipe: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    assert call(recipe, out, "--data", data, "--device", "cpu", "--quiet").strip() == str(out)
    bundle = load_bundle(str(out))
    assert bundle.spec.architecture == "fast_scnn"
    assert bundle.spec.options == {}
    assert bundle.spec.margin_exact is None
    assert bundle.spec.margin_tolerance % bundle.spec.divisor == 0
    assert bundle.spec.tolerance >= 0.001
    assert set(bundle.spec.metrics) == {"training_tiles", "held_out"}
    network = load_network(bundle)
    checkpoint = read_checkpoint(out / "training" / "best.safetensors").tensors
    assert any(name.startswith("aux.") for name in checkpoint)
    assert not any(name.startswith("aux.") for name in network.state_dict())
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 2, 64, 64)
    summary = json.loads((out / "training" / "training.json").read_text())
    assert [one["name"] for one in summary["images"]] == ["b"]
    assert np.sum(summary["confusion"]) == 256 * 256

    before = (out / "model.safetensors").read_bytes()
    call(recipe, out, "--data", data, "--device", "cpu", "--quiet")  # nothing is left to do but to pack
    assert (out / "model.safetensors").read_bytes() == before


def test_what_cannot_be_is_refused_before_training(
    recipe: Path, data: Path, tmp_path: Path, small_config: TrainConfig
) -> None:
    out = tmp_path / "bundle"
    same = written(small_config, tmp_path / "same.yaml", data={"held_split": "train"})
    with pytest.raises(SettingsError, match="is trained on and held out"):
        call(same, out, "--data", data, "--device", "cpu")
    with pytest.raises(InputError, match="no row whose split is 'nowhere'"):
        call(written(small_config, same, data={"held_split": "nowhere"}), out, "--data", data, "--device", "cpu")
    assert not out.exists()
    call(recipe, out, "--data", data, "--device", "cpu", "--quiet")
    other = written(small_config, tmp_path / "other.yaml", fit={"seed": 7})
    with pytest.raises(ProductError, match="another configuration, data or version"):
        call(other, out, "--data", data, "--device", "cpu")
