"""From blended probabilities to the class map: the winner, its confidence, and rows cut on output blocks."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from geoseg.core.legend import Legend
from geoseg.core.patch import NODATA, LabelRows, Rows
from geoseg.core.window import Window


def label(rows: Rows, legend: Legend) -> LabelRows:
    """The most probable class of each pixel, the lowest id on ties; NODATA where nothing was observed."""
    best = rows.values[0].copy()
    channel = np.zeros(best.shape, np.uint8)
    for k in range(1, len(legend)):
        better = rows.values[k] > best
        channel[better] = k
        np.maximum(best, rows.values[k], out=best)
    labels = channel if legend.ids == tuple(range(len(legend))) else np.asarray(legend.ids, np.uint8)[channel]
    confidence = np.clip(np.rint(best * np.float32(100)), 0, 100).astype(np.uint8)
    labels[~rows.valid] = NODATA
    confidence[~rows.valid] = NODATA
    return LabelRows(window=rows.window, labels=labels, confidence=confidence)


def align(rows: Iterable[LabelRows], block: int, *, height: int) -> Iterator[LabelRows]:
    """The same pixels of one panel in pieces of `block` rows; only the last piece may be shorter.

    Args:
        rows: finished rows of one panel, in order.
        block: rows of an output block.
        height: rows of the scene; the piece that reaches it is the last.
    """
    held: list[LabelRows] = []
    for one in rows:
        held.append(one)
        first, stop = held[0].window.row, one.window.row_stop
        cut = stop if stop >= height else stop // block * block
        if cut > first:
            merged = _merge(held)
            for start in range(first, cut, block):
                yield _cut(merged, start, min(start + block, cut))
            held = [_cut(merged, cut, stop)] if cut < stop else []


def _merge(parts: list[LabelRows]) -> LabelRows:
    first, last = parts[0].window, parts[-1].window
    window = Window(row=first.row, col=first.col, height=last.row_stop - first.row, width=first.width)
    return LabelRows(
        window=window, labels=_stack([p.labels for p in parts]), confidence=_stack([p.confidence for p in parts])
    )


def _stack(arrays: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _cut(rows: LabelRows, start: int, stop: int) -> LabelRows:
    window = Window(row=start, col=rows.window.col, height=stop - start, width=rows.window.width)
    part = slice(start - rows.window.row, stop - rows.window.row)
    return LabelRows(window=window, labels=rows.labels[part], confidence=rows.confidence[part])
