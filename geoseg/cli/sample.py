"""`geoseg sample`: a reference sample of a class map, ready to be labelled."""

from pathlib import Path
from typing import Any

import click

from geoseg.cli.options import LocalPath, json_option

_SIZE = ("total", "target_se", "counts", "allocation", "expected_ua", "min_per_class")


def _pairs(context: click.Context, option: click.Parameter, text: str | None) -> dict[str, Any] | None:
    """`forest=75,other=100` as {name: number}: whole numbers for --counts, shares for --expected-ua."""
    if text is None:
        return None
    number = int if option.name == "counts" else float
    parts = [[one.strip() for one in part.rpartition("=")] for part in text.split(",")]
    try:
        pairs = {name: number(value) for name, _, value in parts if name}
    except ValueError:
        pairs = {}
    if len(pairs) != len(parts):
        raise click.BadParameter(f"{text!r} is not CLASS=NUMBER,… with each class once", context, option)
    return pairs


@click.command()
@click.argument("classmap")
@click.argument("out", type=LocalPath())
@click.option("--n", "total", type=int, help="Points of the whole sample.")
@click.option("--se", "target_se", type=float, help="Standard error of the overall accuracy to be reached: 0.01.")
@click.option("--counts", callback=_pairs, metavar="CLASS=N,…", help="Points of each class.")
@click.option("--allocation", type=click.Choice(["proportional", "neyman", "equal"]), help="How points are shared out.")
@click.option("--expected-ua", callback=_pairs, metavar="CLASS=U,…", help="Expected user's accuracy (0.8).")
@click.option("--min-per-class", type=int, default=30, show_default=True, help="Points of a rare class at least.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, another sample.")
@click.option("--buffer", "buffer_pixels", type=int, default=0, help="Pixels from class borders; biases the sample.")
@click.option("--hide-class", is_flag=True, help="Leave the map's class out of OUT (the design file has it).")
@click.option("--strata", type=str, help="Raster of classes on the map's grid: the strata, instead of its own.")
@click.option("--nodata", type=int, help="The value that is no class, where the map has no tag.")
@click.option("--legend", type=click.Path(path_type=Path), help="YAML file: class id: name.")
@click.option("--overwrite", is_flag=True, help="Replace OUT, unless it holds labels.")
@json_option
def sample(classmap: str, out: Path, *, overwrite: bool, as_json: bool, **options: Any) -> None:
    """Draw a stratified random sample of CLASSMAP into OUT (.csv or .gpkg), and its design beside it.

    Fill in reference_class of each point (? where it cannot be told), then run geoseg assess. With --buffer the
    estimates speak of the area away from class borders only.
    """
    from geoseg.accuracy.allocation import SampleSize
    from geoseg.cli.show import print_json
    from geoseg.workflows.sample import SampleRequest, design_path, summarize
    from geoseg.workflows.sample import sample as draw_sample

    size = SampleSize(**{name: value for name in _SIZE if (value := options.pop(name)) is not None})
    design = draw_sample(classmap, out, SampleRequest(size=size, **options), overwrite=overwrite)
    if as_json:
        paths = {"path": str(out), "design": str(design_path(out))}
        print_json({"schema": "geoseg/sample/1", **paths, "points": len(design.points)})
    else:
        click.echo(summarize(design), err=True)
        click.echo(str(out))
