"""Connected components of equal class, found in row blocks and joined across their seams. Shapes are `vector`'s.

Rows are cut into runs of equal labels; runs that touch are edges of a graph whose connected components are found
by scipy. Blocks only decide how many rows are looked at together, never the result.
"""

from collections.abc import Iterable
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from geoseg.core.patch import MAX_CLASSES
from geoseg.errors import ResourceError

Connectivity = Literal[4, 8]
Labels = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int32]

_MOST_RUNS: Final = 2**31 - 1


def count_patches(rows: Iterable[Labels], connectivity: Connectivity) -> dict[int, int]:
    """How many connected patches each class has; what is no class (ids from 200) is not counted.

    Args:
        rows: blocks (height, width) of the whole map, from the top; memory grows with one block only.
        connectivity: 4 = over sides; 8 = over sides and corners, as FRAGSTATS counts by default.
    """
    counts = np.zeros(256, np.int64)
    border: tuple[Labels, Ids] | None = None
    border_classes = np.zeros(0, np.uint8)
    for block in rows:
        runs = _find_runs(block)
        edges = [_touching(block[:-1], runs[:-1], block[1:], runs[1:], connectivity)]
        classes = np.concatenate([block[_starts(block)], border_classes])
        if border is not None:
            # Components open at the seam take part as further nodes behind the block's own runs.
            above = border[1] + (runs[-1, -1] + 1)
            edges.append(_touching(border[0][None], above[None], block[:1], runs[:1], connectivity))
        component = _components(len(classes), np.concatenate(edges, axis=1))
        counts += _class_counts(classes, component) - np.bincount(border_classes, minlength=256)
        open_ids, dense = np.unique(component[runs[-1]], return_inverse=True)
        border = block[-1].copy(), dense.astype(np.int32)
        border_classes = np.zeros(len(open_ids), np.uint8)
        border_classes[border[1]] = border[0]
    return {int(one): int(counts[one]) for one in np.flatnonzero(counts[:MAX_CLASSES])}


class ComponentLabeler:
    """Labels 4-connected components of a map given in row blocks.

    `feed` each block from the top and keep the run ids it gives; `finish` then says which component each run is in.
    """

    __slots__ = ("_above", "_class_of_run", "_edges", "_runs")

    def __init__(self) -> None:
        self._runs = 0
        self._above: tuple[Labels, Ids] | None = None
        self._edges: list[Ids] = []
        self._class_of_run: list[Labels] = []

    def feed(self, block: Labels) -> Ids:
        """(height, width) run ids of the next rows of the map.

        Raises:
            ResourceError: the map has 2^31 runs or more.
        """
        if self._runs + block.size > _MOST_RUNS and self._runs + int(_starts(block).sum()) > _MOST_RUNS:
            raise ResourceError("the map has more than 2^31 runs of equal pixels: make polygons of parts of it")
        runs = _find_runs(block)
        runs += np.int32(self._runs)
        self._edges.append(_touching(block[:-1], runs[:-1], block[1:], runs[1:], 4))
        if self._above is not None:
            label, run = self._above
            self._edges.append(_touching(label[None], run[None], block[:1], runs[:1], 4))
        self._class_of_run.append(block[_starts(block)])
        self._runs = int(runs[-1, -1]) + 1
        self._above = block[-1].copy(), runs[-1].copy()
        return runs

    def finish(self) -> tuple[Ids, Labels]:
        """(component of each run, class of each component).

        Components are numbered from 1 in the order of their first pixel, row-major; 0 is what is no class.
        """
        classes = np.concatenate([np.zeros(0, np.uint8), *self._class_of_run])
        edges = np.concatenate([np.zeros((2, 0), np.int32), *self._edges], axis=1)
        self._edges.clear()
        component = _components(len(classes), edges)
        first = np.full(int(component.max(initial=-1)) + 1, -1, np.int64)
        first[component[::-1]] = np.arange(len(classes) - 1, -1, -1)  # of equal indices the last one stays
        first = np.sort(first[classes[first] < MAX_CLASSES])
        number = np.zeros(int(component.max(initial=-1)) + 1, np.int32)
        number[component[first]] = np.arange(1, len(first) + 1, dtype=np.int32)
        return number[component], np.concatenate([np.full(1, 255, np.uint8), classes[first]])


def _starts(block: Labels) -> npt.NDArray[np.bool_]:
    """True where a run of equal labels begins; every row begins one."""
    starts = np.ones(block.shape, np.bool_)
    np.not_equal(block[:, 1:], block[:, :-1], out=starts[:, 1:])
    return starts


def _find_runs(block: Labels) -> Ids:
    """Run ids 0 … in row-major order."""
    runs = np.cumsum(_starts(block).ravel(), dtype=np.int32).reshape(block.shape)
    runs -= np.int32(1)
    return runs


def _touching(above: Labels, run_above: Ids, below: Labels, run_below: Ids, connectivity: Connectivity) -> Ids:
    """(2, edges) pairs of runs of equal class that touch across the line between the rows; each pair at least once."""
    pairs = []
    width = above.shape[1]
    for shift in (0,) if connectivity == 4 else (0, 1, -1):
        up = slice(max(shift, 0), width + min(shift, 0))
        down = slice(max(-shift, 0), width + min(-shift, 0))
        touch = (above[:, up] == below[:, down]) & (below[:, down] < MAX_CLASSES)
        first, second = run_above[:, up], run_below[:, down]
        # Once per pair of runs: where the same two runs touched one pixel before, it is known.
        touch[:, 1:] &= (first[:, 1:] != first[:, :-1]) | (second[:, 1:] != second[:, :-1])
        pairs.append(np.stack([first[touch], second[touch]]))
    return np.concatenate(pairs, axis=1)


def _components(nodes: int, edges: Ids) -> Ids:
    """Component of each node."""
    graph = sparse.coo_array((np.ones(edges.shape[1], np.int8), (edges[0], edges[1])), shape=(nodes, nodes))
    component: Ids = connected_components(graph.tocsr(), directed=False)[1]
    return component


def _class_counts(classes: Labels, component: Ids) -> npt.NDArray[np.int64]:
    """Components per class."""
    class_of = np.zeros(int(component.max(initial=-1)) + 1, np.uint8)
    class_of[component] = classes
    return np.bincount(class_of, minlength=256)
