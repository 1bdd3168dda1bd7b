"""`geoseg polygons`: outlines of a finished class map, geoseg's or not."""

from pathlib import Path

import click

from geoseg.cli.options import LocalPath, json_option, overwrite_option


@click.command()
@click.argument("classmap")
@click.argument("out", type=LocalPath())
@click.option("--nodata", type=int, help="The value that is no class, where the map has no tag.")
@click.option("--legend", type=click.Path(path_type=Path), help="YAML file: class id: name.")
@click.option(
    "--simplify", "simplify_m", type=float, default=0.0, metavar="METRES", help="Leave out vertices of outlines."
)
@overwrite_option
@json_option
def polygons(
    classmap: str,
    out: Path,
    *,
    nodata: int | None,
    legend: Path | None,
    simplify_m: float,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Vectorize CLASSMAP into OUT: .gpkg, .parquet, .fgb or .geojson.

    4-connected polygons with class, ellipsoidal area, geodesic perimeter and component id. Areas and perimeters are
    those of the pixels, simplified or not.
    """
    from geoseg.cli.show import print_json
    from geoseg.workflows.vectorize import vectorize

    summary = vectorize(classmap, out, nodata=nodata, legend=legend, simplify_m=simplify_m, overwrite=overwrite)
    drift = summary.drift if simplify_m else {}
    if as_json:
        document = {"schema": "geoseg/polygons/1", "path": str(out), "polygons": summary.count}
        print_json({**document, "simplify_m": simplify_m, "drift": drift})
        return
    click.echo(f"{summary.count} polygons", err=True)
    for name, share in drift.items():
        click.echo(f"{name}: area inside the simplified outlines {share:+.4%}", err=True)
    click.echo(str(out))
