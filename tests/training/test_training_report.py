"""The page that a training run leaves: its curves, and the held-out images it did worst on, worst first."""

import csv
import json
import re
from pathlib import Path

import pytest

from geoseg.training.config import TrainConfig
from geoseg.workflows.fit import Means, fit
from geoseg.workflows.training_report import PAGE, write_training_report
from tests.training.test_fit import write_tiles


@pytest.fixture(scope="module")
def run(small_config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four steps with three images held out."""
    folder = tmp_path_factory.mktemp("page")
    tiles = {"a": (-50.0, -2.0, "train")} | {name: (-51.0, -5.0 - k, "held") for k, name in enumerate("bcd")}
    write_tiles(folder / "data", tiles, side=128)
    update = {
        "data": small_config.data.model_copy(update={"held_split": "held"}),
        "fit": small_config.fit.model_copy(update={"steps": 4}),
        "evaluation": small_config.evaluation.model_copy(update={"every": 2}),
        "procedural": small_config.procedural.model_copy(update={"seeds": ()}),
        "network": small_config.network.model_copy(update={"options": {"init_features": 4}}),
    }
    config = small_config.model_copy(update=update)
    fit(config, data=folder / "data", out=folder / "out", means=Means(device="cpu"))
    return folder / "out" / "training"


def test_the_worst_images_come_first(run: Path) -> None:
    """Mean IoU from the confusion matrices in training.json."""
    page = (run / PAGE).read_text()
    summary = json.loads((run / "training.json").read_text())
    expected = []
    for one in summary["images"]:
        (a, b), (c, d) = one["confusion"]
        ious = [part / whole for part, whole in ((a, a + b + c), (d, d + b + c)) if whole]
        expected.append((sum(ious) / len(ious), one["name"]))
    shown = re.findall(r"<h3>(\w+): mean IoU ([\d.]+) %", page)
    assert [name for name, _ in shown] == [name for _, name in sorted(expected)]
    assert [float(value) for _, value in shown] == [
        pytest.approx(100 * value, abs=0.006) for value, _ in sorted(expected)
    ]
    assert page.count("data:image/") == 3 * len(shown)


def test_every_step_is_on_the_curves(run: Path) -> None:
    with (run / "metrics.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    page = (run / PAGE).read_text()
    lines_drawn = [len(points.split()) for points in re.findall(r'<polyline points="([^"]*)"', page)]
    assert max(lines_drawn) == len(rows) == 4
    assert lines_drawn.count(2) >= 6  # two evaluations


def test_the_page_can_be_made_again_without_pictures(run: Path, tmp_path: Path) -> None:
    for name in ("metrics.csv", "training.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    page = write_training_report(tmp_path).read_text()
    assert "data:image/" not in page
    assert page.count("<polyline") == (run / PAGE).read_text().count("<polyline")
