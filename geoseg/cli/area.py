"""`geoseg area`: what a finished class map, geoseg's or not, covers."""

from pathlib import Path
from typing import Any

import click

from geoseg.cli.options import LocalPath, json_option, overwrite_option, zone_options, zones_of


@click.command()
@click.argument("source", metavar="CLASSMAP")
@click.argument("out", type=LocalPath(), required=False)
@click.option("--nodata", type=int, help="The value that is no class, where the map has no tag.")
@click.option("--legend", type=click.Path(path_type=Path), help="YAML file: class id: name.")
@click.option("--patches", type=click.Choice(["4", "8"]), help="Count patches, 4- or 8-connected.")
@zone_options
@click.option("--definition", help="What the map is brought to first: a shipped definition (fao) or a YAML file.")
@click.option("--final-map", type=LocalPath(), help="Keep the map brought to it here (.tif).")
@overwrite_option
@json_option
def area(*, out: Path | None, patches: str | None, definition: str | None, as_json: bool, **chosen: Any) -> None:
    """Ellipsoidal area of each class of CLASSMAP; with OUT (.csv or .json) also as a file."""
    from geoseg.cli.show import print_json
    from geoseg.presets import load_definition
    from geoseg.workflows.areas import AreaRequest, measure_areas

    measured = measure_areas(
        AreaRequest(
            out=out,
            patches=4 if patches == "4" else 8 if patches == "8" else None,
            definition=None if definition is None else load_definition(definition),
            zones=zones_of(chosen),
            **chosen,
        )
    )
    if as_json:
        print_json(measured.to_json())
        return
    click.echo(measured.summary())
    if out is not None:
        click.echo(str(out))
