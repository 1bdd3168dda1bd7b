"""Covering a raster with overlapping tiles: where they lie and how much each counts. No pixel is read here."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from geoseg.core.window import Window

BlendWindow = Literal["hann", "linear", "crop"]


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a tile plan: equal tiles, anchored at the scene's origin, the last ending at the padded end."""

    length: int
    """Pixels of the scene along this axis."""
    tile: int
    """Pixels of a tile; reaches beyond `length` where the scene is padded to the divisor."""
    starts: tuple[int, ...]
    """First pixel of each tile, ascending multiples of the divisor."""
    margin: int
    """Outer pixels of a tile that count nothing, except at the scene's edge."""
    window: BlendWindow

    @cached_property
    def weights(self) -> npt.NDArray[np.float32]:
        """(tiles, tile): what each pixel of a tile counts; over all tiles every pixel sums to 1."""
        raw = np.ones((len(self.starts), self.tile))
        for k in range(1, len(self.starts)):
            overlap = self.starts[k - 1] + self.tile - self.starts[k]
            rise = self._rise(overlap)
            raw[k, :overlap] *= rise
            raw[k - 1, self.tile - overlap :] *= rise[::-1] if self.window != "crop" else 1.0 - rise
        total = np.zeros(self.starts[-1] + self.tile)
        for start, row in zip(self.starts, raw, strict=True):
            total[start : start + self.tile] += row
        for k, start in enumerate(self.starts):
            raw[k] /= total[start : start + self.tile]
        return raw.astype(np.float32)

    def _rise(self, overlap: int) -> npt.NDArray[np.float64]:
        """Weights from 0 to 1 over an overlap: nothing in the margins, the ramp between them."""
        if self.window == "crop":
            return (np.arange(overlap) >= overlap // 2).astype(np.float64)
        ramp = overlap - 2 * self.margin
        position = (np.arange(ramp) + 0.5) / ramp
        rise = position if self.window == "linear" else np.sin(np.pi / 2 * position) ** 2
        return np.concatenate([np.zeros(self.margin), rise, np.ones(self.margin)])

    @cached_property
    def supports(self) -> tuple[tuple[int, int], ...]:
        """(first, stop) of the scene's pixels to which each tile contributes."""
        spans = []
        for start, row in zip(self.starts, self.weights, strict=True):
            used = np.flatnonzero(row)
            spans.append((start + int(used[0]), min(start + int(used[-1]) + 1, self.length)))
        return tuple(spans)

    def touching(self, first: int, stop: int) -> range:
        """Indices of the tiles that contribute to pixels first … stop - 1."""
        hits = [k for k, (low, high) in enumerate(self.supports) if low < stop and high > first]
        return range(hits[0], hits[-1] + 1)


def plan_axis(
    length: int, *, tile: int, margin: int, ramp: int, divisor: int, window: BlendWindow, min_size: int = 1
) -> Axis:
    """Tiles along one axis of `length` pixels.

    Args:
        length: pixels of the scene.
        tile: wanted side of a tile; rounded up to the divisor and to `min_size`.
        margin: pixels with weight 0 at each inner edge; rounded up to the divisor.
        ramp: pixels over which two tiles are blended, at least; `crop` has none.
        divisor: tile starts and sides are multiples of it.
        window: shape of the ramp.
        min_size: smallest side that the network takes.

    Raises:
        ValueError: the tile is too small for twice the margin and the ramp.
    """
    tile = _round_up(max(tile, min_size), divisor)
    margin = _round_up(margin, divisor)
    padded = _round_up(max(length, min_size), divisor)
    if padded <= tile:
        return Axis(length=length, tile=padded, starts=(0,), margin=margin, window=window)
    least = 0 if window == "crop" else max(ramp, 1)
    overlap = _round_up(2 * margin + least, divisor)
    step = tile - overlap
    if step < divisor:
        raise ValueError(
            f"tile {tile} leaves no step: 2 x margin {margin} + ramp {ramp} needs a tile of at least "
            f"{overlap + divisor}; give a larger tiling.tile or a smaller tiling.margin"
        )
    starts = [*range(0, padded - tile, step), padded - tile]
    return Axis(length=length, tile=tile, starts=tuple(starts), margin=margin, window=window)


@dataclass(frozen=True, kw_only=True)
class TilePlan:
    """The tiles of a scene: the product of a plan along rows and a plan along columns."""

    rows: Axis
    cols: Axis

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the scene."""
        return self.rows.length, self.cols.length

    @property
    def tile_shape(self) -> tuple[int, int]:
        """(height, width) of every tile."""
        return self.rows.tile, self.cols.tile

    def panels(self, width: int) -> tuple[Window, ...]:
        """Full-height column strips of at most `width` columns, left to right."""
        height, total = self.shape
        return tuple(
            Window(row=0, col=col, height=height, width=min(width, total - col)) for col in range(0, total, width)
        )

    def tile_columns(self, panel: Window) -> range:
        """Indices of the tile columns that contribute to a panel."""
        return self.cols.touching(panel.col, panel.col_stop)

    def tiles(self, panel: Window | None = None) -> Iterator[Window]:
        """Tiles in row-major order: all of them, or those that contribute to a panel."""
        columns = range(len(self.cols.starts)) if panel is None else self.tile_columns(panel)
        height, width = self.tile_shape
        for row in self.rows.starts:
            for k in columns:
                yield Window(row=row, col=self.cols.starts[k], height=height, width=width)

    def count(self, panels: tuple[Window, ...] | None = None) -> int:
        """How many tiles are computed, those on panel edges twice."""
        if panels is None:
            return len(self.rows.starts) * len(self.cols.starts)
        return len(self.rows.starts) * sum(len(self.tile_columns(panel)) for panel in panels)


def plan_tiles(
    shape: tuple[int, int],
    *,
    tile: int,
    margin: int,
    ramp: int = 32,
    divisor: int = 1,
    window: BlendWindow = "hann",
    min_size: int = 1,
) -> TilePlan:
    """Tiles over a raster of (height, width); the arguments are those of `plan_axis`."""
    rows, cols = (
        plan_axis(length, tile=tile, margin=margin, ramp=ramp, divisor=divisor, window=window, min_size=min_size)
        for length in shape
    )
    return TilePlan(rows=rows, cols=cols)
