"""The still map of an archive as SVG shapes, and the lines of longitude and latitude under both maps; no words."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

COLORS: Final = {
    "done": "#2f7d5c",
    "skipped": "#79ae97",
    "failed": "#c0392b",
    "quarantined": "#7b2d8e",
    "pending": "#9aa7a1",
    "running": "#9aa7a1",
    "suspect": "#c98a1b",
}
"""state -> color of its scenes."""
RAMP: Final = ("#ffffcc", "#a1dab4", "#41b6c4", "#2c7fb8", "#253494")
"""From few to many (ColorBrewer YlGnBu, also for people who do not tell red from green)."""
_WIDTH, _HEIGHT, _EDGE = 1000.0, 560.0, 36.0
_LEAST: Final = 0.15
"""Of a degree of longitude in degrees of latitude: maps near a pole are not drawn narrower."""
_SEEN: Final = 5
_STEPS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60)
_LINES: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A meridian or a parallel."""

    degrees: float
    at: float
    """Its place on the drawing."""
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What the template puts into one SVG."""

    width: float
    height: float
    edge: float
    """Around the map, for labels."""
    paths: tuple[tuple[str, str], ...]
    """(color, path)."""
    meridians: tuple[Line, ...]
    parallels: tuple[Line, ...]
    states: tuple[tuple[str, str, int], ...]
    """(state, color, scenes) of what is drawn."""


def draw(document: dict[str, Any]) -> Drawing:
    """The drawing of `ArchiveMap.to_json()`: equirectangular, true to scale at its middle latitude.

    Scenes of one color are one path each; what went wrong is drawn last, on top.
    """
    (south, west), (north, east) = document["bounds"]
    squeeze = _squeeze(document)
    scale = min(_WIDTH / max((east - west) * squeeze, 1e-9), _HEIGHT / max(north - south, 1e-9))
    width, height = (east - west) * squeeze * scale + 2 * _EDGE, (north - south) * scale + 2 * _EDGE

    def at(lon: float, lat: float) -> tuple[float, float]:
        return _EDGE + (lon - west) * squeeze * scale, _EDGE + (north - lat) * scale

    most = _most(document)
    shapes = sorted(document["shapes"], key=lambda shape: shape["state"] in ("failed", "quarantined"))
    paths = tuple(
        (_color(shape, most), _path(at(*point) for point in ring)) for shape in shapes for ring in shape["rings"]
    )
    step = _step(max(east - west, north - south))
    lons, lats = _multiples(step, west, east), _multiples(step, south, north)
    return Drawing(
        width=round(width, 1),
        height=round(height, 1),
        edge=_EDGE,
        paths=paths,
        meridians=tuple(Line(degrees=lon, at=round(at(lon, north)[0], 1), label=_degrees(lon, "EW")) for lon in lons),
        parallels=tuple(Line(degrees=lat, at=round(at(west, lat)[1], 1), label=_degrees(lat, "NS")) for lat in lats),
        states=tuple(_states(document)),
    )


def for_script(document: dict[str, Any], drawing: Drawing) -> dict[str, Any]:
    """What the page's script needs beside the shapes to draw the same."""
    return {
        **document,
        "squeeze": _squeeze(document),
        "meridians": [[one.degrees, one.label] for one in drawing.meridians],
        "parallels": [[one.degrees, one.label] for one in drawing.parallels],
        "states": [list(one) for one in drawing.states],
        "colors": COLORS,
        "ramp": RAMP,
        "most": _most(document),
    }


def _most(document: dict[str, Any]) -> int:
    return max((int(shape.get("count", 1)) for shape in document["shapes"]), default=1)


def _squeeze(document: dict[str, Any]) -> float:
    """Degrees of latitude that a degree of longitude is drawn as."""
    (south, _), (north, _) = document["bounds"]
    return max(_LEAST, math.cos(math.radians((south + north) / 2)))


def _step(span: float) -> float:
    """Degrees between two lines: round, and few lines."""
    return next((one for one in _STEPS if span / one <= _LINES), _STEPS[-1])


def _multiples(step: float, low: float, high: float) -> list[float]:
    return [round(k * step, 6) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _states(document: dict[str, Any]) -> Iterable[tuple[str, str, int]]:
    counts: dict[str, int] = {}
    for shape in document["shapes"]:
        for state, count in shape.get("states", {shape["state"]: 1}).items():
            counts[state] = counts.get(state, 0) + count
    return ((state, COLORS[state], counts[state]) for state in COLORS if state in counts)


def _color(shape: dict[str, Any], most: int) -> str:
    """Of a scene by its state; of a cell by the logarithm of its scenes."""
    if "count" not in shape:
        return COLORS[shape["state"]]
    share = math.log(shape["count"]) / math.log(most) if most > 1 else 1.0
    return RAMP[min(len(RAMP) - 1, int(share * len(RAMP)))]


def _path(points: Iterable[tuple[float, float]]) -> str:
    """Closed; what would be too small to see is a small square."""
    points = list(points)
    (left, right), (top, bottom) = ((min(axis), max(axis)) for axis in zip(*points, strict=True))
    if max(right - left, bottom - top) < _SEEN:
        return f"M{(left + right) / 2:.1f} {(top + bottom) / 2:.1f}m-{_SEEN / 2} -{_SEEN / 2}h{_SEEN}v{_SEEN}h-{_SEEN}z"
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z"


def _degrees(value: float, letters: str) -> str:
    turned = (value + 180) % 360 - 180 if letters == "EW" else value
    return f"{abs(turned):g}°{letters[turned < 0] if turned % 180 else ''}"
