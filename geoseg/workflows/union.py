"""Areas of maps that overlap, each square metre of ground counted once; how the maps become one is `mosaic`."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from geoseg.core.area import PixelArea
from geoseg.core.claimed import (
    Rule,
    fill_confident,
    in_order,
    is_dated,
    keep_from_earlier,
    keep_from_later,
    known_confidence,
)
from geoseg.core.neighbours import Neighbours, balls_of
from geoseg.core.patch import NODATA
from geoseg.core.placement import Placement, common, place_on
from geoseg.core.tally import AreaTally, tally_labels
from geoseg.core.union_area import UnionArea
from geoseg.core.window import Window
from geoseg.raster.mosaic import LayerReader, Seen
from geoseg.raster.safety import raster_env
from geoseg.workflows.mosaic_input import KnownLayer, RecordedArea, agree
from geoseg.workflows.progress import Progress, Silent

_UNTOUCHED: Final = 254
"""In memory: a pixel of which nothing is to be counted."""
_CACHE_MB: Final = 16
"""More would be faster by nothing: a block is asked for again soon or not at all."""
_SIDE: Final = (512, 2048)
"""(rows, columns) looked at together."""
DISJOINT: Final = "No map overlaps another: the sum over the maps is the area of their union."
MIXED: Final = (
    "Maps on different grids were compared at pixel centres: a seam between two of them may lie up to half a pixel to "
    "either side, where ground is counted twice or not at all. Along seams of grids that are turned to each other this "
    "evens out; where their rows and columns are parallel it does not."
)

Labels = npt.NDArray[np.uint8]


def measure_union(maps: Sequence[KnownLayer], rule: Rule, *, progress: Progress | None = None) -> UnionArea:
    """Areas by class of what `maps` cover together; only pixels that several may cover are read.

    A pixel counts, with its area on the ellipsoid on its own grid, in the first map of the order that has a class at
    its centre; where none has one, in the first map that covers it. With `confident` it counts there as well, as the
    class that the most confident map has at its centre. Exact on one lattice.

    Raises:
        ProductError: the maps have other classes, or one is damaged.
    """
    tell = progress or Silent()
    legend, agreed = agree(maps)
    order = [agreed[k] for k in in_order(rule, [one.acquired for one in agreed])]
    neighbours = Neighbours(balls_of(one.layer.classmap.grid for one in order))
    tell.begin("scenes", len(order))
    shares: list[_Share] = []
    with raster_env(cache_mb=_CACHE_MB), LayerReader() as reader:
        for index in range(len(order)):
            shares.append(_Count(order, index, neighbours, rule).share(reader))
            tell.advance()
    return UnionArea(
        rule=rule,
        legend=legend,
        maps=len(order),
        pixels={one.id: sum(share.pixels.get(one.id, 0) for share in shares) for one in legend},
        area_m2={one.id: math.fsum(share.area_m2.get(one.id, 0.0) for share in shares) for one in legend},
        nodata_pixels=sum(share.nodata_pixels for share in shares),
        footprint_m2=math.fsum(share.footprint_m2 for share in shares),
        sum_of_footprints_m2=math.fsum(share.whole_m2 for share in shares),
        notes=tuple(_notes(order, shares, rule)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """What one map adds to the union."""

    pixels: dict[int, int]
    area_m2: dict[int, float]
    nodata_pixels: int
    footprint_m2: float
    whole_m2: float
    """Of its footprint, counted or not."""
    yields: bool
    """Another has some of its ground."""
    mixed: bool
    """It was compared with a map on another lattice."""


class _Count:
    """One map among others: what of it counts."""

    def __init__(self, order: Sequence[KnownLayer], index: int, neighbours: Neighbours, rule: Rule) -> None:
        self.me = order[index]
        self.order, self.index, self.rule = order, index, rule
        self.grid = self.me.layer.classmap.grid
        self.places: dict[int, Placement] = {}
        for other in neighbours.of(index):
            place = place_on(self.grid, order[other].layer.classmap.grid)
            if place is not None:
                self.places[int(other)] = place

    def share(self, reader: LayerReader) -> _Share:
        known, lost, gained = self.me.area, AreaTally.zero(), AreaTally.zero()
        if known is None or self.places:
            whole, lost, gained = self._tally(reader, everything=known is None)
            known = known or _whole_of(whole)
        pixels = {k: n - lost.pixel_count(k) + gained.pixel_count(k) for k, n in known.pixels.items()}
        for k in set(gained.pixels) - set(pixels):
            pixels[k] = gained.pixel_count(k)
        covered = math.prod(self.grid.shape) - lost.pixel_count() + gained.pixel_count()
        return _Share(
            pixels=pixels,
            area_m2={
                k: known.area_m2.get(k, 0.0) - lost.area_m2(k) + gained.area_m2(k) if n else 0.0
                for k, n in pixels.items()
            },
            nodata_pixels=covered - sum(pixels.values()),
            footprint_m2=known.footprint_m2 - lost.area_m2() + gained.area_m2(),
            whole_m2=known.footprint_m2,
            yields=bool(lost.pixels),
            mixed=any(place.origin is None for place in self.places.values()),
        )

    def _tally(self, reader: LayerReader, *, everything: bool) -> tuple[AreaTally, AreaTally, AreaTally]:
        """(all pixels if wanted, those that do not count as what they are, what some of them count as)."""
        pixel_area = PixelArea(self.grid)
        whole = lost = gained = AreaTally.zero()
        for block in _windows(*self.grid.shape):
            meets = {k: part for k, one in self.places.items() if (part := common(block, one.window))}
            if not meets and not everything:
                continue
            near = {k: self.places[k] for k in meets}
            window = block if everything else _around(meets.values())
            seen = reader.read(self.me.layer, window)
            if everything:
                whole += tally_labels(seen.labels, window, pixel_area)
            if not near:
                continue
            final, counts = self._judge(reader, seen, near)
            stays = counts & (final == seen.labels)
            if not stays.all():
                lost += _tally_where(seen.labels, ~stays, window, pixel_area)
                gained += _tally_where(final, counts & ~stays, window, pixel_area)
        return whole, lost, gained

    def _judge(
        self, reader: LayerReader, seen: Seen, near: dict[int, Placement]
    ) -> tuple[Labels, npt.NDArray[np.bool_]]:
        """(the class each pixel counts as, True = it counts here)."""
        mine, window = seen.labels, seen.window
        counts = np.ones(mine.shape, np.bool_)
        final, best = mine.copy(), known_confidence(seen.confidence)
        for other, place in near.items():
            is_later = other > self.index
            wanted = counts & (mine == NODATA) if is_later and self.rule != "confident" else counts
            if not wanted.any():  # nor is it of those that follow
                break
            theirs = reader.read_on(self.order[other].layer, self.grid, place, _around_true(wanted, window))
            if theirs is None:
                continue
            part = theirs.window.slices_in(window)
            if is_later:
                counts[part] &= keep_from_later(mine[part], theirs.labels)
                if self.rule == "confident":
                    fill_confident(final[part], best[part], theirs.labels, theirs.confidence)
            else:
                counts[part] &= keep_from_earlier(mine[part], theirs.labels, theirs.inside)
        return final, counts


def _whole_of(tally: AreaTally) -> RecordedArea:
    classes = [k for k in tally.pixels if k != NODATA]
    return RecordedArea(
        pixels={k: tally.pixels[k] for k in classes},
        area_m2={k: tally.area_m2(k) for k in classes},
        footprint_m2=tally.area_m2(),
    )


def _windows(height: int, width: int) -> Iterator[Window]:
    for row in range(0, height, _SIDE[0]):
        for col in range(0, width, _SIDE[1]):
            yield Window(row=row, col=col, height=_SIDE[0], width=_SIDE[1]).clip(height, width)


def _around_true(wanted: npt.NDArray[np.bool_], window: Window) -> Window:
    """The smallest window that holds all that is wanted, True under `window` at least once."""
    rows, cols = np.flatnonzero(wanted.any(axis=1)), np.flatnonzero(wanted.any(axis=0))
    return Window(
        row=window.row + int(rows[0]),
        col=window.col + int(cols[0]),
        height=int(rows[-1] - rows[0]) + 1,
        width=int(cols[-1] - cols[0]) + 1,
    )


def _around(windows: Iterable[Window]) -> Window:
    """The smallest window that holds all of them."""
    edges = [(one.row, one.col, -one.row_stop, -one.col_stop) for one in windows]
    row, col, row_stop, col_stop = (min(values) for values in zip(*edges, strict=True))
    return Window(row=row, col=col, height=-row_stop - row, width=-col_stop - col)


def _tally_where(labels: Labels, where: npt.NDArray[np.bool_], window: Window, pixel_area: PixelArea) -> AreaTally:
    if not where.any():
        return AreaTally.zero()
    part = _around_true(where, window)
    inner = part.slices_in(window)
    tally = tally_labels(np.where(where[inner], labels[inner], np.uint8(_UNTOUCHED)), part, pixel_area)
    pixels = {k: n for k, n in tally.pixels.items() if k != _UNTOUCHED}
    return AreaTally(pixels=pixels, units={k: tally.units[k] for k in pixels}, unit_m2=tally.unit_m2)


def _notes(order: Sequence[KnownLayer], shares: Sequence[_Share], rule: Rule) -> Iterator[str]:
    if len(order) > 1 and not any(share.yields for share in shares):
        yield DISJOINT
    if any(share.mixed and share.yields for share in shares):
        yield MIXED
    undated = sum(not is_dated(one.acquired) for one in order)
    if rule == "latest" and undated:
        yield f"{undated:,} of {len(order):,} maps have no date of acquisition: they come last"
