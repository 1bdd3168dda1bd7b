"""What interpreters wrote about the points of a sample, reconciled to one class a point. Files are `vector.points`'."""

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from geoseg.accuracy.design import SampleDesign, SamplePoint
from geoseg.core.legend import Legend
from geoseg.errors import ProductError

ID_COLUMN: Final = "sample_id"
CLASS_COLUMN: Final = "reference_class"
INTERPRETER_COLUMN: Final = "interpreter"
PLACE_COLUMNS: Final = (("x", "y"), ("geometry x", "geometry y"))
"""Where a row says its point lies: what was written, and what a GeoPackage's geometry is now."""
CONSENSUS: Final = "consensus"
"""The interpreter whose row settles a point."""
UNINTERPRETABLE: Final = -1
UNINTERPRETABLE_CODES: Final = frozenset(
    {
        "?",
        "uninterpretable",
        "not interpretable",
        "uninterpreted",
        "unknown",
        "unsure",
        "n/a",
        "na",
        "no image",
        "cloud",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Responses:
    """One class a point where there is one, and what became of the rest."""

    labels: Mapping[int, int]
    """Sample id -> class id."""
    rows: int
    """In the file."""
    blank: int
    """Points without a label, those missing from the file included."""
    missing: int
    """Points that are not in the file."""
    uninterpretable: int
    """Points that were looked at and could not be told."""
    duplicates: int
    """Rows beyond the first of one interpreter for one point."""
    disagreements: int
    """Points left out because their labels differ and no consensus row settles them."""
    consensus: int
    """Points that a consensus row settled."""
    doubly: int
    """Points that two or more interpreters labelled."""
    agreed: int
    """Those of them that got one and the same label."""
    interpreters: tuple[str, ...]
    placed: int
    """Rows whose coordinates were there to be compared with the design's, and are the same."""

    @property
    def has_coordinates(self) -> bool:
        """Whether every row is known to be of its point, by more than its number."""
        return self.placed == self.rows

    def to_json(self, name: str) -> dict[str, Any]:
        """Give the part "reference" of assessment.json."""
        return {
            "name": name,
            "rows": self.rows,
            "placed": self.placed,
            "used": len(self.labels),
            "blank": self.blank,
            "missing": self.missing,
            "uninterpretable": self.uninterpretable,
            "duplicates": self.duplicates,
            "disagreements": self.disagreements,
            "consensus": self.consensus,
            "doubly_labelled": self.doubly,
            "agreement": self.agreed / self.doubly if self.doubly else None,
            "interpreters": list(self.interpreters),
        }


@dataclass(frozen=True, slots=True)
class _Row:
    interpreter: str
    verdict: int | None
    """Class id, UNINTERPRETABLE, or None: not labelled."""


def read_responses(
    rows: Sequence[Mapping[str, str]], design: SampleDesign, *, place: str, class_column: str = CLASS_COLUMN
) -> Responses:
    """The responses in a table.

    Labels are names of the map's classes, in any case, or their ids; names win. A point with two rows of different
    interpreters counts as labelled twice; if they differ it is left out, unless a row of the interpreter
    "consensus" settles it.

    Raises:
        ProductError: a column is missing, a sample id or coordinate is not of the design, a label is no class.
    """
    columns = _columns(rows, class_column, place)
    points = {one.id: one for one in design.points}
    found: dict[int, list[_Row]] = {}
    placed = 0
    for row in rows:
        sample_id = _sample_id(row[columns[ID_COLUMN]], points, place)
        placed += _is_placed(row, points[sample_id], columns, design=design, place=place)
        _check_classes(row, points[sample_id], columns, design=design, place=place)
        verdict = _verdict(row[columns[class_column]], design.legend, sample_id)
        interpreter = row[columns[INTERPRETER_COLUMN]] if INTERPRETER_COLUMN in columns else ""
        found.setdefault(sample_id, []).append(_Row(interpreter.strip(), verdict))
    settled = {sample_id: _settle(own) for sample_id, own in found.items()}
    names = sorted({one.interpreter for own in found.values() for one in own if one.interpreter})
    return Responses(
        labels={k: one.verdict for k, one in sorted(settled.items()) if one.verdict is not None and one.verdict >= 0},
        rows=len(rows),
        blank=sum(one.is_blank for one in settled.values()) + len(points) - len(found),
        missing=len(points) - len(found),
        uninterpretable=sum(one.verdict == UNINTERPRETABLE for one in settled.values()),
        duplicates=sum(one.duplicates for one in settled.values()),
        disagreements=sum(one.verdict is None and not one.is_blank for one in settled.values()),
        consensus=sum(one.by_consensus for one in settled.values()),
        doubly=sum(one.agreed is not None for one in settled.values()),
        agreed=sum(one.agreed is True for one in settled.values()),
        interpreters=tuple(name for name in names if name.casefold() != CONSENSUS),
        placed=placed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settled:
    """One point."""

    verdict: int | None
    """None: not labelled, or labels differ."""
    is_blank: bool
    duplicates: int
    by_consensus: bool
    agreed: bool | None
    """None: one interpreter at most."""


def _settle(rows: Sequence[_Row]) -> _Settled:
    by_person: dict[str, set[int]] = {}
    count: dict[str, int] = {}
    for row in rows:
        person = row.interpreter.casefold()
        count[person] = count.get(person, 0) + 1
        if row.verdict is not None:
            by_person.setdefault(person, set()).add(row.verdict)
    final = by_person.pop(CONSENSUS, set())
    given = set().union(*by_person.values())
    verdicts = final or given
    return _Settled(
        verdict=next(iter(verdicts)) if len(verdicts) == 1 else None,
        is_blank=not verdicts,
        duplicates=sum(count.values()) - len(count),
        by_consensus=len(final) == 1,
        agreed=len(given) == 1 if len(by_person) > 1 else None,
    )


def _columns(rows: Sequence[Mapping[str, str]], class_column: str, place: str) -> dict[str, str]:
    """Column wanted -> column of the file; in any case, as spreadsheets and shapefiles change it."""
    if not rows:
        raise ProductError(f"{place} holds no point: give the labelled sample")
    present = {one.casefold(): one for one in rows[0]}
    wanted = (ID_COLUMN, class_column, INTERPRETER_COLUMN, *sum(PLACE_COLUMNS, ()), "stratum", "map_class")
    columns = {one: present[one.casefold()] for one in wanted if one.casefold() in present}
    for one, option in ((ID_COLUMN, ""), (class_column, " with --class-column")):
        if one not in columns:
            listed = ", ".join(present.values())
            raise ProductError(f"{place} has no column {one} (it has {listed}): name it so, or say which{option}")
    return columns


def _sample_id(text: str, known: Mapping[int, SamplePoint], place: str) -> int:
    match = re.fullmatch(r"(\d{1,9})(?:[.,]0*)?", text.strip())
    if match is None or int(match[1]) not in known:
        raise ProductError(
            f"{place}: sample_id {text!r} is not of the sample, which has 1 to {max(known, default=0)}: "
            "give the file that was drawn with this design"
        )
    return int(match[1])


def _is_placed(
    row: Mapping[str, str], point: SamplePoint, columns: Mapping[str, str], *, design: SampleDesign, place: str
) -> bool:
    """Refuse a row that says it is of another place: columns sorted apart, another sample's ids, a moved geometry.

    Returns whether the row says a place at all.
    """
    own_x, own_y = design.xy_of(point)
    a, b, _, d, e, _ = design.map.transform
    pairs = [_numbers(row.get(columns.get(x, ""), ""), row.get(columns.get(y, ""), "")) for x, y in PLACE_COLUMNS]
    for x, y in (pair for pair in pairs if pair is not None):
        if abs(x - own_x) > 0.51 * (abs(a) + abs(b)) or abs(y - own_y) > 0.51 * (abs(d) + abs(e)):
            raise ProductError(
                f"{place}: sample_id {point.id} lies at ({x:.10g}, {y:.10g}), in the design at ({own_x:.10g}, "
                f"{own_y:.10g}): these are not the points of this design, or rows were mixed up or points moved; "
                "if a spreadsheet rewrote the numbers, delete the columns x and y"
            )
    return any(pair is not None for pair in pairs)


def _numbers(*texts: str) -> tuple[float, ...] | None:
    """None where one is empty, not finite, or rewritten so that it cannot be read."""
    try:
        found = tuple(float(text.replace(",", ".")) for text in texts)
    except ValueError:
        return None
    return found if all(math.isfinite(one) for one in found) else None


def _check_classes(
    row: Mapping[str, str], point: SamplePoint, columns: Mapping[str, str], *, design: SampleDesign, place: str
) -> None:
    """Refuse a row whose stratum or map class, as far as it says them, are another point's."""
    strata = {one.id: one.name for one in design.strata}
    for name, own, names in (
        ("map_class", point.map_class, {one.id: one.name for one in design.legend}),
        ("stratum", point.stratum, strata),
    ):
        text = row.get(columns.get(name, ""), "")
        if text.strip() and _class_id(text, names) != own:
            raise ProductError(
                f"{place}: sample_id {point.id} has {name} {text!r}, in the design {names[own]!r}: rows were mixed up, "
                f"or these are not the points of this design; if the column {name} is your own, delete it"
            )


def _verdict(text: str, legend: Legend, sample_id: int) -> int | None:
    names = {one.id: one.name for one in legend}
    found = _class_id(text, names)
    key = _key(text)
    if found is not None or not key:
        return found
    if key in UNINTERPRETABLE_CODES:
        return UNINTERPRETABLE
    raise ProductError(
        f"sample_id {sample_id} is labelled {text.strip()!r}, no class of the map: "
        f"{_nearest(key, map(_key, names.values()))}write one of {', '.join(names.values())}, an id, or ? for a point "
        "that cannot be told"
    )


def _class_id(text: str, names: Mapping[int, str]) -> int | None:
    """The class that a cell names, in any case, or by its id; a name wins. None: it names none."""
    key = _key(text)
    for one, name in names.items():
        if _key(name) == key:
            return one
    number = re.fullmatch(r"(\d{1,3})(?:[.,]0*)?", key)
    return int(number[1]) if number is not None and int(number[1]) in names else None


def _key(text: str) -> str:
    """What case, spaces and a spreadsheet's mark of text leave of a cell."""
    return " ".join(text.strip().removeprefix("'").casefold().split())


def _nearest(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(known), n=1)
    return f"did you mean {near[0]!r}? Or " if near else ""
