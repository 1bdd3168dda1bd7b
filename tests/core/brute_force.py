"""What the rules of a definition must give, by the plainest means: whole maps, flood fill, everything looked at anew.

Written from the wording of the rules alone; shares no code with what it is compared to.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.uint8]
Pixel = tuple[int, int]
SIDES = ((0, 1), (1, 0), (0, -1), (-1, 0))
CORNERS = ((1, 1), (1, -1), (-1, 1), (-1, -1))


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a pixel is on the ground."""

    units: npt.NDArray[np.float64]
    """(height, width) whole numbers: area in units."""
    upper_mm: npt.NDArray[np.int64]
    """(height, width) length of the side to the pixel above."""
    left_mm: npt.NDArray[np.int64]

    def area(self, pixels: Collection[Pixel]) -> int:
        return sum(int(self.units[one]) for one in pixels)

    def side(self, one: Pixel, other: Pixel) -> int:
        """Millimetres between two pixels side by side."""
        lower = max(one, other)
        return int(self.upper_mm[lower] if one[1] == other[1] else self.left_mm[lower])


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A map after one rule."""

    labels: Labels
    changed: int
    undetermined: int
    undetermined_pixels: set[Pixel]


def around(pixel: Pixel, connectivity: int) -> list[Pixel]:
    steps = SIDES if connectivity == 4 else SIDES + CORNERS
    return [(pixel[0] + step[0], pixel[1] + step[1]) for step in steps]


def flood(labels: Labels, kind_of: Callable[[int], object], connectivity: int) -> list[list[Pixel]]:
    """Connected pixels of one kind; None = no kind. In the order of their first pixel, which is each list's first."""
    height, width = labels.shape
    kinds = {(r, c): kind_of(int(labels[r, c])) for r in range(height) for c in range(width)}
    seen: set[Pixel] = set()
    found = []
    for start, kind in kinds.items():
        if kind is None or start in seen:
            continue
        seen.add(start)
        region = [start]
        for pixel in region:
            for other in around(pixel, connectivity):
                if other in kinds and other not in seen and kinds[other] == kind:
                    seen.add(other)
                    region.append(other)
        found.append(region)
    return found


def is_cut(labels: Labels, region: Collection[Pixel], connectivity: int) -> bool:
    """At the edge of the map or beside no class."""
    height, width = labels.shape
    for pixel in region:
        for row, col in around(pixel, connectivity):
            if not (0 <= row < height and 0 <= col < width):
                return True
            if labels[row, col] >= 200:
                return True
    return False


def merge_small(
    labels: Labels, together: list[set[int]], *, min_units: float, connectivity: int, ground: Ground
) -> Expected:
    """Patches of each of the sets of classes; all else is a region per class."""

    def kind_of(label: int) -> object:
        for group in together:
            if label in group:
                return ("patch", min(group))
        return None if label >= 200 else ("other", label)

    labels = labels.copy()
    changed = 0
    while True:
        regions = flood(labels, kind_of, connectivity)
        small = [
            one
            for one in regions
            if kind_of(int(labels[one[0]]))[0] == "patch"  # type: ignore[index]
            and ground.area(one) < min_units
        ]
        due = [one for one in small if not is_cut(labels, one, connectivity)]
        due.sort(key=lambda one: (ground.area(one), one[0]))
        for patch in due:
            receiver = _longest(labels, patch, [one for one in regions if one is not patch], ground)
            if receiver is not None:
                for pixel in patch:
                    labels[pixel] = receiver
                changed += 1
                break
        else:
            return Expected(
                labels=labels,
                changed=changed,
                undetermined=len(small) - len(due),
                undetermined_pixels={pixel for one in small if one not in due for pixel in one},
            )


def _longest(labels: Labels, patch: list[Pixel], regions: list[list[Pixel]], ground: Ground) -> int | None:
    """The class of the region with the longest border, then of the lowest class, then of the first pixel."""
    ranked = []
    for region in regions:
        members = set(region)
        length = sum(ground.side(one, other) for one in patch for other in around(one, 4) if other in members)
        if length:
            ranked.append((-length, int(labels[region[0]]), region[0]))
    return min(ranked)[1] if ranked else None


def fill_gaps(labels: Labels, cover: set[int], *, min_units: float, connectivity: int, ground: Ground) -> Expected:
    """Gaps, `connectivity` being theirs."""
    gaps = flood(labels, lambda one: None if one >= 200 or one in cover else "gap", connectivity)
    small = [one for one in gaps if ground.area(one) < min_units]
    cut = [one for one in small if is_cut(labels, one, connectivity)]
    filled = labels.copy()
    for gap in small:
        if gap in cut:
            continue
        border: dict[int, int] = {}
        for pixel in gap:
            for other in around(pixel, 4):
                if other not in gap:
                    border[int(labels[other])] = border.get(int(labels[other]), 0) + ground.side(pixel, other)
        winner = sorted(border, key=lambda one: (-border[one], one))[0]
        for pixel in gap:
            filled[pixel] = winner
    return Expected(
        labels=filled,
        changed=len(small) - len(cut),
        undetermined=len(cut),
        undetermined_pixels={pixel for one in cut for pixel in one},
    )


def wide_pixels(inside: npt.NDArray[np.bool_], *, radius_m: float, pixel_m: tuple[float, float]) -> set[Pixel]:
    """Pixels near the core of `inside`; what lies beyond the array counts as inside."""
    height, width = inside.shape
    reach = math.ceil(3 * radius_m / min(pixel_m)) + 1
    padded = np.pad(inside, reach, constant_values=True)
    rows, cols = 2 * padded.shape[0] + 1, 2 * padded.shape[1] + 1
    is_inside = np.ones((rows, cols), np.bool_)
    for row, col in np.argwhere(~padded).tolist():
        is_inside[2 * row : 2 * row + 3, 2 * col : 2 * col + 3] = False
    half = np.array(pixel_m) / 2
    points, outside = np.argwhere(is_inside) * half, np.argwhere(~is_inside) * half
    core = points[_nearest(points, outside) >= radius_m * (1 - 0.002)]
    centres = [(row, col) for row in range(height) for col in range(width)]
    away = _nearest((2 * (np.array(centres) + reach) + 1) * half, core)
    return {one for one, distance in zip(centres, away, strict=True) if distance <= math.sqrt(2) * radius_m * 1.002}


def _nearest(points: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Distance of each point to the nearest of the others."""
    return np.array([np.hypot(*(others - one).T).min(initial=math.inf) for one in points])


def take_off_narrow(
    labels: Labels,
    cover: set[int],
    *,
    min_width_m: float,
    pixel_m: tuple[float, float],
    connectivity: int,
    ground: Ground,
) -> Expected:
    """Narrow parts."""
    is_cover = np.isin(labels, list(cover))
    may_be = wide_pixels(is_cover | (labels >= 200), radius_m=min_width_m / 2, pixel_m=pixel_m)
    surely = _wide_alone(is_cover, min_width_m / 2, pixel_m)
    marked = labels.copy()
    marked[is_cover] = min(cover)
    free = [one for one in range(200) if one not in set(np.unique(labels)) | cover]
    for pixel in zip(*np.nonzero(is_cover), strict=True):
        place = (int(pixel[0]), int(pixel[1]))
        if place not in may_be:
            marked[place] = free[0]
        elif place not in surely:
            marked[place] = free[1]
    regions = flood(marked, lambda one: None if one >= 200 else one, connectivity)
    receivers = [one for one in regions if marked[one[0]] not in {*free[:2], min(cover)}]
    result, changed = labels.copy(), 0
    for part in regions:
        receiver = _longest(labels, part, receivers, ground) if marked[part[0]] == free[0] else None
        if receiver is not None:
            changed += 1
            for place in part:
                result[place] = receiver
    cut = [one for one in regions if marked[one[0]] == free[1]]
    return Expected(
        labels=result,
        changed=changed,
        undetermined=len(cut),
        undetermined_pixels={place for one in cut for place in one},
    )


def _wide_alone(is_cover: npt.NDArray[np.bool_], radius_m: float, pixel_m: tuple[float, float]) -> set[Pixel]:
    """Wide pixels if nothing beyond the map is of the cover."""
    far = math.ceil(3 * radius_m / min(pixel_m)) + 2
    collar = np.pad(is_cover, far)
    return {(row - far, col - far) for row, col in wide_pixels(collar, radius_m=radius_m, pixel_m=pixel_m)}
