"""`geoseg batch status`, `failures`, `repair` and `script`: how a batch stands; its report is in `batch_report`."""

import time
from pathlib import Path

import click

from geoseg.cli.options import LocalPath, json_option

_WATCH_SECONDS = 5.0
out_argument = click.argument("out", type=LocalPath())


@click.command()
@out_argument
@click.option("--watch", is_flag=True, help="Again every 5 s, until every scene has ended.")
@json_option
def status(out: Path, *, watch: bool, as_json: bool) -> int:
    """How many scenes of OUT are done, failed, still to do; of all shards together."""
    from geoseg.batch.status import read_status
    from geoseg.cli.show import print_json

    while True:
        found = read_status(out)
        if as_json:
            print_json(found.to_json())
        else:
            click.echo("\n".join(found.lines()))
        if not watch or not found.open:
            return found.exit_code if not found.open else 0
        time.sleep(_WATCH_SECONDS)


@click.command()
@out_argument
@json_option
def failures(out: Path, *, as_json: bool) -> None:
    """The scenes of OUT that failed or are quarantined, one line each: state, class, scene, why."""
    from geoseg.batch.status import read_failures
    from geoseg.cli.show import print_json

    if as_json:
        print_json({"schema": "geoseg/batch-failures/1", "failures": list(read_failures(out))})
        return
    for row in read_failures(out):
        click.echo(f"{row['state']}\t{row['error_code']}\t{row['uri']}\t{row['error']}")


@click.command()
@out_argument
@json_option
def repair(out: Path, *, as_json: bool) -> None:
    """Make the ledger of OUT again from the products on the disk, in one piece; failures known before are kept."""
    from geoseg.batch.listing import count_of
    from geoseg.batch.repair import repair as mend
    from geoseg.cli.show import print_json

    found = mend(out)
    if as_json:
        print_json(
            {"schema": "geoseg/batch-repair/1", "scenes": found.scenes, "done": found.done, "failed": found.failed}
        )
    else:
        click.echo(
            f"{count_of(found.scenes, 'scene')}: {found.done:,} done, {found.failed:,} known as failed", err=True
        )
        click.echo(str(out))


@click.command()
@out_argument
@click.option("--slurm", "kind", flag_value="slurm", help="An sbatch file, one array task for each shard.")
@click.option("--k8s", "kind", flag_value="k8s", help="A Kubernetes indexed Job, one pod for each shard.")
def script(out: Path, *, kind: str | None) -> None:
    """Print the job file that runs the planned batch OUT in shards on a cluster; nothing is submitted."""
    from geoseg.batch.script import kubernetes_manifest, slurm_script

    if kind is None:
        raise click.UsageError("say for which cluster: --slurm or --k8s")
    click.echo(slurm_script(out) if kind == "slurm" else kubernetes_manifest(out), nl=False)
