"""Pixels and ground area per label, as whole numbers, so that parts add up to the whole exactly.

Areas are counted in units of a power of two square metres (`PixelArea.unit_m2`): no sum here rounds, so a tally
does not depend on tiles, panels, workers or order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from geoseg.core.area import PixelArea
from geoseg.core.window import Window

_CHUNK: Final = 1 << 18
"""Pixels summed at a time: small enough for the cache, and for float64 sums to be exact."""
_LIMB: Final = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaTally:
    """Pixels and area of each label that occurs; `a + b` is exact, associative and commutative."""

    pixels: Mapping[int, int] = field(default_factory=dict)
    """Label -> pixels, > 0, in ascending order of labels."""
    units: Mapping[int, int] = field(default_factory=dict)
    """Label -> area in units of `unit_m2`."""
    unit_m2: float = 1.0
    """A power of two."""

    @staticmethod
    def zero() -> "AreaTally":
        """Nothing counted yet."""
        return AreaTally()

    def __add__(self, other: "AreaTally") -> "AreaTally":
        if not self.pixels or not other.pixels:
            return self if self.pixels else other
        unit = min(self.unit_m2, other.unit_m2)
        total: dict[int, int] = {}
        pixels: dict[int, int] = {}
        for tally in (self, other):
            scale = int(tally.unit_m2 / unit)  # exact: both are powers of two
            for label, count in tally.pixels.items():
                pixels[label] = pixels.get(label, 0) + count
                total[label] = total.get(label, 0) + tally.units[label] * scale
        return AreaTally(pixels=dict(sorted(pixels.items())), units=dict(sorted(total.items())), unit_m2=unit)

    def area_m2(self, *labels: int) -> float:
        """Square metres of the labels together, rounded once; of all labels if none is named."""
        return sum(self.units.get(label, 0) for label in labels or self.units) * self.unit_m2

    def pixel_count(self, *labels: int) -> int:
        """Pixels of the labels together; of all labels if none is named."""
        return sum(self.pixels.get(label, 0) for label in labels or self.pixels)


def tally_labels(labels: npt.NDArray[np.uint8], window: Window, pixel_area: PixelArea) -> AreaTally:
    """The tally of (height, width) `labels` that lie under `window` of the grid of `pixel_area`.

    Raises:
        ValueError: the shapes differ.
    """
    if labels.shape != window.shape:
        raise ValueError(f"labels {labels.shape} are not of the window's shape {window.shape}")
    counts = np.zeros(256, np.int64)
    units = [0] * 256
    rows_at_once = max(1, _CHUNK // window.width)
    for row in range(0, window.height, rows_at_once):
        height = min(rows_at_once, window.height - row)
        part = Window(row=window.row + row, col=window.col, height=height, width=window.width)
        block = labels[row : row + height]
        unit = pixel_area.units_of(part)
        add = _add_rows if unit.shape[1] == 1 else _add_pixels
        add(block, unit, counts, units)
    found = [int(label) for label in np.flatnonzero(counts)]
    return AreaTally(
        pixels={label: int(counts[label]) for label in found},
        units={label: units[label] for label in found},
        unit_m2=pixel_area.unit_m2,
    )


def exact_sums(
    index: npt.NDArray[np.intp], units: npt.NDArray[np.float64], size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Exact sums of whole units per index, as (high, low): a sum is high · 2^31 + low (`join_limbs`).

    Args:
        index: (n,) 0 … size - 1.
        units: (n,) whole numbers, 0 … 2^60.
        size: number of sums.

    Limbs of 2^32 pixels still fit an int64, so callers may add up what several calls give.
    """
    high, low = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for start in range(0, len(index), _CHUNK):
        where, what = index[start : start + _CHUNK], units[start : start + _CHUNK]
        if what.max() >= 2.0**_LIMB:
            upper = np.floor(what * 2.0**-_LIMB)
            high += np.bincount(where, weights=upper, minlength=size).astype(np.int64)
            what = what - upper * 2.0**_LIMB
        low += np.bincount(where, weights=what, minlength=size).astype(np.int64)
    return high, low


def split_limbs(units: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(high, low) of whole units: high · 2^31 + low."""
    whole = units.astype(np.int64)
    return whole >> _LIMB, whole & ((1 << _LIMB) - 1)


def join_limbs(high: int, low: int) -> int:
    """The number high · 2^31 + low."""
    return (int(high) << _LIMB) + int(low)


def _add_rows(
    block: npt.NDArray[np.uint8], unit: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], units: list[int]
) -> None:
    """One area per row: counts per row and label, times the area of the row."""
    height = len(block)
    flat = block.astype(np.intp) + 256 * np.arange(height)[:, None]
    by_row = np.bincount(flat.ravel(), minlength=256 * height).reshape(height, 256)
    total = by_row.sum(axis=0)
    counts += total
    row_units = np.array([int(one) for one in unit[:, 0]], object)
    for label in np.flatnonzero(total):
        units[label] += int(by_row[:, label].astype(object) @ row_units)


def _add_pixels(
    block: npt.NDArray[np.uint8], unit: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], units: list[int]
) -> None:
    """One area per pixel."""
    index = block.ravel().astype(np.intp)
    counts += np.bincount(index, minlength=256)
    high, low = exact_sums(index, unit.ravel(), 256)
    for label in np.flatnonzero(high | low):
        units[label] += join_limbs(high[label], low[label])
