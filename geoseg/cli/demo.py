"""`geoseg demo`."""

from pathlib import Path

import click

from geoseg.cli.options import LocalPath, config_options, json_option, overwrite_option, progress_option


@click.command()
@click.argument("out", type=LocalPath(), default=Path("demo"))
@click.option("--seed", type=click.IntRange(0, 99), default=1, show_default=True, help="Another scene per seed.")
@click.option(
    "--size", type=click.IntRange(256, 16384), default=3072, show_default=True, help="Pixels a side, 10 m each."
)
@config_options
@overwrite_option
@json_option
@progress_option
def demo(
    out: Path,
    *,
    seed: int,
    size: int,
    config_name: str,
    config_overrides: tuple[str, ...],
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make the embedded scene in OUT, run it, and compare the mapped area with the true one."""
    from geoseg.cli.show import print_json, progress
    from geoseg.presets import load_config
    from geoseg.workflows.demo import run_demo
    from geoseg.workflows.product import interruptible

    config = load_config(config_name, overrides=config_overrides)
    with interruptible(), progress(quiet=quiet) as listener:
        result = run_demo(out, seed=seed, size=size, config=config, overwrite=overwrite, progress=listener)
    if as_json:
        print_json(result.to_json())
    else:
        click.echo(result.table(), err=True)
        for path in result.paths:
            click.echo(str(path))
