"""`geoseg train`."""

from pathlib import Path

import click

from geoseg.cli.options import LocalPath


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=LocalPath())
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
def train(config: Path, out: Path, *, data: Path) -> None:
    """Train the model that CONFIG describes on the tiles in --data and pack it as a bundle in OUT."""
    from geoseg.training.config import load_train_config
    from geoseg.workflows.fit import fit

    fit(load_train_config(config), data=data, out=out, say=lambda line: click.echo(line, err=True))
    click.echo(str(out))
