"""What becomes of patches, gaps and narrow parts that are too small: decided on the regions of a whole map.

Finding narrow parts is `width`; reading and writing maps is `workflows`. No pixel is seen here.
"""

import heapq
import math
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geoseg.core.components import Ids, Labels
from geoseg.core.patch import NODATA
from geoseg.core.region_graph import LIMB, RegionGraph


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decision:
    """What a rule does to the regions of a map."""

    new_class: Labels
    """(count + 1,) the class a region takes; NODATA = it keeps what it has."""
    is_undetermined: npt.NDArray[np.bool_]
    """(count + 1,) True: below the threshold, but cut by an edge or by pixels of no class, and kept for that."""
    changed: int
    """Patches, gaps or parts that took another class."""
    undetermined: int
    """Patches, gaps or parts that were kept as undetermined."""


def merge_small_patches(graph: RegionGraph, *, classes: Collection[int], min_area_m2: float) -> Decision:
    """Patches of `classes` below `min_area_m2` merged into their neighbours, the smallest first.

    In ascending order of ground area (of equal ones the one whose first pixel comes first) each patch takes the class
    of the neighbour over sides with the longest border in whole millimetres (of equal ones the lowest class). It is
    then one region with all of that class that it touches; areas and neighbours of the next patch are those of the
    map as it is by then, so a patch that grew to the minimum stays. A patch at the edge of the map or beside no class
    is undetermined and stays, but may receive others.
    """
    merging = _Merging(graph, classes, min_area_m2)
    merging.run()
    root = merging.roots()
    new_class = np.frombuffer(merging.class_of, np.uint8)[root]
    new_class[new_class == graph.class_of] = NODATA
    new_class[0] = NODATA
    small = merging.undetermined()
    return Decision(
        new_class=new_class, is_undetermined=small[root], changed=merging.changed, undetermined=int(small.sum())
    )


def fill_small_gaps(graph: RegionGraph, *, gap: int, min_area_m2: float) -> Decision:
    """Gaps below `min_area_m2` filled with the class around them that has the longest border (ties: the lowest).

    Args:
        graph: regions of a map in which all classes but the filling ones have the label `gap`, connected the other
            way than the patches of the filling classes.
        gap: that label.
        min_area_m2: ground area from which a gap stays.

    A gap that is cut by the edge of the map or by no class is undetermined and stays.
    """
    new_class = np.full(len(graph.class_of), NODATA, np.uint8)
    undetermined = np.zeros(len(graph.class_of), np.bool_)
    for region in np.flatnonzero(graph.class_of == gap).tolist():
        if region == 0 or graph.area_units(region) * graph.unit_m2 >= min_area_m2:
            continue
        if graph.is_open[region]:
            undetermined[region] = True
            continue
        border: dict[int, int] = {}
        for neighbor, length in graph.neighbors(region):
            around = int(graph.class_of[neighbor])
            border[around] = border.get(around, 0) + length
        if border:
            new_class[region] = min(border, key=lambda one: (-border[one], one))
    changed = int((new_class != NODATA).sum())
    return Decision(
        new_class=new_class, is_undetermined=undetermined, changed=changed, undetermined=int(undetermined.sum())
    )


def give_away_parts(graph: RegionGraph, *, part: int, undetermined: int, never: Collection[int]) -> Decision:
    """Regions labelled `part` to the neighbour over sides with the longest border, all at once.

    Ties: the lowest class, then the first pixel. Regions labelled `part`, `undetermined` or one of `never` do not
    receive; a part that has no other neighbour stays.
    """
    closed = {part, undetermined, *never}
    new_class = np.full(len(graph.class_of), NODATA, np.uint8)
    for region in np.flatnonzero(graph.class_of == part).tolist():
        if region == 0:
            continue
        best = min(
            (
                (-length, int(graph.class_of[neighbor]), neighbor)
                for neighbor, length in graph.neighbors(region)
                if length and int(graph.class_of[neighbor]) not in closed
            ),
            default=None,
        )
        if best is not None:
            new_class[region] = best[1]
    is_undetermined = graph.class_of == undetermined
    is_undetermined[0] = False
    return Decision(
        new_class=new_class,
        is_undetermined=is_undetermined,
        changed=int((new_class != NODATA).sum()),
        undetermined=int(is_undetermined.sum()),
    )


class _Merging:
    """The regions while they merge: union-find whose root is the member with the first pixel.

    Only the borders of small regions are ever looked at, so a large region costs nothing however often it receives.
    """

    __slots__ = ("changed", "class_of", "classes", "graph", "grown", "is_open", "least", "next_member", "parent")

    def __init__(self, graph: RegionGraph, classes: Collection[int], min_area_m2: float) -> None:
        self.graph = graph
        self.classes = frozenset(classes)
        self.least = min_area_m2 / graph.unit_m2  # exact: the unit is a power of two
        numbers = np.arange(len(graph.class_of), dtype=np.int32).tobytes()
        self.parent = array("i", numbers)
        self.next_member = array("i", numbers)
        """Members of a region in a ring."""
        self.class_of = bytearray(graph.class_of.tobytes())
        self.is_open = bytearray(graph.is_open.tobytes())
        self.grown: dict[int, int] = {}
        """Areas of regions that are not what they were."""
        self.changed = 0

    def run(self) -> None:
        """Merge until no patch can."""
        waiting = ((self.graph.area_units(one), one) for one in self._due_at_first().tolist())
        heap: list[tuple[int, int]] = []
        """Patches that grew and are still too small."""
        first = next(waiting, None)
        while first or heap:
            if first and (not heap or first < heap[0]):
                (area, patch), first = first, next(waiting, None)
            else:
                area, patch = heapq.heappop(heap)
            # What is part of another by now, or grew meanwhile, has its turn elsewhere; else nothing about it changed.
            if self.parent[patch] != patch or self.grown.get(patch, area) != area:
                continue
            grown = self._merge(patch)
            if grown is not None and not self.is_open[grown] and self._is_small(grown):
                heapq.heappush(heap, (self._area(grown), grown))

    def undetermined(self) -> npt.NDArray[np.bool_]:
        """(count + 1,) True: a region, named by its root, that is below the minimum and open."""
        found: npt.NDArray[np.bool_] = np.frombuffer(self.is_open, np.bool_) & (
            self.roots() == np.arange(len(self.parent))
        )
        found[0] = False
        for one in np.flatnonzero(found).tolist():
            found[one] = self._is_small(one)
        return found

    def find(self, region: int) -> int:
        """The region that a region is part of by now."""
        while self.parent[region] != region:
            self.parent[region] = self.parent[self.parent[region]]
            region = self.parent[region]
        return region

    def roots(self) -> Ids:
        """(count + 1,) `find` of each."""
        root = np.frombuffer(self.parent, np.int32).copy()
        while not np.array_equal(root, up := root[root]):
            root = up
        return root

    def _due_at_first(self) -> Ids:
        """Patches of the map as it came, in order of area, then of their first pixel."""
        high, low = self.graph.area_high, self.graph.area_low
        most_high, most_low = divmod(min(math.ceil(self.least), 1 << 90), 1 << LIMB)
        due = (high < most_high) | ((high == most_high) & (low < most_low))
        due &= ~self.graph.is_open & np.isin(self.graph.class_of, list(self.classes))
        due[0] = False
        found = np.flatnonzero(due)
        return found[np.lexsort((low[found], high[found]))].astype(np.int32)  # stable: ids ascend among equals

    def _area(self, region: int) -> int:
        return self.grown.get(region) or self.graph.area_units(region)

    def _is_small(self, region: int) -> bool:
        return self.class_of[region] in self.classes and self._area(region) < self.least

    def _merge(self, patch: int) -> int | None:
        """The region that `patch` is part of afterwards; None if no neighbour may receive it."""
        border: dict[int, int] = {}
        for member in self._members(patch):
            for neighbor, length in self.graph.neighbors(member):
                region = self.find(neighbor)
                if region != patch:
                    border[region] = border.get(region, 0) + length
        over_sides = [one for one, length in border.items() if length]
        if not over_sides:
            return None
        best = min(over_sides, key=lambda one: (-border[one], self.class_of[one]))
        self.class_of[patch] = self.class_of[best]
        self.changed += 1
        root = patch
        for region in border:
            if self.class_of[region] == self.class_of[best]:
                root = self._join(root, region)
        return root

    def _members(self, region: int) -> Iterator[int]:
        yield region
        member = self.next_member[region]
        while member != region:
            yield member
            member = self.next_member[member]

    def _join(self, one: int, other: int) -> int:
        root, child = min(one, other), max(one, other)
        self.parent[child] = root
        self.grown[root] = self._area(root) + self._area(child)
        self.grown.pop(child, None)
        self.is_open[root] |= self.is_open[child]
        self.next_member[root], self.next_member[child] = self.next_member[child], self.next_member[root]
        return root
