"""Permutations put into the order of their cycles: how pieces of a boundary follow each other. No pixels here."""

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, connected_components

Ids = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


def cycles_of(following: Ids) -> Ids:
    """Cycle 0 … of each element of a permutation."""
    if not len(following):
        return following
    cycle: Ids = connected_components(_links(following), connection="weak")[1]
    return cycle


def first_of(group: Ids) -> Int64s:
    """Lowest index of each group 0 … n - 1."""
    first = np.zeros(int(group.max(initial=-1)) + 1, np.int64)
    first[group[::-1]] = np.arange(len(group) - 1, -1, -1)  # of equal indices the last assignment stays
    return first


def walk(following: Ids, leader: Int64s) -> Int64s:
    """All elements, cycle after cycle: cycles in the order of their leaders, each from its leader on.

    Args:
        following: a permutation.
        leader: one element of each of its cycles.
    """
    if not len(following):
        return np.zeros(0, np.int64)
    before = np.empty_like(following)
    before[following] = np.arange(len(following), dtype=following.dtype)
    line: Ids = following.copy()
    line[before[leader[:-1]]] = leader[1:]
    line[before[leader[-1]]] = before[leader[-1]]
    order: Ids = breadth_first_order(_links(line), int(leader[0]), return_predecessors=False)
    return order.astype(np.int64)


def ranges(start: Int64s, length: Int64s) -> Int64s:
    """start[0], start[0] + 1, … (length[0] of them), then those of the next range, and so on."""
    end = np.cumsum(length)
    places: Int64s = np.arange(int(end[-1]) if len(end) else 0) + np.repeat(start - (end - length), length)
    return places


def offsets(lengths: npt.NDArray[np.integer]) -> Int64s:
    """Where things of these lengths start, one after the other, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _links(following: Ids) -> sparse.csr_array:
    """The graph in which each node leads to one other."""
    count = len(following)
    before = np.arange(count + 1, dtype=following.dtype)
    return sparse.csr_array((np.ones(count), following, before), shape=(count, count))
