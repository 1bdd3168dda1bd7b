"""`geoseg polygons` and `geoseg area`: what can be made of a finished class map, geoseg's or not."""

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


@click.command()
@click.argument("classmap")
@click.argument("out", type=click.Path(path_type=Path), required=False)
@click.option("--nodata", type=int, help="The value that is no class, where the map has no tag.")
@click.option("--legend", type=click.Path(path_type=Path), help="YAML file: class id: name.")
@click.option("--patches", type=click.Choice(["4", "8"]), help="Count patches, 4- or 8-connected.")
@overwrite_option
@json_option
def area(
    classmap: str,
    out: Path | None,
    *,
    nodata: int | None,
    legend: Path | None,
    patches: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Ellipsoidal area of each class of CLASSMAP; with OUT (.csv or .json) also as a file."""
    from geoseg.cli.show import print_json
    from geoseg.workflows.measure import measure

    measured = measure(
        classmap,
        out,
        nodata=nodata,
        legend=legend,
        patches=4 if patches == "4" else 8 if patches == "8" else None,
        overwrite=overwrite,
    )
    if as_json:
        print_json(measured.to_json())
        return
    click.echo(measured.summary())
    if out is not None:
        click.echo(str(out))
