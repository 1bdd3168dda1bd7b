"""Drawing a stratified random sample from streamed rows: two passes, memory bounded, no list of a map's pixels.

A draw is a random point of the stratum's ground area; the pixel that holds it is taken, and a pixel met a second time
is drawn again. So where pixels have one area this is simple random sampling without replacement. On other grids a
pixel of area a in a stratum of area A is met by T draws with the chance 1 - (1 - a / A)^T, in proportion to its area
only while few of the pixels are drawn; so each point is weighed by a over that chance, as of Hajek (1971), which is
its area alone where every pixel was drawn.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from geoseg.accuracy.eligible import BlockSource, StratumRows
from geoseg.core.area import PixelArea
from geoseg.core.map_digest import PixelDigest
from geoseg.core.patch import MAX_CLASSES
from geoseg.core.tally import AreaTally, exact_sums, join_limbs, tally_labels
from geoseg.core.window import Window
from geoseg.errors import ProductError

_WEIGHT_BITS: Final = 30
"""Of the largest weight: sums over a block stay exact, and rounding moves a chance by 1e-9 of the largest at most."""
_MAX_DRAWS: Final = 1 << 22
"""Of a stratum from which nearly every pixel is wanted; beyond it the drawing gives up."""
_ALIKE: Final = 1e-4
"""Weights that differ by less are 1: what the pixels of one zone differ by moves no digit that is printed."""
_ORDER_STREAM: Final = 1 << 20
"""Stream of random numbers that orders the sample; strata use their ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a first pass over a map finds."""

    pixels_sha256: str
    """Of the shape and the class ids row by row: the same for every file that decodes to this map."""
    strata: AreaTally
    """By stratum label, also those that mark what is not in the population."""
    classes: AreaTally
    """By map class, inside the population only."""
    mapped: AreaTally
    """By map class, the whole map."""
    weights: Mapping[int, Sequence[int]]
    """Stratum id -> sum of the pixels' weights in each block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A pixel of the sample."""

    row: int
    col: int
    stratum: int
    map_class: int
    ground: int
    """Its area in units of `PixelWeights`."""
    weight: float = 1.0
    """Ground that it stands for, over the mean of its stratum's points."""


class PixelWeights:
    """Whole numbers proportional to ground area, the same whatever window they are asked in."""

    def __init__(self, pixel_area: PixelArea) -> None:
        self._area = pixel_area
        height, width = pixel_area.grid.shape
        rows = np.unique(np.linspace(0, height - 1, 9).astype(int))
        most = max(float(pixel_area.units_of(Window(row=int(r), col=0, height=1, width=width)).max()) for r in rows)
        self._scale = 2.0 ** (_WEIGHT_BITS - math.frexp(most)[1])

    def of(self, row: int, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """(height, width) weights under full-width rows, whole numbers from 1 to 2^31."""
        window = Window(row=row, col=0, height=labels.shape[0], width=labels.shape[1])
        whole = np.maximum(np.rint(self._area.units_of(window) * self._scale), 1.0)
        return np.broadcast_to(whole, labels.shape)


def survey(source: BlockSource, pixel_area: PixelArea) -> Survey:
    """One pass over the map.

    Raises:
        ProductError: a block cannot be read.
    """
    weights_of = PixelWeights(pixel_area)
    digest = PixelDigest(pixel_area.grid.shape)
    strata = classes = mapped = AreaTally.zero()
    sums: dict[int, list[int]] = {}
    for number, block in enumerate(source()):
        digest.add(block.labels)
        window = Window(row=block.row, col=0, height=block.labels.shape[0], width=block.labels.shape[1])
        found = tally_labels(block.strata, window, pixel_area)
        strata += found
        inside = block.strata < MAX_CLASSES
        mapped += _without_others(
            found if np.array_equal(block.strata, block.labels) else tally_labels(block.labels, window, pixel_area)
        )
        classes += (
            _without_others(found)
            if np.array_equal(block.strata[inside], block.labels[inside])
            else _without_others(tally_labels(np.where(inside, block.labels, 255).astype(np.uint8), window, pixel_area))
        )
        weights = weights_of.of(block.row, block.labels).ravel()
        high, low = exact_sums(block.strata.ravel().astype(np.intp), weights, 256)
        for label in found.pixels:
            if label < MAX_CLASSES:
                own = sums.setdefault(label, [])
                own += [0] * (number - len(own))
                own.append(join_limbs(high[label], low[label]))
    return Survey(pixels_sha256=digest.sha256, strata=strata, classes=classes, mapped=mapped, weights=sums)


def draw(source: BlockSource, found: Survey, counts: Mapping[int, int], *, seed: int, area: PixelArea) -> list[Drawn]:
    """The sample in random order; the same for one map, counts and seed, however its rows are cut.

    Args:
        source: the map that was surveyed, in the same blocks.
        found: of the survey.
        counts: stratum id -> points; at most its pixels.
        seed: any whole number from 0.
        area: of the map's grid.

    Raises:
        ProductError: the pixels of a stratum differ so much in area that its points are not found.
    """
    drawn: dict[int, list[Drawn]] = {}
    wanted = {stratum: count for stratum, count in counts.items() if count > 0}
    tries = {stratum: _draws_for(count, found.strata.pixels[stratum]) for stratum, count in wanted.items()}
    weights_of = PixelWeights(area)
    while open_strata := {stratum: count for stratum, count in tries.items() if stratum not in drawn}:
        places = {
            stratum: _positions(sum(found.weights[stratum]), count, seed=seed, stream=stratum)
            for stratum, count in open_strata.items()
        }
        for stratum, pixels in _resolve(source, found, places, weights_of).items():
            distinct = list(dict.fromkeys(pixels))
            if len(distinct) >= wanted[stratum]:
                taken = distinct[: wanted[stratum]]
                everything = len(taken) == found.strata.pixels[stratum]
                draws = math.inf if everything else pixels.index(taken[-1]) + 1
                drawn[stratum] = _weighed(taken, draws, sum(found.weights[stratum]))
            elif tries[stratum] >= _MAX_DRAWS:
                raise ProductError(
                    f"{wanted[stratum]} of the {found.strata.pixels[stratum]} pixels of stratum {stratum} were not "
                    "all met, their areas differ too much: ask for fewer points there"
                )
            tries[stratum] = min(4 * tries[stratum], max(_MAX_DRAWS, tries[stratum]))
    together = [one for stratum in sorted(drawn) for one in drawn[stratum]]
    order = np.argsort(_raw(seed, _ORDER_STREAM, len(together)), kind="stable")
    return [together[index] for index in order]


def _without_others(tally: AreaTally) -> AreaTally:
    kept = [label for label in tally.pixels if label < MAX_CLASSES]
    return AreaTally(
        pixels={label: tally.pixels[label] for label in kept},
        units={label: tally.units[label] for label in kept},
        unit_m2=tally.unit_m2,
    )


def _weighed(points: Sequence[Drawn], draws: float, whole: int) -> list[Drawn]:
    """The points with their weights, 1 on average.

    Args:
        points: of one stratum.
        draws: after which they had been met.
        whole: area of the stratum in units of `PixelWeights`.
    """
    ground = np.array([one.ground for one in points], np.float64)
    with np.errstate(divide="ignore"):  # a stratum of one pixel
        stands_for = ground / -np.expm1(draws * np.log1p(-ground / whole))
    weights = stands_for / stands_for.mean()
    if weights.max() - weights.min() < _ALIKE:
        return list(points)
    return [replace(one, weight=round(float(weight), 9)) for one, weight in zip(points, weights, strict=True)]


def _draws_for(count: int, pixels: int) -> int:
    """Draws after which `count` different ones of `pixels` have been met, nearly always."""
    left = max(pixels - count, 0.5)
    expected = pixels * math.log(pixels / left) if pixels > 1 else 1.0
    return math.ceil(expected * 1.1 + 4 * math.sqrt(expected)) + 16


def _positions(total: int, count: int, *, seed: int, stream: int) -> list[int]:
    """Random whole numbers below `total`; asked for more, it begins with the same."""
    return [int(raw) * total >> 64 for raw in _raw(seed, stream, count)]


def _raw(seed: int, stream: int, count: int) -> npt.NDArray[np.uint64]:
    """64-bit random numbers; numpy keeps seeds and raw streams the same in all its versions (NEP 19)."""
    numbers: npt.NDArray[np.uint64] = np.random.PCG64(np.random.SeedSequence([seed, stream])).random_raw(count)
    return numbers


def _resolve(
    source: BlockSource, found: Survey, places: Mapping[int, Sequence[int]], weights_of: PixelWeights
) -> dict[int, list[Drawn]]:
    """The pixel at each position of each stratum, in the order of the positions."""
    ahead = {stratum: _Ahead(positions, found.weights[stratum]) for stratum, positions in places.items()}
    for number, block in enumerate(source()):
        hit = {stratum: local for stratum, one in ahead.items() if (local := one.in_block(number)) is not None}
        if not hit:
            continue
        weights = weights_of.of(block.row, block.labels).ravel()
        for stratum, (indices, offsets) in hit.items():
            ahead[stratum].put(indices, _pixels_at(block, weights, stratum, offsets))
    return {stratum: one.pixels() for stratum, one in ahead.items()}


def _pixels_at(
    block: StratumRows, weights: npt.NDArray[np.float64], stratum: int, offsets: npt.NDArray[np.int64]
) -> Iterator[Drawn]:
    """Pixels of the stratum in a block at offsets into its summed weights, row-major."""
    where = np.flatnonzero(block.strata.ravel() == stratum)
    summed = np.cumsum(weights[where].astype(np.int64))
    for pixel in where[np.searchsorted(summed, offsets, side="right")]:
        row, col = divmod(int(pixel), block.labels.shape[1])
        yield Drawn(
            row=block.row + row,
            col=col,
            stratum=stratum,
            map_class=int(block.labels[row, col]),
            ground=int(weights[pixel]),
        )


class _Ahead:
    """The positions of one stratum, sorted, and what has been found at them."""

    def __init__(self, positions: Sequence[int], block_weights: Sequence[int]) -> None:
        self._order = sorted(range(len(positions)), key=positions.__getitem__)
        self._sorted = [positions[index] for index in self._order]
        self._starts = [0]
        for weight in block_weights:
            self._starts.append(self._starts[-1] + weight)
        self._found: list[Drawn | None] = [None] * len(positions)

    def in_block(self, number: int) -> tuple[list[int], npt.NDArray[np.int64]] | None:
        """(which positions, their offsets) in the block of that number."""
        if number + 1 >= len(self._starts):
            return None
        start, stop = (bisect_left(self._sorted, self._starts[number + k]) for k in (0, 1))
        if start == stop:
            return None
        offsets = [position - self._starts[number] for position in self._sorted[start:stop]]
        return self._order[start:stop], np.array(offsets, np.int64)

    def put(self, indices: Iterable[int], pixels: Iterable[Drawn]) -> None:
        for index, pixel in zip(indices, pixels, strict=True):
            self._found[index] = pixel

    def pixels(self) -> list[Drawn]:
        """In the order of the positions."""
        return [one for one in self._found if one is not None]
