"""`geoseg scene info`."""

import click

from geoseg.cli.options import json_option, parse_bands, scene_options


@click.group()
def scene() -> None:
    """What is found in a scene."""


@scene.command()
@click.argument("scene")
@click.option("--bands", help="Common names of bands: red=1,green=2,blue=3.")
@scene_options
@json_option
def info(scene: str, *, bands: str | None, mask: str | None, allow_large: bool, as_json: bool) -> None:
    """Bands, grid, radiometry and validity of SCENE, read from its headers."""
    from geoseg.cli.show import print_json
    from geoseg.raster.scene import SceneOptions, describe_scene, open_scene

    options = SceneOptions(mask=mask, allow_large=allow_large)
    found = describe_scene(open_scene(scene, bands=parse_bands(bands), options=options))
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
