"""The page of an archive: totals, areas, map, failures, scenes; one file that loads nothing and has a bounded size."""

from datetime import datetime
from typing import Any, Final

from geoseg.report.batch_content import BatchContent
from geoseg.report.batch_drawing import Drawing, draw, for_script
from geoseg.report.frame import inert_json
from geoseg.report.headline import Figure
from geoseg.report.numbers import hectares, plain_number
from geoseg.report.shell import render
from geoseg.report.target import Target, find_target

SHOWN_ROWS: Final = 2000
SHOWN_ZONES: Final = 300
_TABLE_CLASSES: Final = 3
"""Classes with a column in the table of scenes."""
SUMS: Final = (
    "Areas are sums over scenes: where scenes overlap, ground is counted as often as scenes show it, so a sum is not "
    "the area of their union."
)


def render_batch_page(content: BatchContent, *, made: datetime | None = None) -> str:
    """The whole page."""
    target = find_target({one.id: one.name for one in content.classes})
    largest = sorted(content.classes, key=lambda one: -one.area_m2)
    columns = [one for one in largest if target and one.id in target.ids][:_TABLE_CLASSES] or largest[:_TABLE_CLASSES]
    drawing = draw(content.map) if content.map else None
    values: dict[str, Any] = {
        "content": content,
        "figures": _figures(content, target),
        "sums": SUMS,
        "cautions": _cautions(content),
        "columns": columns,
        "zones": sorted(content.zones, key=lambda one: -one.footprint_m2)[:SHOWN_ZONES],
        "drawing": drawing,
        "map_json": inert_json(_map_document(content, drawing)) if content.map and drawing else None,
        "documents_json": inert_json(content.documents),
    }
    scripts, styles = ("page.js", "batch.js"), ("page.css", "batch.css")
    return render("batch.html", values, scripts=scripts, styles=styles, made=made)


def _figures(content: BatchContent, target: Target | None) -> list[Figure]:
    found = []
    if target is not None:
        summed = sum(one.area_m2 for one in content.classes if one.id in target.ids)
        name = target.term[:1].upper() + target.term[1:]
        if content.union is not None:
            once = sum(content.union.area_of(k) or 0.0 for k in target.ids)
            found.append(_area(f"{name}, ground counted once", once, content.union.rule_text, estimated=True))
        detail = f"over {_count(content.measured, 'scene')}; not the area of their union"
        found.append(_area(f"{name}, summed over scenes", summed, detail, estimated=False))
    detail = f"of {_count(content.scenes, 'scene')}"
    figure = Figure(label="Scenes done", value=plain_number(content.done), unit="", detail=detail, estimated=False)
    return [*found, figure]


def _area(label: str, area_m2: float, detail: str, *, estimated: bool) -> Figure:
    return Figure(label=label, value=hectares(area_m2), unit="ha", detail=detail, estimated=estimated)


def _cautions(content: BatchContent) -> list[str]:
    """What must be known before a figure is used."""
    bad = [(content.counts.get(state, 0), state) for state in ("failed", "quarantined")]
    left = [f"{plain_number(count)} {state}" for count, state in [*bad, (content.open, "still to do")] if count]
    found = [f"{', '.join(left)}: the figures leave these scenes out."] if left else []
    union = content.union
    if union is not None and union.scenes != content.measured:
        found.append(
            f"Ground counted once is of {_count(union.scenes, 'scene')}, the sums are of {content.measured:,}: make it "
            f"again with geoseg batch report OUT --union {union.rule}."
        )
    return [*found, *content.remarks]


def _map_document(content: BatchContent, drawing: Drawing) -> dict[str, Any]:
    classes = [{"id": str(one.id), "name": one.name} for one in content.classes if one.area_m2 > 0]
    return {**for_script(content.map or {}, drawing), "classes": classes}


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
