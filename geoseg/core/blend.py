"""Overlapping scores of tiles in, finished rows of a panel out; memory holds one row of tiles."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from geoseg.core.patch import Rows, Scores
from geoseg.core.tiling import Axis, TilePlan
from geoseg.core.window import Window


class Blender:
    """Sums weighted scores of the tiles of one panel, in row-major tile order.

    A tile that was wholly invalid may be left
    out: its pixels stay invalid. The arithmetic of a pixel depends only on the tiles over it, in their
    order, so panels and workers do not change it.
    """

    def __init__(self, plan: TilePlan, panel: Window, classes: int) -> None:
        self._plan = plan
        self._panel = panel
        self._row_of = {start: k for k, start in enumerate(plan.rows.starts)}
        self._col_of = {start: k for k, start in enumerate(plan.cols.starts)}
        height = min(plan.rows.tile, panel.height)
        self._sum: npt.NDArray[np.float32] = np.zeros((classes, height, panel.width), np.float32)
        self._valid: npt.NDArray[np.bool_] = np.zeros((height, panel.width), np.bool_)
        self._first = 0
        """Row of the scene that the buffer starts at."""

    def add(self, scores: Scores) -> None:
        """Adds the scores of one tile; the rows before its support must have left."""
        row, col = self._row_of[scores.window.row], self._col_of[scores.window.col]
        inner_rows, row_weights = _part(self._plan.rows, row, 0, self._plan.shape[0])
        inner_cols, col_weights = _part(self._plan.cols, col, self._panel.col, self._panel.col_stop)
        if not len(col_weights):
            return
        tile_rows, tile_cols = _shift(inner_rows, -scores.window.row), _shift(inner_cols, -scores.window.col)
        rows, cols = _shift(inner_rows, -self._first), _shift(inner_cols, -self._panel.col)
        weights = row_weights[:, None] * col_weights[None, :]
        self._sum[:, rows, cols] += scores.values[:, tile_rows, tile_cols] * weights
        self._valid[rows, cols] |= scores.valid[tile_rows, tile_cols]

    def final_before(self, scores: Scores) -> Iterator[Rows]:
        """Rows that neither this tile nor any later one contributes to."""
        return self._leave(self._plan.rows.supports[self._row_of[scores.window.row]][0])

    def rest(self) -> Iterator[Rows]:
        """The rows that are left after the last tile."""
        return self._leave(self._panel.height)

    def _leave(self, stop: int) -> Iterator[Rows]:
        """Rows before `stop` leave the buffer, in pieces no larger than it."""
        while self._first < stop:
            count = min(stop - self._first, self._sum.shape[1])
            window = Window(row=self._first, col=self._panel.col, height=count, width=self._panel.width)
            yield Rows(window=window, values=self._sum[:, :count].copy(), valid=self._valid[:count].copy())
            kept = self._sum.shape[1] - count
            self._sum[:, :kept], self._valid[:kept] = self._sum[:, count:], self._valid[count:]
            self._sum[:, kept:], self._valid[kept:] = 0, False
            self._first += count


def _part(axis: Axis, k: int, first: int, stop: int) -> tuple[slice, npt.NDArray[np.float32]]:
    """The scene's pixels first … stop - 1 to which tile k contributes, and its weights there."""
    low, high = axis.supports[k]
    low, high = max(low, first), min(high, stop)
    start = axis.starts[k]
    return slice(low, high), axis.weights[k, low - start : high - start] if high > low else axis.weights[k, :0]


def _shift(span: slice, by: int) -> slice:
    return slice(span.start + by, span.stop + by)


def blend(plan: TilePlan, panel: Window, scores: Iterable[Scores], *, classes: int) -> Iterator[Rows]:
    """Finished rows of a panel, each pixel once and in order, from the scores of its tiles.

    Args:
        plan: the tiles of the scene.
        panel: the column strip that is finished.
        scores: one per tile of `plan.tiles(panel)`, in that order; wholly invalid tiles may be missing.
        classes: channels of the scores.
    """
    blender = Blender(plan, panel, classes)
    for one in scores:
        yield from blender.final_before(one)
        blender.add(one)
    yield from blender.rest()
