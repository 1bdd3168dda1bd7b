"""What changed between two class maps on one grid, as values: pairs tallied, areas, rates. No file, no text."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt

from geoseg.core.area import PixelArea
from geoseg.core.legend import LandClass, Legend
from geoseg.core.patch import MAX_CLASSES, NODATA
from geoseg.core.tally import AreaTally, exact_sums, join_limbs
from geoseg.core.window import Window
from geoseg.errors import ProductError

Labels = npt.NDArray[np.uint8]
_CHUNK: Final = 1 << 18
"""Pixels tallied at a time: their indices and areas stay in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedLegend:
    """One legend for two maps, whose classes are the same where their names are."""

    legend: Legend
    """Classes of the first map with their ids, then those that only the second has."""
    second: Labels
    """(256,) label of the second map -> id in `legend`; 255 stays 255."""
    only_first: tuple[str, ...]
    """Names that the second map does not know."""
    only_second: tuple[str, ...]
    renumbered: tuple[str, ...]
    """Names that have another id in the second map."""


def merge_legends(first: Legend, second: Legend) -> MergedLegend:
    """Match the classes of two maps by name: letter case and spaces do not count unless they tell classes apart.

    Raises:
        ProductError: no name is in both, or together they have more than 200 classes.
    """
    mine, theirs = ({_folded(one.name): one for one in legend} for legend in (first, second))
    if len(mine) < len(first) or len(theirs) < len(second):
        mine, theirs = ({one.name: one for one in legend} for legend in (first, second))
    if not mine.keys() & theirs.keys():
        raise ProductError(
            f"the maps have no class in common ({_listed(first)} and {_listed(second)}): name their classes alike "
            "with --legend1 and --legend2"
        )
    classes = list(first)
    lookup = np.full(256, NODATA, np.uint8)
    renumbered, added = [], []
    for name, one in theirs.items():
        known = mine.get(name)
        if known is None:
            known = LandClass(id=_free_id(classes, one.id), name=one.name, color=one.color)
            classes.append(known)
            added.append(one.name)
        if known.id != one.id:
            renumbered.append(one.name)
        lookup[one.id] = known.id
    return MergedLegend(
        legend=Legend(classes=tuple(sorted(classes, key=lambda one: one.id))),
        second=lookup,
        only_first=tuple(one.name for name, one in mine.items() if name not in theirs),
        only_second=tuple(added),
        renumbered=tuple(renumbered),
    )


def tally_pairs(first: Labels, second: Labels, window: Window, pixel_area: PixelArea) -> AreaTally:
    """Exact pixels and area of each pair of labels, under the key `pair_key(from, to)`.

    Args:
        first: (height, width) labels of the first map under `window`.
        second: the same of the second map, in the same ids.
        window: on the grid of `pixel_area`.
        pixel_area: of the grid of both.

    Raises:
        ValueError: the shapes differ.
    """
    if not first.shape == second.shape == window.shape:
        raise ValueError(f"labels {first.shape} and {second.shape} are not of the window's shape {window.shape}")
    counts, high, low = (np.zeros(1 << 16, np.int64) for _ in range(3))
    step = max(1, _CHUNK // window.width)
    for row in range(0, window.height, step):
        height = min(step, window.height - row)
        part = Window(row=window.row + row, col=window.col, height=height, width=window.width)
        index = first[row : row + height].astype(np.intp) * 256 + second[row : row + height]
        units = np.broadcast_to(pixel_area.units_of(part), index.shape)
        counts += np.bincount(index.ravel(), minlength=len(counts))
        upper, lower = exact_sums(index.ravel(), units.ravel(), len(counts))
        high += upper
        low += lower
    found = np.flatnonzero(counts).tolist()
    return AreaTally(
        pixels={key: int(counts[key]) for key in found},
        units={key: join_limbs(high[key], low[key]) for key in found},
        unit_m2=pixel_area.unit_m2,
    )


def pair_key(first: int, second: int) -> int:
    """The number of a pair of labels in a tally."""
    return first * 256 + second


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Ground that was one class and became another, or stayed."""

    first: int
    """Class id in the first map."""
    second: int
    pixels: int
    area_m2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassChange:
    """What became of one class on the ground that both maps observe."""

    id: int
    name: str
    stable_m2: float
    gain_m2: float
    loss_m2: float
    years: float | None = None
    """Between the maps; None where it is not known."""

    @property
    def area1_m2(self) -> float:
        """In the first map, where the second observes the ground too."""
        return self.stable_m2 + self.loss_m2

    @property
    def area2_m2(self) -> float:
        """In the second map, where the first observes the ground too."""
        return self.stable_m2 + self.gain_m2

    @property
    def net_m2(self) -> float:
        """Gain less loss."""
        return self.gain_m2 - self.loss_m2

    def annual_ha(self, area_m2: float) -> float | None:
        """Hectares a year, the mean over the years between the maps."""
        return None if self.years is None else area_m2 / 1e4 / self.years

    @property
    def annual_rate_percent(self) -> float | None:
        """Compound yearly rate (A2 / A1)^(1 / years) - 1 in percent, as FAO gives it.

        Puyravaud (2003, doi:10.1016/S0378-1127(02)00335-3) prefers ln(A2 / A1) / years, which is ln(1 + this / 100).
        None without years or where the class was not there.
        """
        if self.years is None or not self.area1_m2:
            return None
        return float((self.area2_m2 / self.area1_m2) ** (1 / self.years) - 1) * 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeTable:
    """Where every square metre of the first map's grid went."""

    legend: Legend
    pairs: AreaTally
    """By `pair_key`; 255 on either side = not observed in that map."""
    years: float | None = None

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """Every pair of classes, also those that do not occur."""
        ids = self.legend.ids
        return tuple(
            Transition(first=a, second=b, pixels=self.pixels(one), area_m2=self.area_m2(one))
            for a in ids
            for b in ids
            for one in [[pair_key(a, b)]]
        )

    @property
    def classes(self) -> tuple[ClassChange, ...]:
        """Every class of the legend."""
        return tuple(self._class_change(one) for one in self.legend)

    @property
    def footprint_m2(self) -> float:
        """Transitions and unobserved together."""
        return self.pairs.area_m2()

    @property
    def observed(self) -> tuple[int, ...]:
        """Keys of what both maps observe."""
        return tuple(pair_key(a, b) for a in self.legend.ids for b in self.legend.ids)

    def unobserved(self, *, first: bool, second: bool) -> tuple[int, ...]:
        """Keys of what is not observed in just these maps."""
        mine = [NODATA] if first else self.legend.ids
        theirs = [NODATA] if second else self.legend.ids
        return tuple(pair_key(a, b) for a in mine for b in theirs)

    def area_m2(self, keys: Iterable[int]) -> float:
        """Square metres of these pairs together, rounded once; 0 of none."""
        keys = tuple(keys)
        return self.pairs.area_m2(*keys) if keys else 0.0

    def pixels(self, keys: Iterable[int]) -> int:
        """Pixels of these pairs together; 0 of none."""
        keys = tuple(keys)
        return self.pairs.pixel_count(*keys) if keys else 0

    def loss_keys(self, class_id: int) -> tuple[int, ...]:
        """Keys of what was the class and is another."""
        return tuple(pair_key(class_id, b) for b in self.legend.ids if b != class_id)

    def gain_keys(self, class_id: int) -> tuple[int, ...]:
        """Keys of what was another class and is this."""
        return tuple(pair_key(a, class_id) for a in self.legend.ids if a != class_id)

    def _class_change(self, one: LandClass) -> ClassChange:
        return ClassChange(
            id=one.id,
            name=one.name,
            stable_m2=self.area_m2([pair_key(one.id, one.id)]),
            gain_m2=self.area_m2(self.gain_keys(one.id)),
            loss_m2=self.area_m2(self.loss_keys(one.id)),
            years=self.years,
        )


def years_between(first: date, second: date) -> float:
    """Years from one day to a later one: whole anniversaries, then the days as a share of the year they lie in."""
    whole = second.year - first.year
    if _anniversary(first, whole) > second:
        whole -= 1
    start, stop = _anniversary(first, whole), _anniversary(first, whole + 1)
    return whole + (second - start).days / (stop - start).days


def _anniversary(day: date, years: int) -> date:
    """The same day `years` later; the 29th of February becomes the 1st of March where there is none."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 3, 1)


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()


def _listed(legend: Legend) -> str:
    return ", ".join(one.name for one in legend)


def _free_id(classes: Iterable[LandClass], wanted: int) -> int:
    taken = {one.id for one in classes}
    free = [number for number in range(MAX_CLASSES) if number not in taken]
    if not free:
        raise ProductError(f"the maps have more than {MAX_CLASSES} classes together: join some before comparing them")
    return wanted if wanted in free else free[0]
