"""Spatial folds: which images are held out together, so that a score says what an unseen region would give."""

from collections.abc import Mapping
from typing import TypeAlias

Position: TypeAlias = tuple[float, float]
"""(longitude, latitude) in degrees."""


def spatial_folds(positions: Mapping[str, Position], *, count: int) -> tuple[tuple[str, ...], ...]:
    """Names by fold: fold 0 is the southern band, the rest are meridian strips from west to east.

    Every name is in exactly one fold and sizes differ by at most one; ties are broken by name. The southern band
    is a fold of its own because a model is asked to generalise southwards.

    Raises:
        ValueError: fewer names than folds.
    """
    if count < 2 or len(positions) < count:
        raise ValueError(f"{len(positions)} images cannot be split into {count} folds (at least 2)")
    by_latitude = sorted(positions, key=lambda name: (positions[name][1], name))
    south_size = -(-len(positions) // count)
    south, north = by_latitude[:south_size], by_latitude[south_size:]
    by_longitude = sorted(north, key=lambda name: (positions[name][0], name))
    folds = [tuple(sorted(south))]
    start = 0
    for strip in range(count - 1):
        stop = round(len(by_longitude) * (strip + 1) / (count - 1))
        folds.append(tuple(sorted(by_longitude[start:stop])))
        start = stop
    return tuple(folds)
