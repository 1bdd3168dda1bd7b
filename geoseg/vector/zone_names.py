"""What names the zones of a table: the column, and the texts in it on one printable line. Reading is `read`'s."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from geoseg.errors import InputError
from geoseg.vector.table import NO_FIELD, Table

_GUESSES: Final = ("name", "zone", r"name_\d+", ".*name", "district", "region", "label", "title", "id", "code")
"""Columns that name zones, as patterns, the likeliest first."""
_SHOWN: Final = 5
"""Names listed in a note before "and n more"."""


def wanted_columns(field: str | None) -> list[str]:
    """Patterns of the columns that are worth reading."""
    return [re.escape(field)] if field is not None else list(_GUESSES)


def matches(column: str, patterns: Sequence[str]) -> bool:
    """Whether a column is one of those wanted, in letters of any size."""
    return any(re.fullmatch(one, column, re.IGNORECASE) for one in patterns)


def name_zones(table: Table, field: str | None) -> tuple[str, list[str], list[str]]:
    """The column that names the zones, "fid" where there is none, the name of each feature, and what to say of them.

    In a column the user named, equal names mean one zone. Names of one that was guessed are made distinct.

    Raises:
        InputError: there is no column `field`.
    """
    column, values = _name_column(table, field)
    names = [_text(value) or f"feature {fid} (no name)" for value, fid in zip(values, table.fids, strict=True)]
    if field is not None or column == NO_FIELD:
        return printable(column), names, []
    distinct = _distinct(table, column, names)
    changed = [one for one, before in zip(distinct, names, strict=True) if one != before]
    column = printable(column)
    if not changed:
        return column, names, []
    return (
        column,
        distinct,
        [
            f"{len(changed)} of {len(names)} features share a name in column {column!r}, which was guessed; they are "
            f"told apart: {shown(changed)} (name the column with --zone-field to join features of one name)"
        ],
    )


def _distinct(table: Table, column: str, names: list[str]) -> list[str]:
    """Names that occur once: those that occur more often with their parents' before them, else with their fid."""
    parent = _parent(table, column)
    while parent is not None and (again := _repeated(names)):
        above = [_text(value) for value in table.values[parent]]
        names = [
            f"{other} / {name}" if name in again and other else name for name, other in zip(names, above, strict=True)
        ]
        parent = _parent(table, parent)
    while again := _repeated(names):
        names = [
            f"{name} (feature {fid})" if name in again else name for name, fid in zip(names, table.fids, strict=True)
        ]
    return names


def _repeated(names: Sequence[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def _parent(table: Table, column: str) -> str | None:
    """The column one level above, NAME_1 for NAME_2, if the table has it."""
    level = re.fullmatch(r"(\D*)([1-9]\d*)(\D*)", column)
    if level is None:
        return None
    above = f"{level[1]}{int(level[2]) - 1}{level[3]}"
    return above if above in table.values else None


def printable(text: str) -> str:
    """A text of a file on one line, without control characters."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def shown(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _name_column(table: Table, field: str | None) -> tuple[str, list[Any]]:
    if field is not None:
        exact = [one for one in table.values if one == field] or list(table.values)
        if not exact and field.lower() == NO_FIELD:
            return NO_FIELD, list(table.fids)
        if not exact:
            listed = ", ".join(printable(one) for one in table.columns) or "none"
            raise InputError(f"{table.source} has no column {field!r}: it has {listed}")
        return exact[0], table.values[exact[0]]
    candidates = []
    for pattern in _GUESSES:
        # name_2 before name_1: the finest of nested districts
        matching = sorted((one for one in table.values if matches(one, [pattern])), reverse=True)
        candidates += [one for one in matching if any(_text(value) for value in table.values[one])]
    distinct = [one for one in candidates if len({_text(value) for value in table.values[one]} - {""}) == len(table)]
    for one in (*distinct, *candidates):
        return one, table.values[one]
    return NO_FIELD, list(table.fids)


def _text(value: Any) -> str:
    """A value of a column as a name; empty where there is none."""
    if value is None or (isinstance(value, (float, np.floating)) and not np.isfinite(value)):
        return ""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    return printable(str(value))
