"""Random fields that can be asked about any block of rows: the same value at a place however it is asked for."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Field = npt.NDArray[np.float32]
"""(rows, cols)."""

IDENTIFIERS: Final = 1 << 16
"""`scatter` gives numbers below this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """Smooth value noise: random numbers in -1 … 1 on a coarse grid, interpolated with a cubic ease between."""

    values: npt.NDArray[np.float32]
    """(nodes down, nodes across)."""
    cell_px: float

    def at(self, rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64]) -> Field:
        """The noise at every pair of a row and a column; both at least `-cell_px` and inside the field's shape."""
        low_row, share_row = self._between(rows)
        low_col, share_col = self._between(cols)
        upper, lower = self.values[low_row], self.values[low_row + 1]
        by_row = upper + (lower - upper) * share_row[:, None]
        left = by_row[:, low_col]
        right = by_row[:, low_col + 1]
        right -= left
        right *= share_col
        right += left
        return right

    def _between(self, places: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """The node before each place and the eased share of the way to the next."""
        position = places / self.cell_px + 1
        low = np.floor(position).astype(np.int64)
        share = (position - low).astype(np.float32)
        return low, share * share * (3 - 2 * share)


def make_lattice(rng: np.random.Generator, *, height: int, width: int, cell_px: float) -> Lattice:
    """Noise over an image of height x width pixels (and one cell around it) with features of about cell_px."""
    shape = (int(height / cell_px) + 4, int(width / cell_px) + 4)
    return Lattice(values=rng.uniform(-1, 1, shape).astype(np.float32), cell_px=cell_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texture:
    """Fine noise of unit deviation: two wrapped pictures with coprime periods, so that repeats are not seen."""

    first: Field
    second: Field

    def at(self, rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64]) -> Field:
        """The texture at every pair of a row and a column."""
        both: Field = self.first[np.ix_(rows % self.first.shape[0], cols % self.first.shape[1])]
        both += self.second[np.ix_(rows % self.second.shape[0], cols % self.second.shape[1])]
        both *= np.float32(np.sqrt(0.5))
        return both


def make_texture(rng: np.random.Generator, *, sigma_px: float) -> Texture:
    """Gaussian noise smoothed by sigma_px."""
    return Texture(
        first=_wrapped(rng, period=509, sigma_px=sigma_px), second=_wrapped(rng, period=431, sigma_px=sigma_px)
    )


def scatter(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], *, salt: int) -> npt.NDArray[np.uint16]:
    """A well-mixed number below 65536 for each pair of integers: the key into tables of random properties.

    Multiply-xor mixing on 32 bits (the finaliser of MurmurHash3, public domain).
    """
    mixed = first.astype(np.uint32) * np.uint32(0x9E3779B1) + second.astype(np.uint32) * np.uint32(0x85EBCA77)
    mixed += np.uint32(salt * 0x27D4EB2F % 2**32)
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    return (mixed >> np.uint32(16)).astype(np.uint16)


def _wrapped(rng: np.random.Generator, *, period: int, sigma_px: float) -> Field:
    """One square picture of smoothed noise that continues at its opposite edge."""
    picture = rng.standard_normal((period, period), dtype=np.float32)
    smooth = ndimage.gaussian_filter(picture, sigma_px, mode="wrap")
    return np.asarray(smooth / smooth.std(), dtype=np.float32)
