"""The HTML page of a report: one file that loads nothing; what it says is decided in `headline` and `facts`."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from geoseg import __version__
from geoseg.core.picture import MapBounds, Picture
from geoseg.report.content import MapContent, ReportContent
from geoseg.report.documents import Areas, Assessment, Estimate, ZoneRow
from geoseg.report.facts import key_facts, provenance
from geoseg.report.headline import make_headline
from geoseg.report.numbers import FILTERS, plain_number

_HERE: Final = Path(__file__).parent
_LEAFLET: Final = _HERE / "vendor" / "leaflet"
"""Leaflet 1.9.4 as released (dist/), but for the comment that names its source map."""
_GREY: Final = "#8a9691"


def render_page(content: ReportContent, *, made: datetime | None = None) -> str:
    """The whole page. Every text is escaped; the policy admits only these very scripts and this style."""
    style, script, leaflet = _trusted(_style()), _trusted(_read("page.js")), _trusted(_leaflet_script())
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    kind = "change report" if content.change else "area report"
    return environment.get_template("page.html").render(
        **_views(content),
        content=content,
        kind=kind,
        subtitle=_subtitle(content),
        policy=_policy(style, scripts=[script, leaflet]),
        style=style,
        script=script,
        leaflet=leaflet,
        documents_json=_inert_json(content.documents),
        version=__version__,
        made=made or datetime.now(UTC),
    )


def _views(content: ReportContent) -> dict[str, Any]:
    """What the templates show beside the documents themselves."""
    views: dict[str, Any] = {
        "headline": make_headline(content),
        "cautions": _cautions(content),
        "key_facts": key_facts(content),
        "provenance": provenance(content),
        "notes": content.record.notes if content.record and not content.change else (),
        "colors": {one.id: one.color for one in content.map.legend} if content.map else {},
        "map": _map_view(content.map) if content.map else None,
        "map_json": _inert_json(_map_document(content.map)) if content.map else None,
    }
    if content.areas is not None:
        views |= _area_views(content.areas, views["colors"])
    if content.assessment is not None:
        views |= _accuracy_views(content.assessment)
    if content.change is not None:
        moved = content.change.transitions
        views["row_total"] = lambda k: sum(one.area_m2 for one in moved if one.from_id == k)
        views["column_total"] = lambda k: sum(one.area_m2 for one in moved if one.to == k)
    return views


def _subtitle(content: ReportContent) -> str:
    record, change = content.record, content.change
    if change is not None:
        return " → ".join(part for part in (change.map1.date or change.map1.name, change.map2.date or change.map2.name))
    if record is None:
        return ""
    parts = (record.acquired, record.platform, f"processed {record.finished:%Y-%m-%d}")
    return " · ".join(part for part in parts if part)


def _cautions(content: ReportContent) -> list[str]:
    """What must be known on page 1 though no document calls it a warning."""
    areas = content.areas
    found: list[str] = []
    if areas is None:
        return found
    wanted = areas.footprint_m2 - areas.outside_aoi_m2
    if wanted > 0 and areas.classified_m2 < 0.9 * wanted:
        missing = 100 * (1 - areas.classified_m2 / wanted)
        found.append(f"{missing:.1f} % of the ground was not observed: the figures leave it out.")
    if areas.not_processed_m2 > 0:
        found.append("A part of the scene was not processed: the figures leave it out.")
    if areas.zones_summary is not None and areas.zones_summary.overlap_m2 > 0:
        found.append("Zones overlap: ground in more than one zone is counted in each.")
    undetermined = sum(rule.undetermined for rule in areas.rules)
    if undetermined:
        found.append(
            f"{plain_number(undetermined)} patches are undetermined: they are below a threshold of the definition, but "
            "cut by an edge, and were kept."
        )
    return found


def _area_views(areas: Areas, colors: dict[int, str]) -> dict[str, Any]:
    no_class = [
        ("not observed (nodata)", areas.nodata_m2),
        ("outside the area of interest", areas.outside_aoi_m2),
        *((f"masked ({reason})", area) for reason, area in areas.masked_m2.items()),
        ("not processed", areas.not_processed_m2),
    ]

    def zone_parts(zone: ZoneRow) -> list[tuple[float, str]]:
        total = zone.zone_m2 or zone.footprint_m2 or zone.classified_m2
        return [(one.area_m2 / total if total else 0.0, colors.get(one.id, _GREY)) for one in zone.classes]

    return {
        "no_class": [(name, area) for name, area in no_class if area > 0],
        "zone_parts": zone_parts,
        "zone_total": lambda k: sum(zone.area_of(k) for zone in areas.zones),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _MatrixRow:
    """A stratum of the error matrix."""

    name: str
    cells: tuple[tuple[int, float | None, bool], ...]
    """(points, part of the area, stratum = reference class)."""
    total: int


def _accuracy_views(found: Assessment) -> dict[str, Any]:
    names = {one.id: one.name for one in found.classes}
    strata = {one.id: one.name for one in found.design.strata}
    largest = max((one.area_m2.high or one.area_m2.value for one in found.classes), default=0.0) or 1.0

    def interval_parts(estimate: Estimate) -> tuple[float | None, float, float | None]:
        low = None if estimate.low is None else max(0.0, estimate.low) / largest
        return low, max(0.0, estimate.value) / largest, None if estimate.high is None else estimate.high / largest

    return {
        "class_name": lambda k: names.get(k, f"class {k}"),
        "matrix": list(_matrix_rows(found, {**names, **strata})),
        "interval_parts": interval_parts,
        "design_words": _design_words(found),
    }


def _matrix_rows(found: Assessment, names: dict[int, str]) -> Iterator[_MatrixRow]:
    for k, (stratum, counts) in enumerate(zip(found.matrix.strata, found.matrix.counts, strict=False)):
        shares = found.matrix.proportions[k] if k < len(found.matrix.proportions) else ()
        cells = tuple(
            (count, shares[j] if j < len(shares) else None, stratum == reference)
            for j, (reference, count) in enumerate(zip(found.matrix.reference_classes, counts, strict=False))
        )
        yield _MatrixRow(name=names.get(stratum, f"stratum {stratum}"), cells=cells, total=sum(counts))


def _design_words(found: Assessment) -> str:
    design, reference = found.design, found.reference
    parts = [design.method or "stratified random sample"]
    if isinstance(design.allocation, str):
        parts.append(f"{design.allocation} allocation")
    if design.seed is not None:
        parts.append(f"seed {design.seed}")
    if reference.interpreters:
        parts.append(f"interpreted by {', '.join(reference.interpreters)}")
    if reference.agreement is not None:
        parts.append(f"interpreters agree on {100 * reference.agreement:.1f} % of the points they share")
    parts += [f"{area / 1e4:,.2f} ha excluded ({reason})" for reason, area in design.excluded_m2.items() if area]
    return "; ".join(parts) + "."


def _map_view(shown: MapContent) -> dict[str, Any]:
    picture, scene, confidence = shown.classes.picture, shown.scene, shown.confidence
    return {
        "classes_uri": _data_uri(picture),
        "width": picture.width,
        "height": picture.height,
        "scene_uri": _data_uri(scene) if scene else None,
        "scene_note": scene.note if scene else "",
        "confidence_uri": _data_uri(confidence.picture) if confidence else None,
        "confidence_width": confidence.picture.width if confidence else 0,
        "confidence_height": confidence.picture.height if confidence else 0,
        "place": _place(shown.classes.bounds),
    }


def _map_document(shown: MapContent) -> dict[str, Any]:
    bounds, drawn = shown.classes.bounds, dict(shown.classes.colors)
    return {
        "bounds": [[bounds.south, bounds.west], [bounds.north, bounds.east]],
        "classes": [
            {"name": one.name, "color": one.color, "drawn": drawn[one.id]} for one in shown.legend if one.id in drawn
        ],
    }


def _place(bounds: MapBounds) -> str:
    west, east = ((one + 180) % 360 - 180 for one in (bounds.west, bounds.east))
    south, north = (f"{abs(one):.4f}° {'N' if one >= 0 else 'S'}" for one in (bounds.south, bounds.north))
    return f"{south} to {north}, {_longitude(west)} to {_longitude(east)}."


def _longitude(degrees: float) -> str:
    return f"{abs(degrees):.4f}° {'E' if degrees >= 0 else 'W'}"


def _data_uri(picture: Picture) -> str:
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.content).decode('ascii')}"


def _inert_json(document: Any) -> Markup:
    """JSON that ends no script element and starts no comment; a parser of JSON reads it back."""
    text = json.dumps(document, ensure_ascii=False, sort_keys=False, allow_nan=False)
    return _trusted(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _trusted(text: str) -> Markup:
    """Text that is put into the page as it is: files of this package, and JSON without a character of markup."""
    return Markup(text)  # noqa: S704


def _policy(style: str, *, scripts: list[str]) -> str:
    """Nothing may be loaded, and only these scripts and this style may act; `style` attributes neither."""
    hashes = " ".join(_hash(one) for one in scripts)
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {hashes}; base-uri 'none'; "
        "form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


@cache
def _style() -> str:
    """Leaflet's style without its pictures, which would be loaded, and ours."""
    leaflet = re.sub(r"url\([^)]*\)", "none", (_LEAFLET / "leaflet.css").read_text(encoding="utf-8"))
    return f"{leaflet}\n{_read('page.css')}"


@cache
def _leaflet_script() -> str:
    return (_LEAFLET / "leaflet.js").read_text(encoding="utf-8")


@cache
def _read(name: str) -> str:
    return (_HERE / "templates" / name).read_text(encoding="utf-8")
