"""Training as one story: read the images, mix in procedural scenes, train, measure the margin, pack the bundle."""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geoseg import __version__
from geoseg.core.patch_source import LabelledImage
from geoseg.errors import SettingsError
from geoseg.model.bundle import ModelBundle, load_bundle, pack_bundle
from geoseg.model.registry import build_network, find_architecture
from geoseg.model.spec import BandSpec, TrainingData
from geoseg.raster.pairs import Pair, file_digests, list_pairs, read_pair
from geoseg.training.clouds import ignore_clouds
from geoseg.training.config import TrainConfig, load_train_config
from geoseg.training.dataset import Mixture, MixtureSupply, procedural_images
from geoseg.training.evaluate import evaluate
from geoseg.training.fit import Progress as Steps
from geoseg.training.fit import Setting, Trained, check_settings, train_network
from geoseg.training.folds import spatial_folds
from geoseg.training.margin import MarginPlan, measure_margins, plan_margins
from geoseg.training.metrics import Confusion
from geoseg.training.ranks import join_ranks
from geoseg.training.state import build_network as make_network
from geoseg.workflows.progress import Progress, Silent

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Material:
    """What a run learns from, and what says so."""

    images: Sequence[LabelledImage]
    held: Sequence[LabelledImage]
    digests: Mapping[str, str]
    """Training file -> sha256."""
    held_digests: Mapping[str, str]


def fit(
    config: TrainConfig, *, data: Path, out: Path, means: Means | None = None, progress: Progress | None = None
) -> ModelBundle:
    """Trains on the config's split of a data folder and packs the bundle in `out`; goes on with a run found there.

    Under torchrun every process does this; the first writes.

    Args:
        config: the training run.
        data: a folder with tiles.csv, images/ and masks/.
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
        material = _read_material(config, data)
        side_px = min(min(image.labels.shape) for image in material.images)
        network = make_network(config.network)
        for note in network.notes:
            progress.note(note)
        plan = plan_margins(network.bare, config=config.network, side_px=side_px)
        mixture = _mixture(config, material.images)
        setting = Setting(
            folder=out / RUN_FOLDER,
            identity=_identity(config, material),
            ranks=ranks,
            workers=means.workers,
            tensorboard=means.tensorboard,
        )
        supply = MixtureSupply(mixture=mixture, config=config)
        with _reporting(config, progress=progress) as report:
            trained = train_network(config, supply, held=material.held, setting=setting, report=report)
        agreement = evaluate(trained.network, material.images, config=config.network, ranks=ranks).confusion
        metrics = _metrics(agreement, trained, progress=progress)
        if ranks.is_first:
            _pack(config, trained, material, metrics=metrics, plan=plan, out=out, device=ranks.device)
        ranks.wait()
        return load_bundle(str(out.resolve()))


def evaluate_folds(
    config: TrainConfig, *, data: Path, folds: Sequence[int] | None = None, progress: Progress | None = None
) -> dict[int, Confusion]:
    """Trains without each spatial fold in turn and scores the network there: what recipes are chosen by.

    Reads the training split only. The last evaluation of each fold is what counts; those on the way are told.
    """
    progress = progress or Silent()
    pairs = list_pairs(data, split=config.data.split)
    images = {image.name: image for image in _read_images(pairs, config=config)}
    positions = {pair.name: (pair.longitude_deg, pair.latitude_deg) for pair in pairs}
    config = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"keep": "last"})})
    scores: dict[int, Confusion] = {}
    for fold, held in enumerate(spatial_folds(positions, count=config.folds.count)):
        if folds is not None and fold not in folds:
            continue
        mixture = _mixture(config, [image for name, image in images.items() if name not in held])
        supply = MixtureSupply(mixture=mixture, config=config)
        with _reporting(config, progress=progress, fold=fold) as report:
            trained = train_network(config, supply, held=[images[name] for name in held], report=report)
        if trained.scores is not None:
            scores[fold] = trained.scores.confusion
    return scores


def bundle_fields(config: TrainConfig, *, inputs: Mapping[str, str]) -> dict[str, Any]:
    """What bundle.yaml says, but for margins, metrics and the weights' hash."""
    bundle, network = config.bundle, config.network
    architecture = find_architecture(network.architecture)
    ones, zeros = (1.0,) * network.in_channels, (0.0,) * network.in_channels
    columns = (bundle.bands, bundle.scale or ones, bundle.offset or zeros, network.mean, network.std)
    keys = ("name", "scale", "offset", "mean", "std")
    bands = [BandSpec.model_validate(dict(zip(keys, row, strict=True))) for row in zip(*columns, strict=True)]
    divisor = architecture.divisor
    return {
        "name": config.name,
        "version": bundle.version,
        "description": bundle.description,
        "architecture": network.architecture,
        "options": _packed_options(config),
        "bands": [band.model_dump() for band in bands],
        "level": bundle.level,
        "dtype": bundle.dtype,
        "conversions": [one.model_dump() for one in bundle.conversions],
        "gsd_m": bundle.gsd_m,
        "gsd_min_m": bundle.gsd_min_m,
        "gsd_max_m": bundle.gsd_max_m,
        "legend": [one.model_dump() for one in bundle.legend],
        "divisor": divisor,
        "min_size": -(-architecture.min_size // divisor) * divisor,
        "licence": bundle.licence,
        "training_data": TrainingData(
            description=bundle.data_description,
            attribution=bundle.attribution,
            licence_status=bundle.licence_status,
            inputs=dict(inputs),
            procedural_seeds=config.procedural.seeds,
        ).model_dump(),
        "forest_definition": bundle.forest_definition,
    }


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
    material: _Material,
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
        chosen.architecture, in_channels=chosen.in_channels, classes=chosen.classes, options=_packed_options(config)
    )
    state = bare.state_dict()
    fields = bundle_fields(config, inputs=material.digests) | margins | {"metrics": metrics}
    pack_bundle(out, fields, {name: state[name] for name in packed.state_dict()})


def _packed_options(config: TrainConfig) -> dict[str, Any]:
    """Heads that help training only are not packed, and nothing is downloaded by a bundle."""
    return {name: value for name, value in config.network.options.items() if name not in ("aux", "encoder_weights")}


def _identity(config: TrainConfig, material: _Material) -> str:
    """sha256 of all that decides what a run comes to, but the device."""
    digests = [sorted(material.digests.items()), sorted(material.held_digests.items())]
    content = [__version__, config.model_dump(mode="json"), digests]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read_material(config: TrainConfig, data: Path) -> _Material:
    pairs = list_pairs(data, split=config.data.split)
    held = list_pairs(data, split=config.data.held_split) if config.data.held_split is not None else []
    both = {pair.name for pair in pairs} & {pair.name for pair in held}
    if both:
        raise SettingsError(f"{data}: {min(both)} is trained on and held out: name another data.held_split")
    return _Material(
        images=_read_images(pairs, config=config),
        held=_read_images(held, config=config),
        digests=file_digests(pairs),
        held_digests=file_digests(held),
    )


def _read_images(pairs: Sequence[Pair], *, config: TrainConfig) -> list[LabelledImage]:
    return [ignore_clouds(read_pair(pair), rule=config.clouds) for pair in pairs]


def _mixture(config: TrainConfig, images: Sequence[LabelledImage]) -> Mixture:
    procedural = procedural_images(config)
    return Mixture(tiles=images, procedural=procedural, procedural_share=config.procedural.share)


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
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    scores = evaluate_folds(load_train_config(arguments.config), data=arguments.data, progress=_Lines())
    sys.stdout.write(json.dumps({fold: summarise(one) for fold, one in scores.items()}, indent=1) + "\n")


if __name__ == "__main__":
    _main()
