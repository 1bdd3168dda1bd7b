"""`geoseg polygons`: outlines of a finished class map, geoseg's or not."""

from pathlib import Path

import click

from geoseg.cli.options import json_option, overwrite_option


@click.command()
@click.argument("classmap")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--nodata", type=int, help="The value that is no class, where the map has no tag.")
@click.option("--legend", type=click.Path(path_type=Path), help="YAML file: class id: name.")
@overwrite_option
@json_option
def polygons(
    classmap: str, out: Path, *, nodata: int | None, legend: Path | None, overwrite: bool, as_json: bool
) -> None:
    """Vectorize CLASSMAP into OUT: .gpkg, .parquet, .fgb or .geojson.

    4-connected polygons with class, ellipsoidal area, geodesic perimeter and component id.
    """
    from geoseg.cli.show import print_json
    from geoseg.workflows.measure import vectorize

    summary = vectorize(classmap, out, nodata=nodata, legend=legend, overwrite=overwrite)
    if as_json:
        print_json({"schema": "geoseg/polygons/1", "path": str(out), "polygons": summary.count})
    else:
        click.echo(f"{summary.count} polygons", err=True)
        click.echo(str(out))
