"""`geoseg evaluate`: how well a bundle maps labelled images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.options import (
    LocalPath,
    config_options,
    json_option,
    overwrite_option,
    progress_option,
    resolve_pipeline,
)

if TYPE_CHECKING:
    from geoseg.workflows.evaluate import EvaluateRequest
    from geoseg.workflows.evaluated import LabelOptions


@click.command()
@click.argument("bundle")
@click.argument("pairs")
@click.argument("out", type=LocalPath(), required=False)
@click.option("--split", default="validation", show_default=True, help="Rows of tiles.csv.")
@click.option("--labels", type=click.Path(path_type=Path), help="Of a scene: polygons or a raster of classes.")
@click.option("--field", help="Column of the polygons that holds their class.")
@click.option("--layer", help="Layer of the polygons.")
@click.option("--remap", multiple=True, metavar="VALUE=ID", help="Class id of a value; others are ignored. Repeatable.")
@click.option("--ignore", multiple=True, help="Value without a class, besides 255. Repeatable.")
@click.option("--tta", "symmetric", is_flag=True, help="Mean over the eight symmetries of a tile.")
@click.option("--seams", is_flag=True, help="Also map with shifted tiles: the share of pixels that depend on them.")
@click.option("--calibrate", type=LocalPath(), help="New bundle folder, with the likeliest temperature.")
@click.option("--pipeline", default="forest", show_default=True, help="How images are mapped; its model is not used.")
@click.option("--bands", help="Common names of bands: red=1,green=2,blue=3.")
@click.option("--radiometry", type=click.Choice(["toa", "surface", "display8"]), help="What the pixel values mean.")
@click.option("--set", "overrides", multiple=True, metavar="K=V", help="Override a pipeline key.")
@config_options
@overwrite_option
@json_option
@progress_option
def evaluate(bundle: str, out: Path | None, *, overwrite: bool, as_json: bool, quiet: bool, **chosen: Any) -> None:
    """Map the labelled images PAIRS with BUNDLE and tell how well the maps agree with the labels.

    PAIRS is a folder with tiles.csv, images/ and masks/, or a scene with --labels. OUT is a folder for
    evaluation.json and evaluation.html; without it a summary is printed.
    """
    from geoseg.cli.show import print_json, progress
    from geoseg.workflows.evaluation import check_folder, summarise, write_evaluation

    calibrated = chosen.pop("calibrate")
    check_folder(out, overwrite=overwrite, calibrated=calibrated)
    request = _request(bundle, sample=calibrated is not None, **chosen)
    with progress(quiet=quiet) as listener:
        document = write_evaluation(request, out, calibrated=calibrated, progress=listener)
    if as_json:
        print_json(document)
        return
    click.echo(summarise(document))
    for path in filter(None, (out, calibrated)):
        click.echo(str(path))


def _request(bundle: str, **chosen: Any) -> "EvaluateRequest":
    """The options as a request."""
    from geoseg.presets import load_config
    from geoseg.workflows.evaluate import EvaluateRequest

    pipeline = resolve_pipeline(
        chosen["pipeline"],
        chosen["overrides"],
        model=bundle,
        bands=chosen["bands"],
        radiometry=chosen["radiometry"],
    )
    return EvaluateRequest(
        source=chosen["pairs"],
        pipeline=pipeline,
        config=load_config(chosen["config_name"], overrides=chosen["config_overrides"]),
        labels=_labels(**{key: chosen[key] for key in ("labels", "field", "layer", "remap", "ignore")}),
        **{key: chosen[key] for key in ("split", "symmetric", "seams", "sample")},
    )


def _labels(
    labels: Path | None, *, field: str | None, layer: str | None, remap: Sequence[str], ignore: Sequence[str]
) -> "LabelOptions | None":
    """Where the labels of a scene are."""
    from geoseg.workflows.evaluated import LabelOptions

    if labels is None:
        given = {"--field": field, "--layer": layer, "--remap": remap, "--ignore": ignore}
        lonely = [flag for flag, value in given.items() if value]
        if lonely:
            raise click.UsageError(f"{lonely[0]} is of no file: give --labels")
        return None
    pairs = [one.rpartition("=") for one in remap]
    wrong = [one for one, (value, _, class_id) in zip(remap, pairs, strict=True) if not value or not class_id.isdigit()]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not VALUE=ID, such as 41=1", param_hint="--remap")
    ids = tuple((value, int(class_id)) for value, _, class_id in pairs)
    return LabelOptions(file=labels, field=field, layer=layer, remap=ids, ignore=tuple(ignore))
