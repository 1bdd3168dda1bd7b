"""A run that was killed or stopped goes on as if nothing had been; two processes are one with twice the batches."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from geoseg.errors import InterruptedRun, ProductError, SettingsError
from geoseg.presets import dump
from geoseg.training.checkpoint import BEST, LAST, read_checkpoint, write_checkpoint
from geoseg.training.config import TrainConfig
from geoseg.training.dataset import Batch, Mixture, MixtureSupply
from geoseg.training.fit import Setting, train_network
from geoseg.training.history import METRICS, SUMMARY
from geoseg.training.ranks import Ranks, check_parts
from tests.training.small_run import image, run

SCRIPT = Path(__file__).with_name("small_run.py")
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def changed(config: TrainConfig, **sections: dict[str, Any]) -> TrainConfig:
    content = config.model_dump(mode="json")
    for section, values in sections.items():
        content[section] |= values
    return TrainConfig.model_validate(content)


@pytest.fixture(scope="module")
def config(small_config: TrainConfig) -> TrainConfig:
    """24 steps with dropout-free U-Net, accumulation, plateau, checkpoints where evaluations are not."""
    return changed(
        small_config,
        network={"options": {"init_features": 4}},
        data={"held_split": "validation"},
        fit={"steps": 24, "accumulate": 2, "checkpoint_every": 7, "average_decay": 0.9},
        schedule={"kind": "plateau", "patience": 1},
        evaluation={"every": 4, "patience": 5},
    )


def start(config: TrainConfig, folder: Path, *, seconds: float = 0) -> "subprocess.Popen[str]":
    folder.mkdir(exist_ok=True)
    file = folder / "config.yaml"
    file.write_text(dump(config))
    command = [sys.executable, str(SCRIPT), str(file), str(folder), str(seconds)]
    return subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def curve(folder: Path) -> list[dict[str, str]]:
    with (folder / METRICS).open(newline="") as lines:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(lines)]


def wait_for_rows(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (folder / METRICS).is_file() and len((folder / METRICS).read_text().splitlines()) > count:
            return
        time.sleep(0.01)
    pytest.fail(f"no {count} rows in a minute")


@pytest.fixture(scope="module")
def whole(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    undisturbed(config, folder)
    return folder


def undisturbed(config: TrainConfig, folder: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    run(config, folder, setting=Setting())
    torch.set_num_threads(before)


def same_end(folder: Path, whole: Path) -> None:
    assert curve(folder) == curve(whole)
    assert (folder / "scores.json").read_text() == (whole / "scores.json").read_text()
    kept, expected = np.load(folder / "kept.npz"), np.load(whole / "kept.npz")
    assert sorted(kept) == sorted(expected)
    for name in kept:
        assert np.array_equal(kept[name], expected[name]), name


def test_a_run_that_was_stopped_and_then_killed_ends_as_if_it_had_not_been(
    config: TrainConfig, whole: Path, tmp_path: Path
) -> None:
    process = start(config, tmp_path, seconds=0.05)
    wait_for_rows(tmp_path, 4)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "InterruptedRun: stopped by SIGINT after step" in errors
    step = read_checkpoint(tmp_path / LAST).record["step"]
    assert 4 <= step == len(curve(tmp_path)) < 14
    assert json.loads((tmp_path / SUMMARY).read_text())["state"] == "interrupted"

    process = start(config, tmp_path, seconds=0.05)
    wait_for_rows(tmp_path, 16)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert read_checkpoint(tmp_path / LAST).record["step"] == 14 < len(curve(tmp_path))
    with (tmp_path / METRICS).open("a") as stream:
        stream.write("19,0.1,0.00")

    finish(start(config, tmp_path))
    assert [int(row["step"]) for row in curve(tmp_path)] == list(range(1, len(curve(whole)) + 1))
    same_end(tmp_path, whole)


@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("architecture", ["unet", "fast_scnn"])  # the second drops out at random
def test_every_optimiser_goes_on_exactly(
    small_config: TrainConfig, tmp_path: Path, architecture: str, optimiser: str
) -> None:
    options = {"init_features": 4} if architecture == "unet" else {}
    config = changed(
        small_config,
        network={"architecture": architecture, "options": options},
        data={"held_split": "validation"},
        optimiser={"kind": optimiser},
        schedule={"kind": "plateau", "patience": 1, "warm_up": 0},
        fit={"steps": 5, "precision": "bfloat16"},
        evaluation={"every": 1, "keep": "last"},
    )
    mixture = Mixture(tiles=[image("a", seed=1)], procedural=(), procedural_share=0)
    supply = MixtureSupply(mixture=mixture, config=config)
    unknown = image("held", seed=2)
    held = [replace(unknown, labels=np.full_like(unknown.labels, 255))]  # no evaluation is better than the last

    class Stopped:
        def batch(self, step: int, part: int) -> Batch:
            if step == 3:
                signal.raise_signal(signal.SIGINT)
            return supply.batch(step, part)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = train_network(config, supply, held=held, setting=Setting(folder=whole)).network.state_dict()
    with pytest.raises(InterruptedRun, match="stopped by SIGINT after step 3: the same command goes on"):
        train_network(config, Stopped(), held=held, setting=Setting(folder=parts))
    resumed = train_network(config, supply, held=held, setting=Setting(folder=parts)).network.state_dict()
    assert all(torch.equal(resumed[name], value) for name, value in expected.items())
    assert curve(parts) == curve(whole)
    rates = [float(row["learning_rate"]) for row in curve(parts)]
    assert rates == pytest.approx([0.01 * 0.5**step for step in range(5)])


def test_what_a_run_leaves(config: TrainConfig, whole: Path) -> None:
    summary = json.loads((whole / SUMMARY).read_text())
    rows = curve(whole)
    assert summary["state"] == "complete"
    assert summary["config"] == config.model_dump(mode="json")
    assert summary["step"] == len(rows)
    assert {"loss", "loss_cross_entropy", "loss_dice", "held_mean_iou", "held_iou_1"} < set(rows[0])
    evaluated = {int(row["step"]): float(row["held_mean_iou"]) for row in rows if row["held_mean_iou"]}
    assert set(evaluated) >= {4, 8, 12}
    assert summary["best"]["value"] == max(evaluated.values()) == evaluated[summary["best"]["step"]]
    counts = np.array(summary["confusion"])
    assert counts.sum() == 2 * (64 * 64 - 25)
    assert np.array_equal(counts, sum(np.array(one["confusion"]) for one in summary["images"]))
    both = np.diag(counts)
    assert np.mean(both / (counts.sum(0) + counts.sum(1) - both)) == pytest.approx(summary["best"]["value"])
    best = read_checkpoint(whole / BEST).tensors
    kept = np.load(whole / "kept.npz")
    assert all(np.array_equal(best[name].numpy(), kept[name]) for name in kept)
    for row in rows:
        parts = float(row["loss_cross_entropy"]) + 0.5 * float(row["loss_dice"])
        assert float(row["loss"]) == pytest.approx(parts, rel=1e-5)


def test_two_processes_are_one_with_twice_the_batches(config: TrainConfig, tmp_path: Path) -> None:
    """But for BatchNorm's running statistics, which processes average and batches add one after the other."""
    config = changed(
        config,
        schedule={"kind": "cosine"},
        optimiser={"kind": "sgd", "learning_rate": 0.02},
        evaluation={"every": 4, "patience": None},
        fit={"steps": 12},
    )
    alone, both = tmp_path / "alone", tmp_path / "both"
    undisturbed(config, alone)
    both.mkdir()
    (both / "config.yaml").write_text(dump(config))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(SCRIPT), str(both / "config.yaml"), str(both)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for one, two in zip(curve(alone), curve(both), strict=True):
        for name in ("loss", "loss_dice", "gradient_norm", "learning_rate"):
            assert float(two[name]) == pytest.approx(float(one[name]), rel=1e-3), (one["step"], name)
    expected, found = (read_checkpoint(folder / LAST).under("network") for folder in (alone, both))
    weights = [name for name in expected if "running" not in name and "num_batches" not in name]
    for name in weights:
        assert torch.allclose(expected[name], found[name], atol=2e-5), name
    summary = json.loads((both / SUMMARY).read_text())
    assert summary["ranks"] == 2
    assert np.sum(summary["confusion"]) == 2 * (64 * 64 - 25)


def test_another_run_is_not_gone_on_with(config: TrainConfig, whole: Path, small_config: TrainConfig) -> None:
    class Nothing:
        def batch(self, step: int, part: int) -> Any:
            pytest.fail("was trained")

    with pytest.raises(ProductError, match="another configuration, data or version"):
        train_network(config, Nothing(), setting=Setting(folder=whole, identity="other"))
    with pytest.raises(ProductError, match="is damaged"):
        train_network(small_config, Nothing(), setting=Setting(folder=whole, identity="small"))


def test_a_damaged_checkpoint_is_refused_and_nothing_in_it_is_run(tmp_path: Path, config: TrainConfig) -> None:
    (tmp_path / LAST).write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(ProductError, match="delete it to train from the start"):
        read_checkpoint(tmp_path / LAST)


def test_a_checkpoint_is_replaced_whole_or_not_at_all(whole: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(whole / LAST)
    write_checkpoint(tmp_path / LAST, checkpoint)
    before = (tmp_path / LAST).read_bytes()
    assert (tmp_path / LAST).stat().st_mode == (whole / METRICS).stat().st_mode
    checkpoint.record["bad"] = {1, 2}
    with pytest.raises(TypeError):
        write_checkpoint(tmp_path / LAST, checkpoint)
    assert (tmp_path / LAST).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [LAST]


def test_settings_that_cannot_be_are_refused(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="must be a multiple of 3"):
        check_parts(4, ranks=Ranks(count=3))
    half = changed(config, fit={"precision": "float16"})
    with pytest.raises(SettingsError, match="needs a CUDA device"):
        train_network(half, None, setting=Setting())  # type: ignore[arg-type]
    frozen = changed(config, network={"freeze": ["nowhere"]})
    with pytest.raises(SettingsError, match="no parameter begins with 'nowhere'; the network has encoders"):
        train_network(frozen, None, setting=Setting())  # type: ignore[arg-type]
