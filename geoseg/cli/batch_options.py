"""What the options of `geoseg batch plan` and `run` describe."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.options import resolve_pipeline, zones_of

if TYPE_CHECKING:
    from geoseg.batch.plan import Planned
    from geoseg.batch.run import RunOptions


def plan_of(source: str, out: Path, chosen: dict[str, Any]) -> "Planned":
    """The batch that the options describe, planned in `out`; what is to be known of it is said on stderr."""
    from geoseg.batch.listing import Listing
    from geoseg.batch.plan import BatchRequest, plan_batch
    from geoseg.presets import load_config
    from geoseg.raster.remote import redact

    pipeline = resolve_pipeline(
        chosen["pipeline"],
        chosen["overrides"],
        **{key: chosen[key] for key in ("model", "bands", "radiometry", "definition", "products")},
    )
    if not _names_products(chosen):  # a page for every scene takes longer than its map
        kept = tuple(one for one in pipeline.products if one != "report")
        pipeline = pipeline.model_copy(update={"products": kept})
    config = load_config(chosen["config_name"], overrides=chosen["config_overrides"])
    request = BatchRequest(
        source=source,
        pipeline=pipeline,
        config=config,
        zones=zones_of(chosen),
        allow_large=chosen["allow_large"],
        allow_remote=chosen["allow_remote"],
        argv=tuple(map(redact, sys.argv)),
    )
    planned = plan_batch(request, out, Listing(say=partial(click.echo, err=True)))
    for note in planned.notes:
        click.echo(note, err=True)
    return planned


def _names_products(chosen: dict[str, Any]) -> bool:
    """Whether an option or the pipeline's file says what is to be left of a scene."""
    from geoseg.presets import load_pipeline

    by_option = chosen["products"] or any(one.startswith("products=") for one in chosen["overrides"])
    return bool(by_option) or "products" in load_pipeline(chosen["pipeline"]).model_fields_set


def run_options_of(chosen: dict[str, Any]) -> "RunOptions":
    """How the options want the batch to be worked at; --scheduler goes before the config."""
    from geoseg.batch.place import Shard
    from geoseg.batch.run import RunOptions
    from geoseg.presets import load_config

    overrides = list(chosen["config_overrides"])
    if chosen["scheduler"]:
        there = f"cluster.address={json.dumps(chosen['scheduler'])}"
        overrides += ["cluster.kind=address", "cluster.workers=0", "cluster.gpus=0", there]
    return RunOptions(
        config=load_config(chosen["config_name"], overrides=overrides),
        shard=Shard.parse(chosen["shard"]),
        retry=chosen["retry"],
        insecure=chosen["insecure"],
    )
