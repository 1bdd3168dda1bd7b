"""`geoseg tile`, `geoseg predict` and `geoseg stitch`: the stages of a run on their own."""

from pathlib import Path
from typing import Any, Literal

import click

from geoseg.cli.options import (
    LocalPath,
    RemoteCommand,
    config_options,
    overwrite_option,
    pipeline_options,
    plan_of,
    progress_option,
    remote_of,
    remote_option,
    scene_options,
)


@click.command(cls=RemoteCommand)
@click.argument("scene")
@click.argument("out", type=LocalPath())
@pipeline_options
@scene_options
@remote_option
@config_options
@overwrite_option
@progress_option
def tile(out: Path, *, overwrite: bool, quiet: bool, **chosen: Any) -> None:
    """Cut SCENE into overlapping GeoTIFF patches with an index, in the folder OUT."""
    from geoseg.cli.show import progress
    from geoseg.workflows.product import interruptible
    from geoseg.workflows.stages import tile_scene

    with remote_of(chosen), interruptible(), progress(quiet=quiet) as listener:
        tile_scene(plan_of(**chosen), out, overwrite=overwrite, progress=listener)
    click.echo(str(out))


@click.command()
@click.argument("patches", type=click.Path(path_type=Path))
@click.argument("out", type=LocalPath())
@click.option("--model", help="Where the bundle is, if not where the patches say.")
@click.option(
    "--scores",
    type=click.Choice(["float32", "uint8"]),
    default="float32",
    show_default=True,
    help="uint8 is lossy: a fourth of the bytes, and perhaps not the same map.",
)
@config_options
@overwrite_option
@progress_option
def predict(
    patches: Path,
    out: Path,
    *,
    model: str | None,
    scores: Literal["float32", "uint8"],
    config_name: str,
    config_overrides: tuple[str, ...],
    overwrite: bool,
    quiet: bool,
) -> None:
    """Score the PATCHES that `geoseg tile` left: class probabilities in the folder OUT."""
    from geoseg.cli.show import progress
    from geoseg.presets import load_config
    from geoseg.workflows.product import interruptible
    from geoseg.workflows.stages import predict_patches

    config = load_config(config_name, overrides=config_overrides)
    with interruptible(), progress(quiet=quiet) as listener:
        predict_patches(patches, out, config=config, model=model, scores=scores, overwrite=overwrite, progress=listener)
    click.echo(str(out))


@click.command()
@click.argument("scores", type=click.Path(path_type=Path))
@click.argument("out", type=LocalPath())
@config_options
@overwrite_option
@progress_option
def stitch(
    scores: Path,
    out: Path,
    *,
    config_name: str,
    config_overrides: tuple[str, ...],
    overwrite: bool,
    quiet: bool,
) -> None:
    """Blend the SCORES that `geoseg predict` left into the same folder that `geoseg run` makes."""
    from geoseg.cli.show import progress
    from geoseg.presets import load_config
    from geoseg.workflows.product import interruptible
    from geoseg.workflows.stages import stitch_scores

    config = load_config(config_name, overrides=config_overrides)
    with interruptible(), progress(quiet=quiet) as listener:
        stitch_scores(scores, out, config=config, overwrite=overwrite, progress=listener)
    click.echo(str(out))
