"""The final map: a class map brought to a definition, and the only one that polygons, areas and samples describe."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geoseg.core.area import PixelArea
from geoseg.core.patch import MAX_CLASSES, NODATA, LabelRows
from geoseg.core.rule_effect import RuleEffect
from geoseg.core.tally import AreaTally
from geoseg.core.window import Window
from geoseg.definition import Definition
from geoseg.errors import GeosegError
from geoseg.raster.classmap import ClassMap, ClassMapWriter, read_rows
from geoseg.workflows.generalize import Generalized, apply_definition


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalMap:
    """What came of the rules; the map itself is classes.tif in the folder."""

    tally: AreaTally
    """Of the final map; what is no class is all nodata in it (`replace_classes`)."""
    effects: tuple[RuleEffect, ...]


def write_final_map(
    draft: ClassMap,
    definition: Definition,
    folder: Path,
    *,
    pixel_area: PixelArea,
    tags: Mapping[str, str],
    threads: int,
    confidence: Path | None = None,
) -> FinalMap:
    """Writes folder/classes.tif: the draft after every rule of the definition.

    Args:
        draft: the map as the network drew it.
        definition: the rules.
        folder: for classes.tif, and for confidence.tif if the draft has one.
        pixel_area: of the map's grid.
        tags: provenance.
        threads: of compression.
        confidence: of the draft. Where a rule decided, the final map has none: 255.

    Raises:
        SettingsError: the definition names a class that the map does not have.
        ResourceError: the disk is full.
    """
    scratch = folder / "rules"
    scratch.mkdir()
    try:
        brought = apply_definition(draft, definition, pixel_area=pixel_area, scratch=scratch)
        with ClassMapWriter(
            folder, grid=draft.grid, legend=draft.legend, tags=tags, confidence=confidence is not None, threads=threads
        ) as writer:
            for rows in _final_rows(draft, brought, confidence):
                writer.write(rows)
            writer.finish()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return FinalMap(tally=brought.tally, effects=brought.effects)


def _final_rows(draft: ClassMap, brought: Generalized, confidence: Path | None) -> Iterator[LabelRows]:
    """The final map with what confidence is left."""
    if confidence is None:
        for row, labels in brought.rows():
            yield LabelRows(window=_rows_at(row, labels), labels=labels, confidence=np.full_like(labels, NODATA))
        return
    of_draft = replace(draft, path=str(confidence))
    for (row, labels), (_, before), (_, percent) in zip(
        brought.rows(), read_rows(draft), read_rows(of_draft), strict=True
    ):
        percent[labels != before] = NODATA
        yield LabelRows(window=_rows_at(row, labels), labels=labels, confidence=percent)


def _rows_at(row: int, labels: npt.NDArray[np.uint8]) -> Window:
    height, width = labels.shape
    return Window(row=row, col=0, height=height, width=width)


def replace_classes(draft: AreaTally, final: AreaTally) -> AreaTally:
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
