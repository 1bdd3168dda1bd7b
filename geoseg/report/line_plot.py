"""Figures over steps as the coordinates of a plot; the SVG itself is in the templates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

COLORS: Final = ("#0e5a48", "#b2562b", "#3b6ea8", "#8a5a9e", "#8a8a1e", "#a33a4a", "#4b7f73", "#56645e")
_LEFT, _RIGHT, _TOP, _BOTTOM = 60.0, 630.0, 10.0, 210.0
_POINTS_MAX: Final = 400
"""Of a line; more are averaged, so that a page of a million steps stays small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A figure over steps."""

    name: str
    points: Sequence[tuple[float, float]]
    """(step, value), steps ascending, values finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line as it is drawn."""

    name: str
    points: str
    """Of an SVG polyline."""
    color: str
    width: float = 1.8
    opacity: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePlot:
    """A plot as it is drawn, in a box of 640 x 240."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def plot_series(title: str, series: Sequence[Series]) -> LinePlot | None:
    """The plot of several series on common axes; None without a point."""
    given = [Series(name=one.name, points=_thin(one.points)) for one in series if one.points]
    if not given:
        return None
    steps = [x for one in given for x, _ in one.points]
    values = [y for one in given for _, y in one.points]
    x_axis, y_axis = _axis(min(steps), max(steps)), _axis(min(values), max(values))
    lines = tuple(
        Line(
            name=one.name,
            points=" ".join(f"{_x(x, x_axis):.1f},{_y(y, y_axis):.1f}" for x, y in one.points),
            color=COLORS[k % len(COLORS)],
        )
        for k, one in enumerate(given)
    )
    return LinePlot(
        title=title,
        lines=lines,
        x_ticks=tuple((round(_x(one, x_axis), 1), f"{one:,.12g}") for one in x_axis),
        y_ticks=tuple((round(_y(one, y_axis), 1), f"{one:.12g}") for one in y_axis),
    )


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of equally many neighbours, each at the last step of them."""
    size = -(-len(points) // _POINTS_MAX)
    parts = [points[k : k + size] for k in range(0, len(points), size)]
    return [(part[-1][0], sum(y for _, y in part) / len(part)) for part in parts]


def _axis(low: float, high: float) -> list[float]:
    """Round numbers from at most `low` to at least `high`: 1, 2 or 5 times a power of ten apart."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(one * power for one in (1, 2, 5, 10) if one * power >= span / 4 * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, max(last, first + 1) + 1)]


def _x(value: float, axis: Sequence[float]) -> float:
    return _LEFT + (_RIGHT - _LEFT) * (value - axis[0]) / (axis[-1] - axis[0])


def _y(value: float, axis: Sequence[float]) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * (value - axis[0]) / (axis[-1] - axis[0])
