"""`geoseg assess`: what a labelled sample says of a class map."""

from pathlib import Path

import click

from geoseg.cli.options import LocalPath, json_option


@click.command()
@click.argument("classmap")
@click.argument("reference", type=click.Path(path_type=Path))
@click.argument("out", type=LocalPath())
@click.option("--design", type=click.Path(path_type=Path), help="The sample's design, if not beside REFERENCE.")
@click.option("--confidence-level", "level", type=float, default=0.95, show_default=True, help="0.95, 0.90, …")
@click.option("--class-column", default="reference_class", show_default=True, help="The column of the labels.")
@click.option("--nodata", type=int, help="The value that is no class, if not that of the design.")
@click.option("--overwrite", is_flag=True, help="Replace the assessment that OUT holds.")
@json_option
def assess(
    classmap: str,
    reference: Path,
    out: Path,
    *,
    design: Path | None,
    level: float,
    class_column: str,
    nodata: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Accuracy and error-adjusted area of CLASSMAP from the labelled sample REFERENCE (.csv or .gpkg).

    OUT is a folder for assessment.json, error_matrix.csv and accuracy.csv.
    """
    from geoseg.accuracy.assessment_text import summary, to_json
    from geoseg.cli.show import print_json
    from geoseg.workflows.assess import AssessRequest, assess_map

    request = AssessRequest(level=level, design=design, class_column=class_column, nodata=nodata)
    found = assess_map(classmap, reference, out, request, overwrite=overwrite)
    if as_json:
        print_json(to_json(found))
        return
    click.echo(summary(found))
    click.echo(str(out))
