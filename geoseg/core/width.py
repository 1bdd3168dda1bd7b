"""Parts of a class that are narrower than a width on the ground. What becomes of them is `mapping_unit`.

Exact for the Euclidean metric on the lattice of half pixels. A lattice point is inside where every pixel it touches
is of the class; the core are the points at least half the width away from the nearest point that is not inside;
what lies within sqrt(2) of half the width of the core is wide enough (sqrt(2), so that right-angled corners stay).
A pixel of no class, or beyond the edge of the map, may be of the class: parts that are only wide enough if it is are
told apart as undetermined.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

from geoseg.core.components import Labels
from geoseg.core.patch import MAX_CLASSES
from geoseg.core.pixel_sides import PixelSides
from geoseg.errors import SettingsError

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

WIDE: Final = 0
"""Wide enough, or not of the class."""
NARROW: Final = 1
UNDETERMINED: Final = 2
BLOCK: Final = 512
"""Pixels of a side of the blocks, from the map's origin, in which pixels have one size: that at the centre."""
TOLERANCE: Final = 2e-3
"""Relative; twice the scale error of a UTM zone, so that two pixels of 10 m are 20 m wide in all of it."""
MAX_HALO: Final = 512
"""Pixels around a block that are looked at: more takes minutes and says nothing of a width."""
_OTHER, _OF_CLASS, _UNKNOWN = 0, 1, 2


def find_narrow(
    rows: Iterable[tuple[int, Labels]], *, classes: Iterable[int], min_width_m: float, sides: PixelSides
) -> Iterator[tuple[int, Labels]]:
    """(first row, (height, full width) WIDE, NARROW or UNDETERMINED) of a map, in rows of whole blocks.

    Args:
        rows: (first row, (height, full width) labels) of the whole map from the top, cut in any way.
        classes: class ids that together are the class.
        min_width_m: parts narrower than this are NARROW.
        sides: of the map's grid; pixels are taken as rectangles, also on a skewed grid.

    Memory grows with one row of blocks.

    Raises:
        SettingsError: the width is more pixels than can be looked at together.
        SceneError: a pixel lies off the projection.
    """
    sizes = _block_sizes(sides)
    halo = _halo(min_width_m, sizes)
    kinds = np.full(256, _OTHER, np.uint8)
    kinds[list(classes)] = _OF_CLASS
    kinds[MAX_CLASSES:] = _UNKNOWN
    height, width = sides.shape
    beyond = np.full((halo, width), MAX_CLASSES, np.uint8)
    held = [np.full((halo, width + 2 * halo), _UNKNOWN, np.uint8)]
    first = 0  # row of the map from which the next blocks are due; the rows held begin `halo` above it
    for part in chain((labels for _, labels in rows), [beyond]):
        held.append(np.pad(kinds[part], ((0, 0), (halo, halo)), constant_values=_UNKNOWN))
        while first < height and sum(map(len, held)) >= (count := min(BLOCK, height - first)) + 2 * halo:
            held = [np.concatenate(held)]
            row_of_blocks = held[0][: count + 2 * halo]
            yield first, _find_in_row(row_of_blocks, halo, min_width_m / 2, [one[first // BLOCK] for one in sizes])
            held = [held[0][count:]]
            first += count


def _block_sizes(sides: PixelSides) -> tuple[Floats, Floats]:
    """(height, width) in metres of the pixels of each block, each (rows of blocks, columns of blocks)."""
    rows, cols = (
        (np.arange(0, size, BLOCK) + np.minimum(np.arange(BLOCK, size + BLOCK, BLOCK), size)) / 2
        for size in sides.shape
    )
    return sides.metres_at(rows, cols)


def _halo(min_width_m: float, sizes: tuple[Floats, Floats]) -> int:
    """Pixels around a block that may decide about its pixels."""
    pixel_m = float(min(one.min() for one in sizes))
    reach = (1 + math.sqrt(2)) * (1 + TOLERANCE) * min_width_m / 2 / pixel_m
    if not reach < MAX_HALO - 2:
        raise SettingsError(
            f"min_width_m {min_width_m:g} is {min_width_m / pixel_m:.0f} pixels of this map, more than can be looked "
            f"at together: at most {MAX_HALO * 0.8 * pixel_m:.3g} m"
        )
    return math.ceil(reach) + 2


def _find_in_row(kinds: Labels, halo: int, radius_m: float, sizes: list[Floats]) -> Labels:
    """WIDE, NARROW, UNDETERMINED of a row of blocks, from the kinds of its pixels with a halo all around."""
    height, width = (size - 2 * halo for size in kinds.shape)
    found = np.full((height, width), WIDE, np.uint8)
    for col in range(0, width, BLOCK):
        around = kinds[:, col : min(col + BLOCK, width) + 2 * halo]
        inner = around[halo:-halo, halo:-halo] == _OF_CLASS
        if not inner.any() or (around == _OF_CLASS).all():
            continue
        pixel_m = float(sizes[0][col // BLOCK]), float(sizes[1][col // BLOCK])
        part = found[:, col : col + BLOCK]
        if (around == _UNKNOWN).any():
            part[inner & ~_is_wide(around == _OF_CLASS, radius_m, pixel_m)[halo:-halo, halo:-halo]] = UNDETERMINED
        if (around == _OTHER).any():
            part[inner & ~_is_wide(around != _OTHER, radius_m, pixel_m)[halo:-halo, halo:-halo]] = NARROW
    return found


def _is_wide(inside: Mask, radius_m: float, pixel_m: tuple[float, float]) -> Mask:
    """True where the centre of a pixel is within sqrt(2) radii of the core of `inside`.

    Outside of the array nothing is: neither a reason against a core nor a core.
    """
    step_m = pixel_m[0] / 2, pixel_m[1] / 2
    core = ~_is_near(~_to_lattice(inside), radius_m * (1 - TOLERANCE), step_m, every=1)
    return _is_near(core, math.sqrt(2) * radius_m * (1 + TOLERANCE), step_m, every=2)


def _to_lattice(inside: Mask) -> Mask:
    """(2 h - 1, 2 w - 1) points from the first to the last centre, half a pixel apart; True where all around is."""
    lattice = np.empty((2 * inside.shape[0] - 1, 2 * inside.shape[1] - 1), np.bool_)
    lattice[::2, ::2] = inside
    lattice[::2, 1::2] = inside[:, :-1] & inside[:, 1:]
    lattice[1::2] = lattice[:-2:2] & lattice[2::2]
    return lattice


def _is_near(source: Mask, radius_m: float, step_m: tuple[float, float], *, every: int) -> Mask:
    """True at each `every`-th point, both ways, that is less than `radius_m` from a True point of `source`.

    The distance along the columns first, then for each shift along the rows what the circle leaves: the same as a
    Euclidean distance transform cut at the radius, in the time of a few passes.
    """
    down = _steps_to_source(source)[::every]
    near = np.zeros((down.shape[0], -(-down.shape[1] // every)), np.bool_)
    for shift in range(math.ceil(radius_m / step_m[1])):
        reach_m = math.sqrt(radius_m**2 - (shift * step_m[1]) ** 2)
        reached = down <= math.ceil(reach_m / step_m[0]) - 1
        after = reached[:, shift::every]
        near[:, : after.shape[1]] |= after
        start = -(-shift // every)
        before = reached[:, start * every - shift :: every]
        near[:, start:] |= before[:, : near.shape[1] - start]
    return near


def _steps_to_source(source: Mask) -> npt.NDArray[np.int16]:
    """Points along the column to the nearest True one; 10000 and more where the column has none."""
    index = np.arange(len(source), dtype=np.int16)[:, None]
    above = np.maximum.accumulate(np.where(source, index, np.int16(-10_000)), axis=0)
    below = np.minimum.accumulate(np.where(source, index, np.int16(30_000))[::-1], axis=0)[::-1]
    return np.minimum(index - above, below - index)
