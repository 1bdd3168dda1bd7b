"""`geoseg evaluate`: how well a bundle maps labelled images."""

from pathlib import Path
from typing import Any

import click

from geoseg.cli.options import config_options, json_option, overwrite_option, progress_option, resolve_pipeline


@click.command()
@click.argument("bundle")
@click.argument("pairs")
@click.argument("out", type=click.Path(path_type=Path), required=False)
@click.option("--split", default="validation", show_default=True, help="Rows of tiles.csv.")
@click.option("--labels", type=click.Path(path_type=Path), help="Of a scene: a raster of classes, on any grid.")
@click.option("--remap", help="Values of --labels as class ids: 11=0,41=1; others are ignored.")
@click.option("--ignore", help="Values of --labels without a class: 0,255.")
@click.option("--tta", "symmetric", is_flag=True, help="Mean over the eight symmetries of a tile.")
@click.option("--seams", is_flag=True, help="Also map with shifted tiles: the share of pixels that depend on them.")
@click.option("--calibrate", type=click.Path(path_type=Path), help="New bundle folder, with the likeliest temperature.")
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


def _request(bundle: str, **chosen: Any) -> Any:
    """The options as a request."""
    from geoseg.presets import load_config
    from geoseg.workflows.evaluate import EvaluateRequest
    from geoseg.workflows.evaluated import LabelValues

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
        values=LabelValues(remap=_remap(chosen["remap"]), ignore=frozenset(_numbers(chosen["ignore"], "--ignore"))),
        **{key: chosen[key] for key in ("split", "labels", "symmetric", "seams", "sample")},
    )


def _remap(text: str | None) -> dict[int, int]:
    pairs = [part.partition("=")[::2] for part in filter(None, (text or "").split(","))]
    values = _numbers(",".join(one for one, _ in pairs), "--remap")
    return dict(zip(values, _numbers(",".join(other for _, other in pairs), "--remap"), strict=True))


def _numbers(text: str | None, flag: str) -> list[int]:
    try:
        return [int(one) for one in text.split(",")] if text else []
    except ValueError as error:
        raise click.BadParameter(f"{text!r} are no whole numbers apart by commas", param_hint=flag) from error
