"""`geoseg mosaic`: many class maps made one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.options import LocalPath, json_option, overwrite_option, progress_option

if TYPE_CHECKING:
    from geoseg.core.claimed import Rule
    from geoseg.workflows.mosaic_input import KnownLayer
    from geoseg.workflows.progress import Progress

rule_option = click.option(
    "--rule",
    type=click.Choice(["first", "latest", "confident"]),
    default="first",
    show_default=True,
    help="Whose class it is where maps overlap: the first named, acquired last, or most confident there.",
)


@click.command()
@click.argument("maps", metavar="MAP...", nargs=-1, required=True)
@click.argument("out", type=LocalPath())
@rule_option
@click.option("--grid", metavar="MAP|CRS", help="Maps of several grids: the lattice of MAP, or a CRS with --res.")
@click.option("--res", type=float, metavar="UNITS", help="Side of a pixel in units of the CRS of --grid.")
@click.option("--nodata", type=int, help="The value that is no class, where the maps have no tag.")
@click.option("--legend", type=click.Path(path_type=Path), help="YAML file of all maps: class id: name.")
@overwrite_option
@json_option
@progress_option
def mosaic(maps: tuple[str, ...], out: Path, *, overwrite: bool, as_json: bool, quiet: bool, **chosen: Any) -> None:
    """One class map of many: MAP is a class map, the folder of a run, or of a batch; OUT is .tif (COG) or .vrt.

    Nothing is resampled unless --grid says so. OUT.json says what the mosaic was made of.
    """
    from geoseg.cli.show import print_json, progress
    from geoseg.workflows.mosaic import MosaicRequest, check_request, make_mosaic
    from geoseg.workflows.mosaic_grid import GridChoice
    from geoseg.workflows.product import interruptible

    if chosen["grid"] is None and chosen["res"] is not None:
        raise click.BadParameter(f"{chosen['res']:g} is of no grid: give --grid", param_hint="--res")
    grid = None if chosen["grid"] is None else GridChoice(target=chosen["grid"], res=chosen["res"])
    request = MosaicRequest(rule=chosen["rule"], grid=grid, overwrite=overwrite)
    check_request(out, request)
    with interruptible(), progress(quiet=quiet) as listener:
        layers, notes = _open(maps, listener, rule=chosen["rule"], nodata=chosen["nodata"], legend=chosen["legend"])
        done = make_mosaic(layers, out, request, progress=listener)
    if as_json:
        print_json(done.to_json())
        return
    click.echo("\n".join([*notes, *done.notes()]), err=True)
    click.echo(str(out))


def _open(
    sources: tuple[str, ...], progress: "Progress", *, rule: "Rule", nodata: int | None, legend: Path | None
) -> tuple[list["KnownLayer"], list[str]]:
    """(the maps, those of a batch in the order of its manifest; what is to be said of it)."""
    from geoseg.batch.place import Place
    from geoseg.batch.union import done_layers
    from geoseg.workflows.mosaic_input import open_layer

    layers, notes = [], []
    for source in sources:
        if Place(out=Path(source)).job.is_file():
            found, missing = done_layers(Path(source), rule, progress=progress)
            layers += found
            notes += [missing] if missing else []
        else:
            layers.append(open_layer(source, rule, nodata=nodata, legend=legend))
    return layers, notes
