"""Training as one story: read the images, mix in procedural scenes, train, measure the margin, pack the bundle."""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geoseg import __version__
from geoseg.model.bundle import ModelBundle, load_bundle, pack_bundle
from geoseg.model.registry import build_network
from geoseg.raster.safety import raster_env
from geoseg.training.config import TrainConfig, load_train_config
from geoseg.training.evaluate import evaluate
from geoseg.training.fit import Progress as Steps
from geoseg.training.fit import Setting, Trained, check_settings, train_network
from geoseg.training.margin import MarginPlan, measure_margins, plan_margins
from geoseg.training.metrics import Confusion
from geoseg.training.ranks import join_ranks
from geoseg.training.state import build_network as make_network
from geoseg.workflows.material import Material, read_folds, read_material, write_split
from geoseg.workflows.progress import Progress, Silent
from geoseg.workflows.training_contract import bundle_fields, find_tones, packed_options
from geoseg.workflows.training_report import draw_worst, write_training_report

RUN_FOLDER: Final = "training"
"""Within the bundle's folder: checkpoints and figures of the run. The bundle does not need it."""
_MARGIN_IMAGES: Final = 32
_SECONDS_BETWEEN: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """How to train here."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:<number>."""
    workers: int = 0
    """Processes that cut windows ahead."""
    tensorboard: bool = False


def fit(
    config: TrainConfig,
    *,
    data: Path | None = None,
    out: Path,
    means: Means | None = None,
    progress: Progress | None = None,
) -> ModelBundle:
    """Trains on the config's scenes, or on its split of a data folder, and packs the bundle in `out`.

    Goes on with a run found there.

    Under torchrun every process does this; the first writes.

    Args:
        config: the training run.
        data: a folder with tiles.csv, images/ and masks/; None: the config names scenes.
        out: the bundle's folder; the run is kept in its folder `training`.
        means: none: whatever device is there.
        progress: told of the steps.

    Raises:
        InputError: data that is not there, not what training reads, or too small to measure a margin on.
        InterruptedRun: stopped; the same command goes on.
    """
    means, progress = means or Means(), progress or Silent()
    with join_ranks(means.device) as ranks:
        progress = progress if ranks.is_first else Silent()
        check_settings(config, ranks=ranks)
        with raster_env():
            material = read_material(config, data)
        for note in material.notes:
            progress.note(note)
        network = make_network(config.network)
        for note in network.notes:
            progress.note(note)
        plan = plan_margins(network.bare, config=config.network, side_px=material.side_px)
        setting = Setting(
            folder=out / RUN_FOLDER,
            identity=_identity(config, material),
            ranks=ranks,
            workers=means.workers,
            tensorboard=means.tensorboard,
        )
        if ranks.is_first and material.split is not None:
            write_split(out / RUN_FOLDER, material.split)
        with _reporting(config, progress=progress) as report:
            trained = train_network(config, material.supply, held=material.held, setting=setting, report=report)
        agreement = evaluate(trained.network, material.images, config=config.network, ranks=ranks).confusion
        metrics = _metrics(agreement, trained, progress=progress)
        if ranks.is_first:
            _pack(config, trained, material, metrics=metrics, plan=plan, out=out, device=ranks.device)
            worst = draw_worst(trained, material.held, config, device=ranks.device)
            write_training_report(out / RUN_FOLDER, worst)
        ranks.wait()
        return load_bundle(str(out.resolve()))


def evaluate_folds(
    config: TrainConfig, *, data: Path | None, folds: Sequence[int] | None = None, progress: Progress | None = None
) -> dict[int, Confusion]:
    """Trains without each spatial fold in turn and scores the network there: what recipes are chosen by.

    Reads the training split only: of tiles, or of the blocks of scenes. The last evaluation of each fold is what
    counts; those on the way are told.
    """
    progress = progress or Silent()
    config = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"keep": "last"})})
    scores: dict[int, Confusion] = {}
    for fold, (supply, held) in enumerate(read_folds(config, data)):
        if folds is not None and fold not in folds:
            continue
        with _reporting(config, progress=progress, fold=fold) as report:
            trained = train_network(config, supply, held=held, report=report)
        if trained.scores is not None:
            scores[fold] = trained.scores.confusion
    return scores


def describe(agreement: Confusion) -> str:
    """One line: accuracy, and IoU by class id."""
    scores = ", ".join(f"{value:.4f}" for value in agreement.iou)
    return f"accuracy {agreement.accuracy:.4f}, IoU {scores}"


def summarise(agreement: Confusion) -> dict[str, Any]:
    """The same as values for bundle.yaml; null for a class that is absent."""
    iou = [round(value, 4) if value == value else None for value in agreement.iou]  # noqa: PLR0124 - nan
    return {"accuracy": round(agreement.accuracy, 4), "iou": iou}


def _metrics(agreement: Confusion, trained: Trained, *, progress: Progress) -> dict[str, Any]:
    """What bundle.yaml says of the figures, which are told as well."""
    progress.note(f"trained images: {describe(agreement)}")
    if trained.scores is None:
        return {"training_tiles": summarise(agreement)}
    held = trained.scores.confusion
    progress.note(f"held-out images: {describe(held)}")
    return {"training_tiles": summarise(agreement), "held_out": summarise(held)}


def _pack(
    config: TrainConfig,
    trained: Trained,
    material: Material,
    *,
    metrics: dict[str, Any],
    plan: MarginPlan,
    out: Path,
    device: str,
) -> None:
    """Measures the margin and writes the bundle, without what helps in training only."""
    chosen, bare = config.network, trained.network.bare
    margins = measure_margins(bare, material.images[:_MARGIN_IMAGES], plan=plan, config=chosen, device=device)
    packed = build_network(
        chosen.architecture, in_channels=chosen.in_channels, classes=chosen.classes, options=packed_options(config)
    )
    state = bare.state_dict()
    fields = bundle_fields(config, inputs=material.digests) | margins | {"metrics": metrics}
    if (appearance := find_tones(config, material.images)) is not None:
        fields["appearance"] = appearance.model_dump()
    pack_bundle(out, fields, {name: state[name] for name in packed.state_dict()})


def _identity(config: TrainConfig, material: Material) -> str:
    """sha256 of all that decides what a run comes to, but the device."""
    digests = [sorted(material.digests.items()), sorted(material.held_digests.items())]
    content = [__version__, config.model_dump(mode="json"), digests]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextmanager
def _reporting(
    config: TrainConfig, *, progress: Progress, fold: int | None = None
) -> Iterator[Callable[[Steps], None]]:
    """What turns steps into progress: a line for each evaluation, for the last step, and every half minute."""
    where = "" if fold is None else f"fold {fold} "
    done, said = 0, time.monotonic()
    progress.begin(f"{where}training", config.fit.steps)

    def report(steps: Steps) -> None:
        nonlocal done, said
        progress.advance(steps.step - done)
        done = steps.step
        line = f"{where}step {steps.step}/{config.fit.steps} loss {steps.loss:.4f} {steps.seconds:.0f} s"
        if steps.scores is not None:
            line += f": {describe(steps.scores.confusion)}"
        if steps.scores is not None or steps.step == config.fit.steps or time.monotonic() - said >= _SECONDS_BETWEEN:
            progress.note(line)
            said = time.monotonic()

    yield report


class _Lines:
    """Tells the notes on stderr."""

    def begin(self, what: str, total: int) -> None:
        """Nothing to show."""

    def advance(self, steps: int = 1) -> None:
        """Nothing to show."""

    def note(self, text: str) -> None:
        """One line."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def warn(self, text: str) -> None:
        """The same."""
        self.note(text)


def _main() -> None:
    parser = argparse.ArgumentParser(description=evaluate_folds.__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    scores = evaluate_folds(load_train_config(arguments.config), data=arguments.data, progress=_Lines())
    sys.stdout.write(json.dumps({fold: summarise(one) for fold, one in scores.items()}, indent=1) + "\n")


if __name__ == "__main__":
    _main()
