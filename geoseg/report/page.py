"""The HTML page of a report: one file that loads nothing; what it says is decided in `headline` and `facts`."""

import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from geoseg import __version__
from geoseg.core.picture import MapBounds
from geoseg.report.content import MapContent, ReportContent
from geoseg.report.facts import key_facts, provenance
from geoseg.report.frame import content_policy, data_uri, inert_json, make_environment, read_template, trusted
from geoseg.report.headline import make_headline
from geoseg.report.views import accuracy_views, area_views, cautions, change_views, warnings

_LEAFLET: Final = Path(__file__).parent / "vendor" / "leaflet"
"""Leaflet 1.9.4 as released (dist/), but for the comment that names its source map."""


def render_page(content: ReportContent, *, made: datetime | None = None) -> str:
    """The whole page. Every text is escaped; the policy admits only these very scripts and this style."""
    style, script, leaflet = trusted(_style()), trusted(read_template("page.js")), trusted(_leaflet_script())
    kind = "change report" if content.change else "area report"
    return (
        make_environment()
        .get_template("page.html")
        .render(
            **_views(content),
            content=content,
            kind=kind,
            subtitle=_subtitle(content),
            policy=content_policy(style, scripts=[script, leaflet]),
            style=style,
            script=script,
            leaflet=leaflet,
            documents_json=inert_json(content.documents),
            version=__version__,
            made=made or datetime.now(UTC),
        )
    )


def _views(content: ReportContent) -> dict[str, Any]:
    """What the templates show beside the documents themselves."""
    views: dict[str, Any] = {
        "headline": make_headline(content),
        "cautions": cautions(content),
        "warnings": warnings(content),
        "key_facts": key_facts(content),
        "provenance": provenance(content),
        "notes": content.record.notes if content.record and not content.change else (),
        "colors": {one.id: one.color for one in content.map.legend} if content.map else {},
        "map": _map_view(content.map) if content.map else None,
        "map_json": inert_json(_map_document(content.map)) if content.map else None,
    }
    if content.areas is not None:
        views |= area_views(content.areas, views["colors"])
    if content.assessment is not None:
        views |= accuracy_views(content.assessment)
    if content.change is not None:
        views |= change_views(content.change)
    return views


def _subtitle(content: ReportContent) -> str:
    record, change = content.record, content.change
    if change is not None:
        return " → ".join(part for part in (change.map1.date or change.map1.name, change.map2.date or change.map2.name))
    if record is None:
        return ""
    parts = (record.acquired, record.platform, f"processed {record.finished:%Y-%m-%d}")
    return " · ".join(part for part in parts if part)


def _map_view(shown: MapContent) -> dict[str, Any]:
    picture, scene, confidence = shown.classes.picture, shown.scene, shown.confidence
    return {
        "classes_uri": data_uri(picture),
        "width": picture.width,
        "height": picture.height,
        "scene_uri": data_uri(scene) if scene else None,
        "scene_note": scene.note if scene else "",
        "confidence_uri": data_uri(confidence.picture) if confidence else None,
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
    if bounds.east - bounds.west >= 360:
        return f"{_latitudes(bounds)}, all longitudes."
    west, east = ((one + 180) % 360 - 180 for one in (bounds.west, bounds.east))
    return f"{_latitudes(bounds)}, {_longitude(west)} to {_longitude(east)}."


def _latitudes(bounds: MapBounds) -> str:
    south, north = (f"{abs(one):.4f}° {'N' if one >= 0 else 'S'}" for one in (bounds.south, bounds.north))
    return f"{south} to {north}"


def _longitude(degrees: float) -> str:
    return f"{abs(degrees):.4f}° {'E' if degrees >= 0 else 'W'}"


@cache
def _style() -> str:
    """Leaflet's style without its comments and its pictures, which would be loaded, and ours."""
    text = (_LEAFLET / "leaflet.css").read_text(encoding="utf-8")
    leaflet = re.sub(r"url\([^)]*\)", "none", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL))
    return f"{leaflet}\n{read_template('page.css')}"


@cache
def _leaflet_script() -> str:
    return (_LEAFLET / "leaflet.js").read_text(encoding="utf-8")
