"""The choices of a training run: any network, optimiser, schedule, precision; what is said of wrong ones."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import InputError, SettingsError
from geoseg.presets import dump, parse
from geoseg.training.checkpoint import BEST, read_checkpoint
from geoseg.training.config import EvaluationConfig, ScheduleConfig, TrainConfig
from geoseg.training.dataset import Batch, Mixture, MixtureSupply
from geoseg.training.feed import feed
from geoseg.training.fit import Progress, Setting, Trained, train_network
from geoseg.training.history import METRICS
from geoseg.training.optimise import Watch, average_decay, average_into, rate_factor
from geoseg.training.state import TrainingState
from tests.training.small_run import image


def changed(config: TrainConfig, **sections: Any) -> TrainConfig:
    content = config.model_dump(mode="json")
    for section, values in sections.items():
        content[section] = values if isinstance(values, list | str) else content[section] | values
    return TrainConfig.model_validate(content)


def with_bands(config: TrainConfig, bands: int, **sections: Any) -> TrainConfig:
    network = {"in_channels": bands, "mean": [55] * bands, "std": [20] * bands} | sections.pop("network", {})
    names = [f"b{number}" for number in range(bands)]
    return changed(
        config, network=network, bundle={"bands": names, "conversions": []}, procedural={"seeds": []}, **sections
    )


def supply_of(config: TrainConfig) -> MixtureSupply:
    images = [image("a", seed=1, bands=config.network.in_channels)]
    return MixtureSupply(mixture=Mixture(tiles=images, procedural=(), procedural_share=0), config=config)


def trained(config: TrainConfig, *, held: int = 0, **setting: Any) -> tuple[Trained, list[Progress]]:
    reports: list[Progress] = []
    images = [image("held", seed=3, bands=config.network.in_channels)] * held
    return train_network(
        config, supply_of(config), held=images, setting=replace(Setting(), **setting), report=reports.append
    ), reports


@pytest.mark.parametrize(
    ("architecture", "options", "bands"),
    [
        ("pointwise", {}, 1),
        ("unet", {"init_features": 4}, 4),
        ("unet:resnet18", {"encoder_depth": 3, "decoder_channels": [16, 8, 4]}, 13),
    ],
)
@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
def test_any_network_learns_from_any_bands(
    small_config: TrainConfig, architecture: str, options: dict[str, Any], bands: int, optimiser: str
) -> None:
    if bands == 13 and optimiser != "adamw":
        pytest.skip("one optimiser is enough for the large one")
    config = with_bands(
        small_config,
        bands,
        network={"architecture": architecture, "options": options},
        optimiser={"kind": optimiser, "learning_rate": 0.02},
        fit={"steps": 30, "average_decay": 0.5},
    )
    _, reports = trained(config)
    assert reports[-1].loss < 0.9 * reports[0].loss


def test_bfloat16_learns_and_keeps_its_weights_in_float32(small_config: TrainConfig) -> None:
    done, reports = trained(changed(small_config, fit={"precision": "bfloat16"}))
    assert reports[-1].loss < reports[0].loss
    assert {one.dtype for one in done.network.parameters()} == {torch.float32}


def test_every_loss_at_once_trains_a_network_with_an_edge_and_an_auxiliary_output(
    small_config: TrainConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class WithHeads(torch.nn.Conv2d):
        def forward_train(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self(pixels)
            return {"out": logits, "aux8": 0.5 * logits, "edge": logits[:, :1] - logits[:, 1:]}

    from geoseg.model.zoo.pointwise import ARCHITECTURES

    monkeypatch.setattr(
        "geoseg.model.registry.list_architectures",
        lambda: (replace(ARCHITECTURES[0], build=lambda in_channels, classes: WithHeads(in_channels, classes, 1)),),
    )
    kinds = ["cross_entropy", "focal", "dice", "jaccard", "tversky", "lovasz", "boundary", "dual_task"]
    config = changed(
        small_config, network={"architecture": "pointwise", "options": {}}, losses=[{"kind": kind} for kind in kinds]
    )
    _, reports = trained(config, folder=tmp_path)
    assert reports[-1].loss < reports[0].loss
    header = (tmp_path / METRICS).read_text().splitlines()[0].split(",")
    assert header == [
        "step",
        "seconds",
        "learning_rate",
        "gradient_norm",
        "loss",
        *(f"loss_{kind}" for kind in kinds),
        "loss_aux8",
    ]


def test_what_is_frozen_stays(small_config: TrainConfig) -> None:
    config = changed(small_config, network={"options": {"init_features": 4}, "freeze": ["encoders"]}, fit={"steps": 3})
    before = TrainingState(config, device="cpu").network.bare.state_dict()
    after = trained(config)[0].network.bare.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if name.startswith("encoders")}


def test_a_run_starts_from_the_best_weights_of_another_with_other_bands_and_classes(
    small_config: TrainConfig, tmp_path: Path
) -> None:
    config = changed(small_config, data={"held_split": "validation"}, fit={"steps": 2})
    trained(config, held=1, folder=tmp_path)
    start = {"file": str(tmp_path / BEST), "head": "new", "rgb": [2, 1, 0]}
    state = read_checkpoint(tmp_path / BEST).tensors
    network = TrainingState(with_bands(config, 4, network={"weights": start}), device="cpu").network
    assert any("inflated" in note for note in network.notes)
    deep = "encoders.1.0.weight"
    assert torch.equal(network.bare.state_dict()[deep], state[deep])


def test_the_best_weights_are_kept_and_training_stops_when_nothing_gets_better(small_config: TrainConfig) -> None:
    config = changed(
        small_config,
        data={"held_split": "validation"},
        optimiser={"learning_rate": 0.05},
        fit={"steps": 60, "average_decay": 0},
        evaluation={"every": 2, "patience": 3},
    )
    done, reports = trained(config, held=1)
    values = {one.step: one.scores.value("mean_iou") for one in reports if one.scores}
    best = max(values, key=lambda step: (values[step], -step))
    assert done.ended == "early stop"
    assert done.step == best + 6 < 60
    assert done.scores is not None
    assert done.scores.value("mean_iou") == values[best]
    last, _ = trained(changed(config, evaluation={"keep": "last"}), held=1)
    assert last.scores is not None
    assert last.scores.value("mean_iou") == values[done.step]


def test_batches_of_other_processes_are_the_same(small_config: TrainConfig) -> None:
    supply = supply_of(small_config)
    ahead = feed(supply, steps=range(3, 6), parts=(1, 3), workers=1)
    for (step, part), batch in zip(itertools.product(range(3, 6), (1, 3)), ahead, strict=True):
        expected = supply.batch(step, part)
        assert np.array_equal(batch.pixels, expected.pixels)
        assert np.array_equal(batch.labels, expected.labels)


def test_tensorboard_shows_the_same_figures(small_config: TrainConfig, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trained(changed(small_config, fit={"steps": 4}), folder=tmp_path, tensorboard=True)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    rows = (tmp_path / METRICS).read_text().splitlines()
    column = rows[0].split(",").index("loss")
    written = [float(row.split(",")[column]) for row in rows[1:]]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(written)
    assert "loss/dice" in events.Tags()["scalars"]


def test_a_label_that_is_no_class_is_refused(small_config: TrainConfig) -> None:
    class Wrong:
        def batch(self, step: int, part: int) -> Batch:
            return Batch(pixels=np.zeros((1, 3, 16, 16), np.float32), labels=np.full((1, 16, 16), 2, np.uint8))

    with pytest.raises(InputError, match="a training label is 2: there are 2 classes"):
        train_network(small_config, Wrong())


def test_a_loss_that_is_no_number_stops_the_run_before_it_is_kept(small_config: TrainConfig, tmp_path: Path) -> None:
    class Wrong:
        def batch(self, step: int, part: int) -> Batch:
            pixels = np.full((1, 3, 32, 32), np.nan if step == 3 else 50, np.float32)
            return Batch(pixels=pixels, labels=np.zeros((1, 32, 32), np.uint8))

    with pytest.raises(SettingsError, match=r"the loss is nan at step 3: lower optimiser\.learning_rate \(0\.01\)"):
        train_network(small_config, Wrong(), setting=Setting(folder=tmp_path))
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize("steps", [10, 33, 100])
def test_one_cycle_is_that_of_torch(steps: int) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1.0, total_steps=steps, cycle_momentum=False)
    for step in range(1, steps + 1):
        ours = rate_factor(step, steps=steps, config=ScheduleConfig(kind="one_cycle"))
        assert ours == pytest.approx(theirs.get_last_lr()[0], rel=1e-6), step
        optimiser.step()
        if step < steps:
            theirs.step()


def test_cosine_is_that_of_torch_after_the_warm_up() -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=95)
    config = ScheduleConfig(kind="cosine", warm_up=0.05)
    factors = [rate_factor(step, steps=100, config=config) for step in range(1, 101)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    for ours in factors[4:]:
        assert ours == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        optimiser.step()
        theirs.step()
    assert rate_factor(1, steps=10, config=ScheduleConfig(kind="constant", warm_up=0)) == 1
    assert rate_factor(1, steps=1, config=ScheduleConfig(kind="one_cycle")) <= 1


@given(st.lists(st.floats(0, 1) | st.just(math.nan), max_size=30), st.integers(1, 4))
def test_plateau_is_that_of_torch(values: list[float], patience: int) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    # torch lowers when more than `patience` were no better, and takes nan for better than nothing
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, mode="max", factor=0.5, patience=patience - 1, threshold=0, eps=0
    )
    watch, schedule = Watch(), ScheduleConfig(kind="plateau", patience=patience)
    for step, value in enumerate(values, start=1):
        watch = watch.after(value, step=step, schedule=schedule)
        theirs.step(-1 if math.isnan(value) and watch.best is not None else value)
        assert watch.rate == pytest.approx(optimiser.param_groups[0]["lr"])
    known = [value for value in values if not math.isnan(value)]
    assert watch.best == (max(known) if known else None)
    assert watch.is_over(EvaluationConfig(patience=patience)) == (watch.stale >= patience)
    assert not watch.is_over(EvaluationConfig())


def test_the_average_is_the_sum_it_stands_for() -> None:
    network, average = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    expected = 1.0
    for step in range(1, 40):
        torch.nn.init.constant_(network.weight, step)
        decay = average_decay(step, decay=0.7)
        average_into(average, network, decay=decay)
        expected = decay * expected + (1 - decay) * step
    assert average.weight.tolist() == pytest.approx([expected] * 2)
    assert average_decay(1, decay=0.99) == pytest.approx(1 / 11)
    assert average_decay(10_000, decay=0.99) == 0.99


def test_a_run_is_the_same_value_after_dump_and_load(small_config: TrainConfig, shipped_config: TrainConfig) -> None:
    kinds = ["cross_entropy", "focal", "tversky", "jaccard", "lovasz", "boundary", "dual_task"]
    full = changed(
        small_config,
        losses=[{"kind": kind, "weight": 0.5} for kind in kinds],
        data={"held_split": "validation"},
        schedule={"kind": "plateau"},
        evaluation={"patience": 4},
        network={"weights": {"file": "start.safetensors", "head": "new", "rgb": [2, 1, 0]}, "freeze": ["encoder"]},
    )
    for config in (small_config, shipped_config, full):
        assert parse(TrainConfig, dump(config), place="run.yaml") == config


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"losses": [{"kind": "dise"}]}, "losses.0 = .*'dise'.*'cross_entropy'"),
        ({"losses": [{"kind": "focal", "gama": 2}]}, "unknown key losses.0.focal.gama"),
        ({"losses": [{"kind": "focal"}, {"kind": "focal"}]}, "names one kind twice: focal, focal"),
        ({"losses": [{"kind": "focal", "class_weights": [1, 2, 3]}]}, "focal.class_weights has 3 values; there are 2"),
        ({"schedule": {"kind": "plateau"}}, "name a data.held_split"),
        ({"network": {"mean": [1.0]}}, "network.mean and network.std need 3 values each"),
        ({"network": {"std": [1.0, 0.0, 1.0]}}, "network.std.1 = 0.0: Input should be greater than 0"),
        ({"bundle": {"scale": [1.0]}}, "bundle.scale has 1 values; network.in_channels is 3"),
        ({"optimiser": {"learning_rat": 1}}, "unknown key optimiser.learning_rat: did you mean learning_rate?"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(small_config: TrainConfig, sections: dict[str, Any], message: str) -> None:
    content = small_config.model_dump(mode="json")
    for section, values in sections.items():
        content[section] = values if isinstance(values, list) else content[section] | values
    import yaml

    with pytest.raises(SettingsError, match=message) as caught:
        parse(TrainConfig, yaml.safe_dump(content), place="run.yaml")
    assert str(caught.value).startswith("run.yaml: ")
    assert "\n" not in str(caught.value)


def test_an_unknown_architecture_is_refused(small_config: TrainConfig) -> None:
    with pytest.raises(SettingsError, match="nearest are unet"):
        trained(changed(small_config, network={"architecture": "unnet", "options": {}}))


def test_windows_a_network_cannot_train_on_are_refused_in_one_line(small_config: TrainConfig) -> None:
    config = changed(small_config, fit={"batch": 1, "window_px": 16})
    with pytest.raises(
        SettingsError, match=r"unet cannot be trained on 1 windows of 16 x 16 pixels \(Expected more than"
    ):
        trained(config)
