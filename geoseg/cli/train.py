"""`geoseg train`."""

from pathlib import Path

import click

from geoseg.cli.options import progress_option


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:<number>.")
@click.option("--workers", type=click.IntRange(0), default=0, help="Processes that cut windows ahead.")
@click.option("--tensorboard", is_flag=True, help="Write events for TensorBoard to OUT/training/tensorboard.")
@progress_option
def train(config: Path, out: Path, *, data: Path, device: str, workers: int, tensorboard: bool, quiet: bool) -> None:
    """Train the model that CONFIG describes on the tiles in --data and pack it as a bundle in OUT.

    Checkpoints and metrics.csv are in OUT/training. A run that was stopped goes on by the same command, as if it had
    not been stopped. On several devices: torchrun --nproc-per-node 2 -m geoseg train …
    """
    from geoseg.cli.show import progress
    from geoseg.training.config import load_train_config
    from geoseg.workflows.fit import Means, fit

    means = Means(device=device, workers=workers, tensorboard=tensorboard)
    with progress(quiet=quiet) as listener:
        fit(load_train_config(config), data=data, out=out, means=means, progress=listener)
    click.echo(str(out))
