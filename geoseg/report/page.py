"""The HTML page of a report: one file that loads nothing; what it says is decided in `headline` and `facts`."""

from datetime import datetime
from typing import Any

from geoseg.core.picture import MapBounds
from geoseg.report.content import MapContent, ReportContent
from geoseg.report.facts import key_facts, provenance
from geoseg.report.frame import data_uri, inert_json
from geoseg.report.headline import make_headline
from geoseg.report.shell import render
from geoseg.report.views import accuracy_views, area_views, cautions, change_views, warnings


def render_page(content: ReportContent, *, made: datetime | None = None) -> str:
    """The whole page."""
    values = {
        **_views(content),
        "content": content,
        "kind": "change report" if content.change else "area report",
        "subtitle": _subtitle(content),
        "documents_json": inert_json(content.documents),
    }
    return render("page.html", values, scripts=("page.js",), styles=("page.css",), made=made)


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
