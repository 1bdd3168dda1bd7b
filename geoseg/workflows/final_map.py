"""The final map: a class map brought to a definition, and the only one that polygons, areas and samples describe."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from geoseg.core.area import PixelArea
from geoseg.core.patch import MAX_CLASSES
from geoseg.core.rule_effect import RuleEffect
from geoseg.core.tally import AreaTally
from geoseg.core.window import Window
from geoseg.definition import Definition
from geoseg.errors import GeosegError
from geoseg.raster.classmap import ClassMap, ClassMapWriter
from geoseg.workflows.generalize import apply_definition


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalMap:
    """What came of the rules; the map itself is classes.tif in the folder."""

    tally: AreaTally
    """Of the final map; a label that is no class counts as it did in the draft's tally."""
    effects: tuple[RuleEffect, ...]


def write_final_map(
    draft: ClassMap,
    definition: Definition,
    folder: Path,
    *,
    tally: AreaTally,
    pixel_area: PixelArea,
    tags: Mapping[str, str],
    threads: int,
) -> FinalMap:
    """Writes folder/classes.tif: the draft, whose tally is given, after every rule of the definition.

    Raises:
        SettingsError: the definition names a class that the map does not have.
        ResourceError: the disk is full.
    """
    scratch = folder / "rules"
    scratch.mkdir()
    try:
        brought = apply_definition(draft, definition, pixel_area=pixel_area, scratch=scratch)
        with ClassMapWriter(
            folder, grid=draft.grid, legend=draft.legend, tags=tags, confidence=False, threads=threads
        ) as writer:
            for row, labels in brought.rows():
                height, width = labels.shape
                writer.write_labels(Window(row=row, col=0, height=height, width=width), labels)
            writer.finish()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return FinalMap(tally=_replace_classes(tally, brought.tally), effects=brought.effects)


def _replace_classes(draft: AreaTally, final: AreaTally) -> AreaTally:
    """The classes of the final tally; what is no class as the draft tells it apart.

    Raises:
        GeosegError: the rules changed how much of the map has a class (an internal error).
    """
    whole = AreaTally.zero()
    for tally, wanted in ((final, range(MAX_CLASSES)), (draft, range(MAX_CLASSES, 256))):
        pixels = {k: count for k, count in tally.pixels.items() if k in wanted}
        whole += AreaTally(pixels=pixels, units={k: tally.units[k] for k in pixels}, unit_m2=tally.unit_m2)
    if whole.pixel_count() != draft.pixel_count() or whole.area_m2() != draft.area_m2():
        raise GeosegError("internal error: the rules of the definition lost pixels; please report it")
    return whole
