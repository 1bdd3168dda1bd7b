"""Ground that several maps show, counted once: the rules by which one of them has it, on labels in memory."""

from datetime import UTC, datetime
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from geoseg.core.patch import NODATA

Labels = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Rule = Literal["first", "latest", "confident"]
RULES: Final[tuple[Rule, ...]] = get_args(Rule)
RULE_TEXTS: Final[dict[Rule, str]] = {
    "first": "Where maps overlap, ground counts for the first of them that has a class there.",
    "latest": (
        "Where maps overlap, ground counts for the one acquired last that has a class there; maps without a date come "
        "last, and of those of one moment the first."
    ),
    "confident": (
        "Where maps overlap, ground has the class of the map that is most confident there, and between equals that of "
        "the first. A class that a rule of the definition decided has no confidence and yields to any."
    ),
}
"""`first` is of the maps as they are named, or of a batch as its manifest lists them."""


def in_order(rule: Rule, acquired: list[str | None]) -> list[int]:
    """Indices of maps in the order in which they have their ground, from when each was acquired (ISO 8601)."""
    if rule != "latest":
        return list(range(len(acquired)))
    moments = [_seconds(one) for one in acquired]
    return sorted(range(len(acquired)), key=lambda k: (moments[k] is None, -(moments[k] or 0.0), k))


def is_dated(acquired: str | None) -> bool:
    """Whether a text says a moment or a day by which maps can be put in order."""
    return _seconds(acquired) is not None


def fill_first(mosaic: Labels, other: Labels) -> None:
    """Pixels of `mosaic` that have no class take that of `other`; both (height, width), the first is changed."""
    np.copyto(mosaic, other, where=mosaic == NODATA)


def fill_confident(mosaic: Labels, best: Labels, other: Labels, confidence: Labels) -> None:
    """Pixels take class and confidence of `other` where that has a class, and `mosaic` none or a less confident one.

    Args:
        mosaic: (height, width) class ids so far; changed.
        best: their confidence in percent, 0 where there is none; changed.
        other: (height, width) class ids.
        confidence: in percent as a map has it: 255 = none.
    """
    sure = known_confidence(confidence)
    better = (other != NODATA) & ((mosaic == NODATA) | (sure > best))
    np.copyto(mosaic, other, where=better)
    np.copyto(best, sure, where=better)


def known_confidence(confidence: Labels) -> Labels:
    """Confidence in percent with 0 where a map has none."""
    return np.where(confidence == NODATA, np.uint8(0), confidence)


def keep_from_earlier(mine: Labels, other: Labels, inside: Bools) -> Bools:
    """True = a pixel still counts for `mine` beside a map that comes before it.

    What has a class yields to a class; what has none yields to all that the other map covers (`inside`).
    """
    kept: Bools = np.where(mine == NODATA, ~inside, other == NODATA)
    return kept


def keep_from_later(mine: Labels, other: Labels) -> Bools:
    """True = a pixel still counts for `mine` beside a map that comes after it: only what has no class yields."""
    kept: Bools = (mine != NODATA) | (other == NODATA)
    return kept


def _seconds(text: str | None) -> float | None:
    try:
        moment = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
