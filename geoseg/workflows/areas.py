"""Areas of a finished class map, geoseg's or anybody's: by class, by zone, after a definition; patch counts."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from geoseg.core.area import PixelArea
from geoseg.core.area_report import AreaReport
from geoseg.core.components import count_patches
from geoseg.core.rule_effect import RuleEffect
from geoseg.core.tally import AreaTally, tally_labels
from geoseg.core.window import Window
from geoseg.definition import Definition
from geoseg.errors import SettingsError
from geoseg.raster.classmap import ClassMap, read_classmap, read_rows
from geoseg.raster.safety import raster_env
from geoseg.workflows.final_map import replace_classes, write_final_map
from geoseg.workflows.open_map import open_classmap
from geoseg.workflows.output_file import check_free, move, writing
from geoseg.workflows.zones import ZoneFile


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaRequest:
    """What is asked of a class map."""

    source: str
    """The class map."""
    out: Path | None = None
    """A .csv or .json file to write."""
    nodata: int | None = None
    """The value that is no class, where the map has no nodata tag."""
    legend: Path | None = None
    """YAML file, class id -> name."""
    patches: Literal[4, 8] | None = None
    """Count patches with this connectivity."""
    zones: ZoneFile | None = None
    """Polygons to measure areas by."""
    definition: Definition | None = None
    """What the map is brought to first."""
    final_map: Path | None = None
    """Where the map that was brought to the definition is kept, a GeoTIFF."""
    overwrite: bool = False
    """Replace `out` and `final_map`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Areas of a class map, and its patches if they were counted."""

    report: AreaReport
    patches: Mapping[int, int] | None = None
    """Class id -> patches."""
    connectivity: Literal[4, 8] | None = None

    def to_json(self) -> dict[str, Any]:
        """The document of areas.json; with patches, each class has its count."""
        document = self.report.to_json()
        if self.patches is not None:
            document["connectivity"] = self.connectivity
            for one in document["classes"]:
                one["patches"] = self.patches.get(one["id"], 0)
        return document

    def summary(self) -> str:
        """For people."""
        lines = [self.report.summary()]
        if self.patches is not None:
            counts = (f"{one.name} {self.patches.get(one.id, 0):,}" for one in self.report.classes)
            lines.append(f"Patches, {self.connectivity}-connected: {', '.join(counts)}.")
        return "\n".join(lines)


def measure_areas(request: AreaRequest) -> Measured:
    """Ellipsoidal areas of a class map, also written to `out` if given.

    Raises:
        SettingsError: a suffix, the definition or the legend is refused.
        InputError: the zones cannot be used.
        ProductError: a file is in the way, or the map cannot be read.
        ResourceError: `out` cannot be written.
    """
    _check(request)
    zones = None if request.zones is None else request.zones.read()
    with raster_env():
        given = open_classmap(request.source, nodata=request.nodata, legend=request.legend)
        if zones is not None:
            zones.list_notes(given.grid)  # refuses zones off the map
        pixel_area = PixelArea(given.grid)
        with _final(given, request, pixel_area) as (classmap, tally, effects):
            report = AreaReport.from_tally(
                tally, legend=given.legend, grid=given.grid, pixel_area=pixel_area, scene=Path(request.source).name
            )
            if request.definition is not None:
                report = report.with_definition(request.definition.to_json(given.legend), effects)
            if zones is not None:
                report = report.with_zones(zones.measure(classmap))
            counts = None
            if request.patches is not None:
                counts = count_patches((labels for _, labels in read_rows(classmap)), connectivity=request.patches)
            measured = Measured(report=report, patches=counts, connectivity=request.patches)
            if request.out is not None:
                _write_report(measured, request.out)
            if request.final_map is not None:
                move(Path(classmap.path), request.final_map)
    return measured


def _check(request: AreaRequest) -> None:
    """Everything that can be refused before a pixel is read."""
    zones = None if request.zones is None else request.zones.path
    reading = (request.source, request.legend, zones)
    for path, suffixes in ((request.out, (".csv", ".json")), (request.final_map, (".tif", ".tiff"))):
        if path is not None:
            if path.suffix.lower() not in suffixes:
                raise SettingsError(f"{path}: suffix {path.suffix or 'none'} is not {' or '.join(suffixes)}")
            check_free(path, overwrite=request.overwrite, reading=reading)
    if request.final_map is not None and request.definition is None:
        raise SettingsError(f"--final-map {request.final_map}: without --definition the map stays as it is")


@contextmanager
def _final(
    given: ClassMap, request: AreaRequest, pixel_area: PixelArea
) -> Iterator[tuple[ClassMap, AreaTally, tuple[RuleEffect, ...]]]:
    """The map that is measured, its tally, and what the rules did; its file lasts as long as the context."""
    tally = AreaTally.zero()
    for row, labels in read_rows(given):
        height, width = labels.shape
        tally += tally_labels(labels, Window(row=row, col=0, height=height, width=width), pixel_area)
    AreaReport.from_tally(  # refuses a label that the legend does not name, before any rule sees it
        tally, legend=given.legend, grid=given.grid, pixel_area=pixel_area, scene=Path(request.source).name
    )
    if request.definition is None:
        yield given, tally, ()
        return
    beside = request.final_map or request.out
    with tempfile.TemporaryDirectory(prefix=".geoseg-", dir=None if beside is None else beside.parent) as place:
        folder = Path(place)
        final = write_final_map(
            given,
            request.definition,
            folder,
            pixel_area=pixel_area,
            tags={"GEOSEG_CLASSMAP": Path(request.source).name, "GEOSEG_DEFINITION": request.definition.name},
            threads=os.cpu_count() or 1,
        )
        yield read_classmap(folder / "classes.tif"), replace_classes(tally, final.tally), final.effects


def _write_report(measured: Measured, out: Path) -> None:
    text = measured.report.to_csv(measured.patches)
    if out.suffix.lower() == ".json":
        text = json.dumps(measured.to_json(), indent=2, ensure_ascii=False) + "\n"
    with writing(out) as beside:
        beside.write_text(text, encoding="utf-8")
