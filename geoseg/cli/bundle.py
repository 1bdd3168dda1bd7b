"""`geoseg bundle`: model bundles looked at, checked, packed and exported."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.options import LocalPath, json_option, overwrite_option, progress_option

if TYPE_CHECKING:
    from geoseg.model.export import Format

_FORMATS = ("onnx", "pt2", "openvino")


def _formats(ctx: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    chosen = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [one for one in chosen if one not in _FORMATS]
    if unknown or not chosen:
        raise click.BadParameter(f"{', '.join(unknown) or 'nothing'} is no format: {', '.join(_FORMATS)}")
    return chosen


@click.group()
def bundle() -> None:
    """Model bundles: weights with what is needed to use them rightly. BUNDLE is a shipped name or a folder."""


@bundle.command()
@click.argument("name", metavar="BUNDLE")
@json_option
def info(name: str, *, as_json: bool) -> None:
    """What a bundle is for, takes and gives: bands, level, classes, ground sampling distance, licence, figures."""
    from geoseg.cli.show import print_json
    from geoseg.workflows.bundle import describe_bundle

    found = describe_bundle(name)
    if as_json:
        print_json({"schema": "geoseg/bundle/1", **found})
        return
    for key, value in found.items():
        click.echo(f"{key.replace('_', ' '):18}{_shown(key, value)}")


@bundle.command()
@click.argument("name", metavar="BUNDLE")
def verify(name: str) -> None:
    """Whether a bundle is whole: checksums, weights that fit the network, a tile that goes through it."""
    from geoseg.workflows.bundle import verify_bundle

    found = verify_bundle(name)
    click.echo(f"{found.spec.name} {found.spec.version} is whole: sha256 {found.sha256}")


@bundle.command()
@click.argument("spec", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=LocalPath())
def pack(spec: Path, weights: Path, out: Path) -> None:
    """Make a bundle in OUT of WEIGHTS (a state dict, .safetensors or .pt) and SPEC (a bundle.yaml without checksum).

    Divisor, min_size and margins that SPEC leaves out are those of the network.
    """
    from geoseg.workflows.bundle import pack as make

    click.echo(make(spec, weights, out).path)


@bundle.command()
@click.argument("name", metavar="BUNDLE")
@click.argument("out", type=LocalPath())
@click.option("--formats", default="onnx", show_default=True, callback=_formats, help="onnx,pt2,openvino: which.")
@click.option("--tile", type=click.IntRange(1), help="Height and width it takes, pixels.  [default: 512]")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Tiles it takes at once.")
@overwrite_option
@progress_option
def export(
    name: str, out: Path, *, formats: "list[Format]", tile: int | None, batch: int, overwrite: bool, quiet: bool
) -> None:
    """Write the network of BUNDLE for other programs in OUT, with a STAC item, after it was found to compute the same.

    It takes normalised pixels (the file's metadata says how) and gives probabilities. onnx and openvino are extras:
    pip install 'geoseg[onnx,openvino]'.
    """
    from geoseg.cli.show import progress
    from geoseg.workflows.bundle import export_bundle

    with progress(quiet=quiet) as listener:
        done = export_bundle(name, out, formats=formats, tile=tile, batch=batch, overwrite=overwrite, progress=listener)
    for path in done.paths():
        click.echo(str(path))


def _shown(key: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(
            str(one.get("name") or f"from {one.get('from_level')} {one.get('from_dtype')}") for one in value
        )
    if isinstance(value, dict):
        return str(value.get("description") or ", ".join(f"{name}={one}" for name, one in value.items()))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None else str(value)
