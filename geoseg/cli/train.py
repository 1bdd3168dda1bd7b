"""`geoseg train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.options import LocalPath, parse_bands, progress_option

if TYPE_CHECKING:
    from geoseg.training.config import TrainConfig

_FILE = click.Path(exists=True, path_type=Path)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=LocalPath(), metavar="[CONFIG] OUT")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of tiles.csv.")
@click.option("--scene", "scenes", type=_FILE, multiple=True, help="Imagery; instead of CONFIG. Repeatable.")
@click.option("--labels", type=_FILE, multiple=True, help="Polygons or a raster of classes: one for all, or each.")
@click.option("--field", help="Column of the polygons that holds their class.")
@click.option("--layer", help="Layer of the polygons.")
@click.option("--ignore", multiple=True, help="Value without a class, besides 255. Repeatable.")
@click.option("--from", "start", help="Bundle to start from: its encoder is kept, its head made new.")
@click.option("--model", help="Architecture to train from random weights.  [default: unet:resnet18]")
@click.option("--bands", help="Bands by common name: red=1,green=2.")
@click.option("--radiometry", type=click.Choice(["toa", "surface", "display8"]), help="What pixel values mean.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Set a key of the run: fit.steps=2000.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:<number>.")
@click.option("--workers", type=click.IntRange(0), default=0, help="Processes that cut windows ahead.")
@click.option("--tensorboard", is_flag=True, help="Write events for TensorBoard to OUT/training/tensorboard.")
@progress_option
def train(paths: tuple[Path, ...], *, data: Path | None, quiet: bool, **options: Any) -> None:
    """Train a model and pack it as a bundle in OUT, as CONFIG describes or from --scene and --labels.

    Without CONFIG the run is written to OUT/train.yaml: classes are the values of the labels, a fifth of the ground is
    held out and scored. Checkpoints and metrics.csv are in OUT/training. A run that was stopped goes on by the same
    command, as if it had not been stopped. On several devices: torchrun --nproc-per-node 2 -m geoseg train …
    """
    from geoseg.cli.show import progress
    from geoseg.workflows.fit import Means, fit

    *config, out = paths
    means = Means(**{key: options.pop(key) for key in ("device", "workers", "tensorboard")})
    with progress(quiet=quiet) as listener:
        fit(_run_of(config, out, options), data=data, out=out, means=means, progress=listener)
    click.echo(str(out))


def _run_of(config: list[Path], out: Path, options: dict[str, Any]) -> "TrainConfig":
    """The run that CONFIG or the options describe."""
    scenes, labels, changes = (options.pop(key) for key in ("scenes", "labels", "changes"))
    if config:
        from geoseg.presets import override
        from geoseg.training.config import load_train_config

        given = [key for key, value in {**options, "scene": scenes, "labels": labels}.items() if value]
        if len(config) > 1 or given:
            what = f"--{given[0]}" if given else str(config[1])
            raise click.UsageError(f"{what} does not go with {config[0]}, which describes the whole run")
        return override(load_train_config(config[0]), changes, flag="--set")
    if not scenes or not labels:
        raise click.UsageError("give a CONFIG, or imagery and labels: --scene IMAGE --labels POLYGONS --field COLUMN")
    if options["start"] and options["model"]:
        raise click.UsageError("--model does not go with --from, whose network is taken over")
    from geoseg.workflows.recipe import Order, make_recipe

    named = parse_bands(options.pop("bands"))
    level, model = options.pop("radiometry"), options.pop("model") or "unet:resnet18"
    order = Order(scenes=scenes, labels=labels, bands=named, level=level, model=model, changes=changes, **options)
    return make_recipe(order, out)
