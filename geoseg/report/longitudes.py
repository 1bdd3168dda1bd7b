"""Which longitudes many scenes cover, and where a map of them is best cut open; latitudes need no such thing."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

_PIECES: Final = 1000
"""Intervals that are kept apart; beyond twice as many the nearest become one."""


@dataclass(slots=True)
class Longitudes:
    """The intervals seen so far, in -180 … 180; memory does not grow with their number."""

    _pieces: list[tuple[float, float]] = field(default_factory=list)

    def add(self, west: float, east: float) -> None:
        """An interval in degrees; west is larger than east where 180 degrees lies inside."""
        self._pieces += [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
        if len(self._pieces) > 4 * _PIECES:
            self._pieces = _thin(_merge(self._pieces))

    @property
    def arc(self) -> tuple[float, float] | None:
        """(west, east) of the smallest arc that holds all: west in -180 … 180, east up to 360 more; None of nothing."""
        pieces = _merge(self._pieces)
        if not pieces:
            return None
        gaps = [(after[0] - before[1], before[1], after[0]) for before, after in pairwise(pieces)]
        around = pieces[0][0] + 360 - pieces[-1][1]
        widest = max(gaps, default=(0.0, 0.0, 0.0))
        if around >= widest[0]:
            return pieces[0][0], pieces[-1][1]
        return widest[2], widest[1] + 360

    def bounds(self) -> tuple[float, float]:
        """(west, east) as RFC 7946 has them: west is larger where 180 degrees lies inside; of nothing all of them."""
        west, east = self.arc or (-180.0, 180.0)
        return west, east if east <= 180 else east - 360


def _merge(pieces: list[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for west, east in sorted(pieces):
        if merged and west <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], east))
        else:
            merged.append((west, east))
    return merged


def _thin(pieces: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Closes the narrowest gaps until few pieces are left."""
    if len(pieces) <= _PIECES:
        return pieces
    gaps = [after[0] - before[1] for before, after in pairwise(pieces)]
    limit = sorted(gaps)[len(pieces) - _PIECES]
    kept = [pieces[0]]
    for gap, piece in zip(gaps, pieces[1:], strict=True):
        kept[-1:] = [(kept[-1][0], piece[1])] if gap < limit else [kept[-1], piece]
    return kept
