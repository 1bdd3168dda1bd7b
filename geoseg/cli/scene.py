"""`geoseg scene info`."""

from typing import Any

import click

from geoseg.cli.options import RemoteCommand, json_option, parse_bands, remote_of, remote_option, scene_options


@click.group()
def scene() -> None:
    """What is found in a scene."""


@scene.command(cls=RemoteCommand)
@click.argument("scene")
@click.option("--bands", help="Common names of bands: red=1,green=2,blue=3.")
@scene_options
@remote_option
@json_option
def info(scene: str, *, bands: str | None, mask: str | None, allow_large: bool, as_json: bool, **chosen: Any) -> None:
    """Bands, grid, radiometry, validity, date and platform of SCENE, read from its headers and names."""
    from geoseg.cli.show import print_json
    from geoseg.raster.acquired import find_acquired
    from geoseg.raster.scene import SceneOptions, describe_scene, open_scene

    options = SceneOptions(mask=mask, allow_large=allow_large)
    with remote_of(chosen):
        opened = open_scene(scene, bands=parse_bands(bands), options=options)
        acquired = find_acquired(opened)
    found = {
        **describe_scene(opened),
        "acquired": None if acquired is None else acquired.when,
        "platform": None if acquired is None else acquired.platform,
        "known from": None if acquired is None else acquired.source,
    }
    if as_json:
        print_json(found)
        return
    for key, value in found.items():
        if isinstance(value, list):
            click.echo(f"{key}:")
            for one in value:
                click.echo(f"  {one}")
        else:
            click.echo(f"{key:12} {value}")
