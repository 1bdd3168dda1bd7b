"""`geoseg change`: two class maps compared."""

from datetime import date
from pathlib import Path
from typing import Any

import click

from geoseg.cli.options import LocalPath, json_option, overwrite_option, progress_option, zone_options, zones_of


def _day(context: click.Context, option: click.Parameter, text: str | None) -> date | None:
    """A day as ISO 8601 writes it."""
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no day; write it as 2020-07-01") from error


@click.command()
@click.argument("first", metavar="MAP1")
@click.argument("second", metavar="MAP2")
@click.argument("out", type=LocalPath())
@click.option("--date1", metavar="YYYY-MM-DD", callback=_day, help="Day of the image of MAP1, if its run has none.")
@click.option("--date2", metavar="YYYY-MM-DD", callback=_day, help="Day of the image of MAP2.")
@click.option("--years", type=float, help="Years between the maps, instead of dates.")
@click.option("--class", "target", metavar="NAME", help="Map loss and gain of this class; else every transition.")
@click.option(
    "--align",
    type=click.Choice(["refuse", "nearest"]),
    default="refuse",
    show_default=True,
    help="Maps on different grids: nearest reads MAP2 on the grid of MAP1.",
)
@click.option("--nodata", type=int, help="The value that is no class, where the maps have no tag.")
@click.option("--legend", type=click.Path(path_type=Path), help="YAML file of both maps: class id: name.")
@click.option("--legend1", type=click.Path(path_type=Path), help="The same of MAP1 alone.")
@click.option("--legend2", type=click.Path(path_type=Path), help="The same of MAP2 alone.")
@zone_options
@overwrite_option
@json_option
@progress_option
def change(out: Path, *, overwrite: bool, as_json: bool, quiet: bool, legend: Path | None, **chosen: Any) -> None:
    """Gain, loss and the full matrix of change between MAP1 and MAP2, in the folder OUT.

    MAP1 and MAP2 are class maps or folders of `geoseg run`, the earlier first. OUT gets change.tif, change.json,
    change.csv, polygons.gpkg and report.html.
    """
    from geoseg.cli.show import print_json, progress
    from geoseg.workflows.change import ChangeRequest, compare
    from geoseg.workflows.product import interruptible

    zones = zones_of(chosen)
    for key in ("legend1", "legend2"):
        chosen[key] = chosen[key] or legend
    with interruptible(), progress(quiet=quiet) as listener:
        done = compare(ChangeRequest(zones=zones, **chosen), out, overwrite=overwrite, progress=listener)
    if as_json:
        print_json(done.report.to_json())
        return
    for line in (*(f"warning: {one}" for one in done.report.warnings), *done.report.notes, done.report.summary()):
        click.echo(line, err=True)
    for name in done.files:
        click.echo(str(out / name))
