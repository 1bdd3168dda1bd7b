"""Training as one story: read the tiles, mix in procedural scenes, train, measure the margin, pack the bundle."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from geoseg.core.patch_source import LabelledImage
from geoseg.model.bundle import ModelBundle, pack_bundle
from geoseg.model.spec import BandSpec, TrainingData
from geoseg.model.zoo.unet import DIVISOR
from geoseg.raster.pairs import Pair, file_digests, list_pairs, read_pair
from geoseg.training.clouds import ignore_clouds
from geoseg.training.config import TrainConfig, load_train_config
from geoseg.training.dataset import Mixture, procedural_images
from geoseg.training.fit import Progress, evaluate, train_network
from geoseg.training.folds import spatial_folds
from geoseg.training.margin import measure_margins
from geoseg.training.metrics import Confusion

Say = Callable[[str], None]


def fit(config: TrainConfig, *, data: Path, out: Path, say: Say = lambda line: None) -> ModelBundle:
    """Trains on the config's split of a data folder and packs the bundle in `out`.

    Args:
        config: the training run.
        data: a folder with tiles.csv, images/ and masks/.
        out: the bundle's folder.
        say: takes a line of progress now and then.

    Raises:
        InputError: data that is not there or not what training reads.
    """
    pairs = list_pairs(data, split=config.split)
    tiles = _read_tiles(pairs, config=config)
    mixture = Mixture(tiles=tiles, procedural=procedural_images(config), procedural_share=config.procedural.share)
    network = train_network(config, mixture, report=_reporter(config, say=say))
    agreement = evaluate(network, tiles, config=config.network)
    say(f"trained tiles: {describe(agreement)}")
    fields = bundle_fields(config, inputs=file_digests(pairs)) | measure_margins(network, tiles, config=config)
    fields["metrics"] = {"training_tiles": summarise(agreement)}
    return pack_bundle(out, fields, network.state_dict())


def evaluate_folds(
    config: TrainConfig, *, data: Path, folds: Sequence[int] | None = None, say: Say = lambda line: None
) -> dict[int, Confusion]:
    """Trains without each spatial fold in turn and scores the network there: what recipes are chosen by.

    Reads the training split only. The last evaluation of each fold is what counts; those on the way are said.
    """
    pairs = list_pairs(data, split=config.split)
    tiles = {tile.name: tile for tile in _read_tiles(pairs, config=config)}
    positions = {pair.name: (pair.longitude_deg, pair.latitude_deg) for pair in pairs}
    procedural = procedural_images(config)
    scores: dict[int, Confusion] = {}
    for fold, held in enumerate(spatial_folds(positions, count=config.folds.count)):
        if folds is not None and fold not in folds:
            continue
        kept = [tile for name, tile in tiles.items() if name not in held]
        mixture = Mixture(tiles=kept, procedural=procedural, procedural_share=config.procedural.share)
        report = _reporter(config, say=say, held=[tiles[name] for name in held], fold=fold)
        network = train_network(config, mixture, report=report, report_every=config.folds.evaluate_every)
        scores[fold] = evaluate(network, [tiles[name] for name in held], config=config.network)
    return scores


def bundle_fields(config: TrainConfig, *, inputs: dict[str, str]) -> dict[str, Any]:
    """What bundle.yaml says, but for margins, metrics and the weights' hash."""
    bundle, network = config.bundle, config.network
    bands = zip(bundle.bands, network.mean, network.std, strict=True)
    return {
        "name": config.name,
        "version": bundle.version,
        "description": bundle.description,
        "architecture": network.architecture,
        "options": {"init_features": network.init_features},
        "bands": [BandSpec(name=name, mean=mean, std=std).model_dump() for name, mean, std in bands],
        "level": "display8",
        "dtype": "uint8",
        "conversions": [one.model_dump() for one in bundle.conversions],
        "gsd_m": bundle.gsd_m,
        "gsd_min_m": bundle.gsd_min_m,
        "gsd_max_m": bundle.gsd_max_m,
        "legend": [one.model_dump() for one in bundle.legend],
        "divisor": DIVISOR,
        "min_size": DIVISOR,
        "licence": bundle.licence,
        "training_data": TrainingData(
            description=bundle.data_description,
            attribution=bundle.attribution,
            licence_status=bundle.licence_status,
            inputs=inputs,
            procedural_seeds=config.procedural.seeds,
        ).model_dump(),
        "forest_definition": bundle.forest_definition,
    }


def describe(agreement: Confusion) -> str:
    """One line: accuracy, and IoU by class id."""
    scores = ", ".join(f"{value:.4f}" for value in agreement.iou)
    return f"accuracy {agreement.accuracy:.4f}, IoU {scores}"


def summarise(agreement: Confusion) -> dict[str, Any]:
    """The same as values for bundle.yaml."""
    return {"accuracy": round(agreement.accuracy, 4), "iou": [round(value, 4) for value in agreement.iou]}


def _read_tiles(pairs: Sequence[Pair], *, config: TrainConfig) -> list[LabelledImage]:
    return [ignore_clouds(read_pair(pair), rule=config.clouds) for pair in pairs]


def _reporter(
    config: TrainConfig, *, say: Say, held: Sequence[LabelledImage] = (), fold: int | None = None
) -> Callable[[Progress], None]:
    """What turns progress into lines, with the scores on held-out tiles where there are any."""

    def report(progress: Progress) -> None:
        where = "" if fold is None else f"fold {fold} "
        line = f"{where}step {progress.step}/{config.fit.steps} loss {progress.loss:.4f} {progress.seconds:.0f} s"
        if held:
            line += f": {describe(evaluate(progress.network, held, config=config.network))}"
        say(line)

    return report


def _main() -> None:
    parser = argparse.ArgumentParser(description=fit.__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folds", action="store_true", help="score the recipe on spatial folds; pack nothing")
    arguments = parser.parse_args()
    config = load_train_config(arguments.config)

    def say(line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    if arguments.folds:
        evaluate_folds(config, data=arguments.data, say=say)
    else:
        fit(config, data=arguments.data, out=arguments.out, say=say)


if __name__ == "__main__":
    _main()
