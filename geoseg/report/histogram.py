"""How many values lie between round numbers; what they are of is not its matter."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

_BINS: Final = 24
_TAIL: Final = 0.99
"""Of the values lie below the last edge; the others are counted together, so that one of them does not hide all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts between edges."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    """One less than edges; the last edge itself lies inside."""
    beyond: int
    """Values above the last edge."""
    median: float
    largest: float


def make_histogram(values: Sequence[float]) -> Histogram | None:
    """Of values that are not negative; None of none."""
    if not len(values):
        return None
    found = np.asarray(values, dtype=np.float64)
    low, high = float(found.min()), float(np.quantile(found, _TAIL))
    step = _round_step((high - low) / (_BINS - 2) or max(high, 1e-3) / _BINS)
    first, last = math.floor(low / step), math.ceil(high / step)
    edges = np.arange(first, max(last, first + 1) + 1) * step
    counts, _ = np.histogram(found, bins=edges)
    return Histogram(
        edges=tuple(float(f"{edge:.6g}") for edge in edges),
        counts=tuple(int(one) for one in counts),
        beyond=int((found > edges[-1]).sum()),
        median=float(np.median(found)),
        largest=float(found.max()),
    )


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
