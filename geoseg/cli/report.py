"""`geoseg report`: the page of a finished run or change, made again from what it left."""

from pathlib import Path

import click

from geoseg.cli.options import json_option


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--assessment", type=click.Path(path_type=Path), help="Folder of geoseg assess for this very map.")
@click.option("--scene", type=click.Path(path_type=Path), help="The scene of the run, for its picture.")
@click.option("--pdf", is_flag=True, help="Also report.pdf (needs the extra geoseg[pdf]).")
@json_option
def report(folder: Path, *, assessment: Path | None, scene: Path | None, pdf: bool, as_json: bool) -> None:
    """Write report.html of the run or change in DIR: one file that opens anywhere, with no network."""
    from geoseg.cli.show import print_json
    from geoseg.workflows.report import ReportSources, write_report

    paths = write_report(folder, ReportSources(assessment=assessment, scene=scene), pdf=pdf)
    if as_json:
        print_json({"schema": "geoseg/report/1", "paths": [str(path) for path in paths]})
        return
    for path in paths:
        click.echo(str(path))
