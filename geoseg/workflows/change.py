"""Two class maps compared, top to bottom: opened, reconciled, tallied, mapped, vectorized, published."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from geoseg import __version__
from geoseg.accuracy.change import ChangeTable, tally_pairs
from geoseg.accuracy.change_codes import ChangeCodes, code_changes, find_target
from geoseg.accuracy.change_report import ChangeReport
from geoseg.core.area import PixelArea
from geoseg.core.area_report import AreaReport
from geoseg.core.legend import Legend
from geoseg.core.patch import NODATA, LabelRows
from geoseg.core.tally import AreaTally, tally_labels
from geoseg.core.zone_table import ZoneTable
from geoseg.errors import GeosegError
from geoseg.outcome import RunRecord
from geoseg.raster.classmap import ClassMapWriter, read_classmap, read_rows
from geoseg.raster.safety import raster_env
from geoseg.vector.trace import trace_polygons
from geoseg.vector.write import write_polygons
from geoseg.workflows.change_input import (
    ChangeRequest,
    MapPair,
    find_years,
    folder_of,
    list_notes,
    open_pair,
    strips,
    warn_of,
)
from geoseg.workflows.finish import Clock
from geoseg.workflows.product import Staging, check_output, stage
from geoseg.workflows.progress import Progress, Silent
from geoseg.workflows.provenance import peak_memory_bytes, versions
from geoseg.workflows.report import REPORT, build_report
from geoseg.workflows.zones import ZoneSet

__all__ = ["ChangeRequest", "Compared", "compare"]

Labels = npt.NDArray[np.uint8]
CHANGE_VERSION = 1
"""Raised when the same maps would give another change product than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A finished comparison."""

    record: RunRecord
    report: ChangeReport

    @property
    def files(self) -> tuple[str, ...]:
        """Names of everything in the folder, the page included; run.json is not listed."""
        return (*self.record.products, REPORT)


def compare(
    request: ChangeRequest, out: Path, *, overwrite: bool = False, progress: Progress | None = None
) -> Compared:
    """What changed between two maps, as a product in the folder `out`.

    Raises:
        InputError: a map, date or class is refused, the grids differ, or `out` is taken; nothing is left.
        ResourceError: the disk is full; nothing is left.
    """
    for source in (request.first, request.second):
        check_output(out, overwrite=overwrite, reading=str(folder_of(source)))
    tell, clock = progress or Silent(), Clock()
    with raster_env():
        pair = open_pair(request)
        years = find_years(request, pair)
        target = find_target(pair.merged.legend, request.target)
        zones = None if request.zones is None else request.zones.read()
        if zones is not None:
            zones.list_notes(pair.first.classmap.grid)  # refuses zones off the map
        pixel_area = PixelArea(pair.first.classmap.grid)
        with stage(out, overwrite=overwrite) as staging:
            with clock.of("transitions"):
                table = ChangeTable(legend=pair.merged.legend, pairs=_tally(pair, pixel_area, tell), years=years)
                codes = code_changes(table, target)
            with clock.of("change map"):
                areas = _write_map(staging.folder, pair, codes, pixel_area=pixel_area, progress=tell)
            with clock.of("polygons"):
                _write_polygons(staging.folder, codes, areas.tally, pixel_area)
            by_zone = _measure_zones(staging.folder, zones, clock)
            report = ChangeReport(
                maps=(pair.first.facts, pair.second.facts),
                table=table,
                codes=codes,
                target=target,
                areas=areas,
                zones=by_zone,
                warnings=tuple(warn_of(pair, table)),
                notes=tuple(list_notes(pair, request, years)),
            )
            settings: dict[str, JsonValue] = {"class": request.target, "align": request.align, "years": years}
            record = _publish(staging, {**settings, "zones_sha256": zones.sha256 if zones else None}, report, clock)
        return Compared(record=record, report=report)


def _tally(pair: MapPair, pixel_area: PixelArea, progress: Progress) -> AreaTally:
    total = AreaTally.zero()
    for window, first, second in pair.rows("rows compared", progress):
        total += tally_pairs(first, second, window, pixel_area)
    return total


def _write_map(
    folder: Path, pair: MapPair, codes: ChangeCodes, *, pixel_area: PixelArea, progress: Progress
) -> AreaReport:
    """change.tif, and its areas."""
    tally = AreaTally.zero()
    tags = {
        "GEOSEG_VERSION": __version__,
        "GEOSEG_MAP1_SHA256": pair.first.facts.sha256,
        "GEOSEG_MAP2_SHA256": pair.second.facts.sha256,
    }
    with ClassMapWriter(
        folder, grid=pixel_area.grid, legend=codes.legend, tags=tags, confidence=False, threads=1
    ) as writer:
        for window, first, second in pair.rows("rows mapped", progress):
            labels = np.empty_like(first)
            for part in strips(len(first)):
                labels[part] = codes.label[first[part], second[part]]
            writer.write(LabelRows(window=window, labels=labels, confidence=labels))
            tally += tally_labels(labels, window, pixel_area)
        writer.finish()
    (folder / "classes.tif").replace(folder / "change.tif")
    return AreaReport.from_tally(
        tally, legend=codes.legend, grid=pixel_area.grid, pixel_area=pixel_area, scene="change.tif"
    )


def _write_polygons(folder: Path, codes: ChangeCodes, tally: AreaTally, pixel_area: PixelArea) -> None:
    """polygons.gpkg of what changed; it must add up to the change map exactly."""
    classmap = read_classmap(folder / "change.tif")
    is_change = np.isin(np.arange(256), codes.changed)
    changed = tuple(one for one in codes.legend if is_change[one.id])
    legend = Legend(classes=changed) if changed else codes.legend

    def read() -> Iterator[tuple[int, Labels]]:
        for row, labels in read_rows(classmap):
            for part in strips(len(labels)):
                labels[part][~is_change[labels[part]]] = NODATA
            yield row, labels

    batches = trace_polygons(read, grid=classmap.grid, legend=legend, pixel_area=pixel_area)
    made = write_polygons(
        folder / "polygons.gpkg", batches, crs=str(classmap.grid.crs), legend=legend, metadata={"GEOSEG": __version__}
    ).tally
    if any((made.pixels.get(k), made.units.get(k)) != (tally.pixels.get(k), tally.units.get(k)) for k in codes.changed):
        raise GeosegError("polygons and change map differ in area; please report it")


def _measure_zones(folder: Path, zones: ZoneSet | None, clock: Clock) -> ZoneTable | None:
    if zones is None:
        return None
    with clock.of("zones"):
        return zones.measure(read_classmap(folder / "change.tif"))


def _publish(staging: Staging, settings: dict[str, JsonValue], report: ChangeReport, clock: Clock) -> RunRecord:
    """Documents and page, then all of it into place, run.json last."""
    folder = staging.folder
    text = json.dumps(report.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "change.json").write_text(text + "\n", encoding="utf-8")
    (folder / "change.csv").write_text(report.to_csv(), encoding="utf-8")
    record = _record(settings, report, clock)
    (folder / REPORT).write_text(build_report(folder, record), encoding="utf-8")
    return staging.publish(record)


def _record(settings: dict[str, JsonValue], report: ChangeReport, clock: Clock) -> RunRecord:
    """What run.json says of a comparison, but for its files; what belongs to a model is empty."""
    first, second = report.maps
    digest = _sha256(json.dumps(settings, sort_keys=True))
    return RunRecord(
        format="geoseg change 1",
        geoseg=__version__,
        scene=f"{first.name} to {second.name}",
        fingerprint=f"sha256 {first.sha256} {second.sha256}",
        job=_sha256("\n".join((digest, first.sha256, second.sha256, str(CHANGE_VERSION)))),
        pipeline={"change": settings},
        pipeline_digest=digest,
        bundle="",
        bundle_sha256="",
        engine="none",
        precision="none",
        device="cpu",
        versions=versions(),
        timings=clock.seconds,
        peak_memory_bytes=peak_memory_bytes(),
        notes=(*report.warnings, *report.notes),
        started=clock.started,
        finished=datetime.now(UTC),
        areas=report.areas.to_json(),
        change=report.to_json(),
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
