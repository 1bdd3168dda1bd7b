"""`geoseg batch plan` and `geoseg batch run`; what only looks at a batch is in `batch_show`, `batch_report`."""

from pathlib import Path
from typing import Any

import click

from geoseg.cli.batch_options import plan_of, run_options_of
from geoseg.cli.batch_report import report
from geoseg.cli.batch_show import failures, repair, script, status
from geoseg.cli.options import (
    LocalPath,
    RemoteCommand,
    config_options,
    json_option,
    pipeline_options,
    remote_option,
    zone_options,
)

FROZEN = (
    "pipeline",
    "model",
    "bands",
    "radiometry",
    "definition",
    "overrides",
    "products",
    "zones",
    "allow_large",
    "allow_remote",
)
products_option = click.option(
    "--products",
    help="classes,confidence,areas,polygons,report: what each scene leaves; a report only where it is named.",
)
large_option = click.option(
    "--allow-large", is_flag=True, help="Accept files that unpack to over 200 times their size."
)


@click.group()
def batch() -> None:
    """An archive of scenes: a crash, a bad scene or a closed laptop costs minutes; the same command resumes.

    SOURCE is a folder, a quoted glob, a .txt list (- for standard input), a .csv or .parquet with a column uri, or
    a STAC item, item collection or collection; with --allow-remote also s3://bucket/prefix or an address. OUT takes
    a product for each scene, and the ledger.
    """


@batch.command(cls=RemoteCommand)
@click.argument("source")
@click.argument("out", type=LocalPath())
@pipeline_options
@zone_options
@products_option
@large_option
@remote_option
@config_options
@json_option
def plan(source: str, out: Path, *, as_json: bool, **chosen: Any) -> None:
    """Freeze the scenes of SOURCE and the settings in OUT, so that every shard and resumption does the same."""
    from geoseg.batch.listing import count_of
    from geoseg.cli.show import print_json

    planned = plan_of(source, out, chosen)
    if as_json:
        print_json({"schema": "geoseg/batch-plan/1", **planned.job.model_dump(mode="json")})
    else:
        click.echo(f"{count_of(planned.job.scenes, 'scene')}{'' if planned.is_new else ', planned before'}", err=True)
        click.echo(str(out))


@batch.command(cls=RemoteCommand)
@click.argument("places", nargs=-1, required=True, metavar="[SOURCE] OUT")
@pipeline_options
@zone_options
@products_option
@large_option
@remote_option
@config_options
@click.option("--shard", default="0/1", help="I/N: this part of the scenes, I from 0; each part has its own ledger.")
@click.option("--scheduler", metavar="ADDRESS", help="A running Dask scheduler, tls://HOST:PORT.")
@click.option("--insecure", is_flag=True, help="Reach a scheduler of another machine without encryption.")
@click.option("--retry", type=click.Choice(["failed", "quarantined", "all"]), help="Try such scenes again.")
@click.option(
    "--progress", type=click.Choice(["auto", "bar", "lines", "json", "none"]), default="auto", show_default=True
)
@json_option
@click.pass_context
def run(ctx: click.Context, /, places: tuple[str, ...], *, progress: str, as_json: bool, **chosen: Any) -> int:
    """Run, or go on with, the batch in OUT; with SOURCE it is planned first.

    Exit codes: 0 every scene is done, 3 some failed or are quarantined, 4 stopped (disk full, no workers, many
    failures in a row), 130 interrupted. The same command resumes; what has ended stays.
    """
    from geoseg.batch.run import run_batch
    from geoseg.cli.batch_progress import listener_of, tell_summary

    out: Path = LocalPath().convert(places[-1], None, ctx)
    if len(places) == 2:
        plan_of(places[0], out, chosen)
    elif len(places) > 2:
        raise click.UsageError(f"{len(places)} places: give SOURCE and OUT, or OUT alone (quote a glob)", ctx)
    elif named := [one for one in FROZEN if ctx.get_parameter_source(one) is click.core.ParameterSource.COMMANDLINE]:
        raise click.UsageError(f"{named[0].replace('_', '-')} is frozen in {out}: give it with SOURCE, or not", ctx)
    with listener_of(progress) as listener:
        summary = run_batch(out, run_options_of(chosen), listener)
    return tell_summary(summary, out, as_json=as_json)


for command in (status, failures, report, repair, script):
    batch.add_command(command)
