"""Bringing a class map to a definition: minimum mapping units, width, gaps. The rules decide in `core`, not here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from geoseg.core.area import PixelArea
from geoseg.core.components import Connectivity, Labels, index_components, split_rows
from geoseg.core.legend import Legend
from geoseg.core.mapping_unit import Decision, fill_small_gaps, give_away_parts, merge_small_patches
from geoseg.core.patch import MAX_CLASSES, NODATA
from geoseg.core.pixel_sides import PixelSides
from geoseg.core.region_graph import RegionGraph, measure_regions
from geoseg.core.rule_effect import RuleEffect
from geoseg.core.tally import AreaTally, tally_labels
from geoseg.core.width import NARROW, UNDETERMINED, find_narrow
from geoseg.core.window import Window
from geoseg.definition import Definition, PatchRule, find_classes
from geoseg.errors import ResourceError, SettingsError
from geoseg.raster.classmap import ClassMap, read_rows

ROWS: Final = 512
"""Rows of the final map that are given at a time."""

Reader = Callable[[], Iterator[tuple[int, Labels]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generalized:
    """A map after its rules: in a scratch file, to be read before the scratch folder is removed."""

    effects: tuple[RuleEffect, ...]
    """What each rule did, in the order in which they were applied; empty = the definition has no rule."""
    tally: AreaTally
    """Areas of the final map."""
    path: Path
    """Labels of the final map, one byte a pixel, row by row."""
    shape: tuple[int, int]
    """(height, width)."""

    def rows(self) -> Iterator[tuple[int, Labels]]:
        """The final map: (first row, (512 or fewer, full width) class ids with 255 = no class), from the top."""
        return _Spool(self.path, self.shape, ROWS).read()


def apply_definition(
    classmap: ClassMap, definition: Definition, *, pixel_area: PixelArea, scratch: Path, rows: int = ROWS
) -> Generalized:
    """The map brought to a definition; the class map itself is only read, and what is no class stays so.

    The order is: minimum mapping units of single classes, then of the definition width, patches, gaps. Width comes
    before patches because taking narrow parts off can leave patches that are too small; patches come before gaps
    because cover in a clearing that is too small to count does not make the clearing smaller, and because a patch
    does not reach the minimum by gaps that are not of it. So no patch below the minimum is left but undetermined ones.

    Args:
        classmap: the map.
        definition: the rules.
        pixel_area: of the map's grid.
        scratch: an existing folder for two files of one byte a pixel, removed by the caller.
        rows: rows looked at together; they change memory, never the result.

    Raises:
        SettingsError: the definition names a class that the map has not, or a width of too many pixels.
        ProductError: the map is damaged.
        ResourceError: the scratch folder is full.
    """
    legend = classmap.legend
    cover = find_classes(definition.classes, legend, place=definition.name)
    units = [(one, find_classes(one.classes, legend, place=definition.name)) for one in definition.patches]
    work = _Work(classmap, pixel_area, scratch, rows)
    effects = [work.merge_each(rule, classes) for rule, classes in units]
    if definition.min_width_m:
        effects.append(work.take_off_narrow(cover, definition.min_width_m, definition.connectivity))
    if definition.min_area_m2:
        effects.append(work.merge_together(cover, definition.min_area_m2, definition.connectivity))
    if definition.min_gap_area_m2:
        effects.append(work.fill_gaps(cover, definition.min_gap_area_m2, 8 if definition.connectivity == 4 else 4))
    return Generalized(effects=tuple(effects), tally=work.tally, path=work.map.path, shape=work.map.shape)


class _Spool:
    """A map in a scratch file: bytes of labels, row by row."""

    __slots__ = ("path", "rows", "shape")

    def __init__(self, path: Path, shape: tuple[int, int], rows: int) -> None:
        self.path, self.shape, self.rows = path, shape, rows

    def read(self) -> Iterator[tuple[int, Labels]]:
        for row in range(0, self.shape[0], self.rows):
            yield row, self.at(row, min(self.rows, self.shape[0] - row))

    def at(self, row: int, count: int) -> Labels:
        width = self.shape[1]
        return np.fromfile(self.path, np.uint8, count * width, offset=row * width).reshape(count, width)

    def write(self, row: int, labels: Labels) -> None:
        try:
            with self.path.open("r+b" if self.path.exists() else "wb") as file:
                file.seek(row * self.shape[1])
                file.write(np.ascontiguousarray(labels).data)
        except OSError as error:
            raise ResourceError(
                f"{self.path}: {error.strerror or error}: free space there, or choose another scratch folder"
            ) from error


class _Work:
    """The map on its way through the rules: each reads it, decides on its regions and writes it back in place."""

    __slots__ = ("legend", "map", "marks", "pixel_area", "sides", "tally")

    def __init__(self, classmap: ClassMap, pixel_area: PixelArea, scratch: Path, rows: int) -> None:
        height, width = classmap.grid.shape
        self.legend = classmap.legend
        self.pixel_area = pixel_area
        self.sides = PixelSides(classmap.grid)
        self.map = _Spool(scratch / "generalized.labels", (height, width), rows)
        self.marks = _Spool(scratch / "generalized.marks", (height, width), rows)
        self.tally = AreaTally.zero()
        for row, labels in read_rows(classmap, rows=rows):
            self.tally += self._tally(row, labels)
            self.map.write(row, labels)

    def merge_each(self, rule: PatchRule, classes: tuple[int, ...]) -> RuleEffect:
        """Patches of each of the classes on its own."""
        return self._apply(
            self.map.read,
            lambda graph: merge_small_patches(graph, classes=classes, min_area_m2=rule.min_area_m2),
            rule=f"Before all else: patches of {_names(classes, self.legend, 'or')} below {_area(rule.min_area_m2)} "
            f"({rule.connectivity}-connected) take the class of the neighbour with the longest border.",
            connectivity=rule.connectivity,
        )

    def merge_together(self, cover: tuple[int, ...], min_area_m2: float, connectivity: Connectivity) -> RuleEffect:
        """Patches of the cover, whatever mix of its classes they are."""
        as_one = _relabel({one: cover[0] for one in cover})
        return self._apply(
            lambda: ((row, as_one[labels]) for row, labels in self.map.read()),
            lambda graph: merge_small_patches(graph, classes=cover[:1], min_area_m2=min_area_m2),
            rule=f"Patches of {_names(cover, self.legend, 'and')} below {_area(min_area_m2)} "
            f"({connectivity}-connected) take the class of the neighbour with the longest border.",
            connectivity=connectivity,
        )

    def fill_gaps(self, cover: tuple[int, ...], min_area_m2: float, connectivity: Connectivity) -> RuleEffect:
        """Gaps in the cover, whatever mix of other classes they are."""
        gap = next(one for one in range(NODATA) if one not in cover)
        as_gap = _relabel({one: gap for one in self.legend.ids if one not in cover})
        return self._apply(
            lambda: ((row, as_gap[labels]) for row, labels in self.map.read()),
            lambda graph: fill_small_gaps(graph, gap=gap, min_area_m2=min_area_m2),
            rule=f"Gaps below {_area(min_area_m2)} ({connectivity}-connected) that {_names(cover, self.legend, 'and')} "
            "wholly surrounds become part of it.",
            connectivity=connectivity,
        )

    def take_off_narrow(self, cover: tuple[int, ...], min_width_m: float, connectivity: Connectivity) -> RuleEffect:
        """Parts of the cover that are too narrow."""
        free = [one for one in range(MAX_CLASSES) if one not in self.legend.ids or one in cover[1:]]
        if len(free) < 2:
            raise SettingsError(
                f"the map has {len(self.legend)} classes; a width needs two free ids below {MAX_CLASSES}"
            )
        part, undetermined = free[:2]
        as_one = _relabel({one: cover[0] for one in cover})
        narrow = find_narrow(self.map.read(), classes=cover, min_width_m=min_width_m, sides=self.sides)
        for row, found in narrow:
            marked = as_one[self.map.at(row, len(found))]
            marked[found == NARROW] = part
            marked[found == UNDETERMINED] = undetermined
            self.marks.write(row, marked)
        return self._apply(
            self.marks.read,
            lambda graph: give_away_parts(graph, part=part, undetermined=undetermined, never=cover[:1]),
            rule=f"Parts of {_names(cover, self.legend, 'and')} narrower than {min_width_m:g} m "
            "take the class of the neighbour with the longest border.",
            connectivity=connectivity,
        )

    def _apply(
        self, groups: Reader, decide: Callable[[RegionGraph], Decision], *, rule: str, connectivity: Connectivity
    ) -> RuleEffect:
        """Regions of `groups` found and measured, decided on, and the decision written into the map."""
        index = index_components(groups(), connectivity)
        graph = measure_regions(groups(), index, pixel_area=self.pixel_area, sides=self.sides)
        decision = decide(graph)
        before, after, undetermined = self.tally, AreaTally.zero(), AreaTally.zero()
        for (row, group), (_, labels) in zip(split_rows(groups()), split_rows(self.map.read()), strict=True):
            ids = index.ids(row, group)
            new_class = decision.new_class[ids]
            final = np.where(new_class == NODATA, labels, new_class)
            self.map.write(row, final)
            after += self._tally(row, final)
            if decision.undetermined:
                undetermined += self._tally(row, np.where(decision.is_undetermined[ids], final, np.uint8(NODATA)))
        self.tally = after
        return RuleEffect(
            rule=rule,
            before_m2=self._areas(before),
            after_m2=self._areas(after),
            changed=decision.changed,
            undetermined=decision.undetermined,
            undetermined_m2=self._areas(undetermined),
        )

    def _tally(self, row: int, labels: Labels) -> AreaTally:
        window = Window(row=row, col=0, height=labels.shape[0], width=labels.shape[1])
        return tally_labels(labels, window, self.pixel_area)

    def _areas(self, tally: AreaTally) -> dict[int, float]:
        return {one: tally.area_m2(one) for one in self.legend.ids if one in tally.pixels}


def _relabel(changes: Mapping[int, int]) -> Labels:
    """(256,) table of labels; those not named stay."""
    table = np.arange(256, dtype=np.uint8)
    for label, new in changes.items():
        table[label] = new
    return table


def _names(classes: Sequence[int], legend: Legend, last: str) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *names, final = (legend.name_of(one) for one in classes)
    return f"{', '.join(names)} {last} {final}" if names else final


def _area(m2: float) -> str:
    """Hectares, and square metres where those are few."""
    return f"{m2 / 1e4:g} ha" if m2 >= 1000 else f"{m2:g} m²"
