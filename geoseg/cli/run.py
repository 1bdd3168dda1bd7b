"""`geoseg run` and `geoseg plan`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.options import (
    LocalPath,
    RemoteCommand,
    aoi_options,
    config_options,
    json_option,
    overwrite_option,
    pipeline_options,
    plan_of,
    products_option,
    progress_option,
    remote_of,
    remote_option,
    scene_options,
    zone_options,
)

if TYPE_CHECKING:
    from geoseg.workflows.plan import ScenePlan


@click.command(cls=RemoteCommand)
@click.argument("scene")
@click.argument("out", type=LocalPath())
@pipeline_options
@scene_options
@remote_option
@aoi_options
@zone_options
@products_option
@config_options
@overwrite_option
@click.option("--dry-run", is_flag=True, help="Only say what would be done, as `geoseg plan`.")
@json_option
@progress_option
def run(out: Path, *, dry_run: bool, overwrite: bool, as_json: bool, quiet: bool, **chosen: Any) -> None:
    """Turn SCENE into a class map, confidence, polygons, areas and a report in the folder OUT.

    SCENE is a GeoTIFF, COG or JPEG 2000, a folder with one file per band, or a .txt list of such files; with
    --allow-remote also an s3:// or https:// address.
    """
    from geoseg.cli.show import print_json, progress
    from geoseg.workflows.product import check_output, interruptible
    from geoseg.workflows.segment import segment

    check_output(out, overwrite=overwrite, reading=chosen["scene"])
    with remote_of(chosen):
        plan = plan_of(**chosen)
        if dry_run:
            _show(plan, as_json=as_json)
            return
        with interruptible(), progress(quiet=quiet) as listener:
            done = segment(plan, out, overwrite=overwrite, progress=listener)
    if as_json:
        print_json(done.record.model_dump(mode="json"))
        return
    click.echo(done.report.summary(), err=True)
    for name in done.files:
        click.echo(str(out / name))


@click.command(cls=RemoteCommand)
@click.argument("scene")
@click.argument("out", type=LocalPath())
@pipeline_options
@scene_options
@remote_option
@aoi_options
@zone_options
@products_option
@config_options
@overwrite_option
@json_option
def plan(out: Path, *, overwrite: bool, as_json: bool, **chosen: Any) -> None:
    """Say what `geoseg run SCENE OUT` would do; no pixel is read and nothing is written."""
    from geoseg.workflows.product import check_output

    check_output(out, overwrite=overwrite, reading=chosen["scene"])
    with remote_of(chosen):
        _show(plan_of(**chosen), as_json=as_json)


def _show(plan: "ScenePlan", *, as_json: bool) -> None:
    from geoseg.cli.show import print_json
    from geoseg.workflows.estimate import estimate_run

    document = {**plan.to_json(), "estimate": estimate_run(plan)}
    if as_json:
        print_json(document)
        return
    for key, value in document.items():
        if key not in {"schema", "notes", "estimate"}:
            click.echo(f"{key:24} {value}")
    for key, value in document["estimate"].items():
        click.echo(f"{key:24} {value}")
    for note in plan.notes:
        click.echo(note, err=True)
