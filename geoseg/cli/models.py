"""`geoseg models`."""

from collections.abc import Sequence
from typing import Any

import click

from geoseg.cli.options import json_option

_COLUMNS = ("name", "parameters", "divisor", "margin", "licence", "extra", "title", "source")


@click.command()
@click.argument("name", required=False)
@json_option
def models(*, name: str | None, as_json: bool) -> None:
    """The architectures a network can be built of; with NAME (unet, unet:resnet18) its encoders and options.

    Parameters are those for 3 bands and 2 classes. Divisor and margin are in pixels: tiles are aligned to the one and
    overlap by the other; "whole tile" = every pixel depends on all of its tile.
    """
    from geoseg.cli.show import print_json
    from geoseg.model.catalogue import BANDS, CLASSES, describe, list_entries

    entries = list_entries() if name is None else describe(name)
    if as_json:
        print_json({"schema": "geoseg/models/1", "bands": BANDS, "classes": CLASSES, "architectures": entries})
    elif name is None:
        _print_table(entries)
    else:
        for entry in entries:
            _print_entry(entry)


def _print_table(entries: Sequence[dict[str, Any]]) -> None:
    rows = [list(_COLUMNS), *([_shown(key, entry[key]) for key in _COLUMNS] for entry in entries)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(_COLUMNS))]
    for row in rows:
        click.echo("  ".join(_aligned(*cell) for cell in zip(_COLUMNS, row, widths, strict=True)).rstrip())


def _print_entry(entry: dict[str, Any]) -> None:
    click.echo(f"{entry['name']}: {entry['title']}")
    for key, value in entry.items():
        if key in {"name", "title"} or value in (None, [], {}):
            continue
        shown = _listed(value) if isinstance(value, list | dict) else _shown(key, value)
        click.echo(f"  {key.replace('_', ' '):10}  {shown}")
    if entry["margin"] is None:
        click.echo(f"  {'margin':10}  whole tile")


def _listed(values: list[str] | dict[str, Any]) -> str:
    if isinstance(values, dict):
        return ", ".join(f"{key}={value}" for key, value in values.items())
    return " ".join(values)


def _shown(key: str, value: Any) -> str:
    if value is None:
        return {"margin": "whole tile", "parameters": "?"}.get(key, "")
    return f"{value:,}" if isinstance(value, int) else str(value)


def _aligned(key: str, text: str, width: int) -> str:
    return text.rjust(width) if key in {"parameters", "divisor", "margin"} else text.ljust(width)
