"""`geoseg batch report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from geoseg.cli.options import LocalPath, json_option

if TYPE_CHECKING:
    from geoseg.core.claimed import Rule


@click.command()
@click.argument("out", type=LocalPath())
@click.option(
    "--union",
    type=click.Choice(["first", "latest", "confident"]),
    help="Count ground that several scenes show once: the first of the manifest, the latest, the most confident.",
)
@click.option("--mosaic", type=click.Choice(["vrt", "cog"]), help="One map of all scenes, by the rule of --union.")
@json_option
def report(out: Path, *, union: "Rule | None", mosaic: Literal["vrt", "cog"] | None, as_json: bool) -> None:
    """Write report.html, tables and a STAC catalog of OUT into it; sums of overlapping scenes are no union."""
    from geoseg.batch.report import write_report
    from geoseg.batch.union import write_mosaic, write_union
    from geoseg.cli.show import print_json, progress

    lines = []
    with progress(quiet=as_json) as shown:
        if union is not None:
            lines += write_union(out, union, progress=shown).lines()
        if mosaic is not None:
            made, missing = write_mosaic(out, mosaic, union or "first", progress=shown)
            lines += [*made.notes(), *([missing] if missing else [])]
        found = write_report(out, shown)
    if as_json:
        print_json(found.to_json())
        return
    click.echo("\n".join([*found.lines(), *dict.fromkeys(lines)]), err=True)
    click.echo("\n".join(map(str, found.files)))
