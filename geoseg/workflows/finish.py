"""From finished rows of labels to a published product; where the rows come from is `segment`'s or `stitch`'s matter."""

import json
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from geoseg import __version__
from geoseg.core.area import PixelArea
from geoseg.core.area_report import AreaReport
from geoseg.core.legend import Legend
from geoseg.core.patch import LabelRows
from geoseg.core.rule_effect import RuleEffect
from geoseg.core.tally import AreaTally, tally_labels
from geoseg.definition import Definition
from geoseg.errors import GeosegError
from geoseg.outcome import Facts, RunRecord
from geoseg.pipeline import Pipeline
from geoseg.raster.classmap import ClassMapWriter, read_classmap
from geoseg.report.stac import make_item
from geoseg.report.style import make_raster_qml
from geoseg.workflows.final_map import FinalMap, replace_classes, write_final_map
from geoseg.workflows.product import VIEWS, Staging
from geoseg.workflows.provenance import peak_memory_bytes, versions
from geoseg.workflows.report import REPORT, ReportSources, build_report
from geoseg.workflows.vectorize import write_outlines
from geoseg.workflows.zones import ZoneSet


@dataclass(slots=True)
class Clock:
    """When a run began, and its seconds by stage."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Adds the time spent inside."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - begin, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a product comes from."""

    scene: str
    fingerprint: str
    job: str
    pipeline: Pipeline
    """Resolved."""
    bundle: str
    bundle_sha256: str
    device: str
    facts: Facts = field(default_factory=Facts)
    """What a reader of the figures must know of scene and model."""

    @property
    def tags(self) -> dict[str, str]:
        """Provenance that travels inside rasters and vector files."""
        return {
            "GEOSEG_VERSION": __version__,
            "GEOSEG_SCENE": self.scene,
            "GEOSEG_FINGERPRINT": self.fingerprint,
            "GEOSEG_PIPELINE": self.pipeline.digest(),
            "GEOSEG_BUNDLE": self.bundle,
            "GEOSEG_BUNDLE_SHA256": self.bundle_sha256,
            "GEOSEG_JOB": self.job,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmented:
    """A finished run."""

    record: RunRecord
    """What run.json says."""
    report: AreaReport
    """The areas."""
    files: tuple[str, ...]
    """Names of everything in the folder, the report included; run.json is not listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be made, and of what; the products themselves are named by the pipeline of `origin`."""

    origin: Origin
    legend: Legend
    pixel_area: PixelArea
    """Of the grid of the map."""
    threads: int
    zones: ZoneSet | None = None
    """Polygons to measure areas by."""
    scene: Path | None = None
    """Where the scene is, for its picture in the report."""


def write_classes(folder: Path, rows: Iterable[LabelRows], order: Order) -> AreaTally:
    """classes.tif, confidence.tif and the area of every label, from one walk over finished rows."""
    tally = AreaTally.zero()
    with ClassMapWriter(
        folder,
        grid=order.pixel_area.grid,
        legend=order.legend,
        tags=order.origin.tags,
        confidence="confidence" in order.origin.pipeline.products,
        threads=order.threads,
    ) as writer:
        for one in rows:
            writer.write(one)
            tally += tally_labels(one.labels, one.window, order.pixel_area)
        writer.finish()
    return tally


def finish(staging: Staging, tally: AreaTally, order: Order, *, clock: Clock, notes: Iterable[str]) -> Segmented:
    """The staged class map brought to its definition, its areas and polygons, then all of it published, run.json last.

    Args:
        staging: holds classes.tif.
        tally: of that map.
        order: what is to be made.
        clock: of the run.
        notes: what the user was told.

    Raises:
        GeosegError: polygons and class map differ in area; nothing is published.
        ResourceError: the disk is full; nothing is published.
    """
    origin, folder = order.origin, staging.folder
    report = _measure(folder, tally, order, clock)
    if "areas" in origin.pipeline.products:
        document = json.dumps(report.to_json(), indent=2, ensure_ascii=False)
        (folder / "areas.csv").write_text(report.to_csv(), encoding="utf-8")
        (folder / "areas.json").write_text(document + "\n", encoding="utf-8")
    told = list(notes)
    if "polygons" in origin.pipeline.products:
        with clock.of("polygons"):
            told += _write_polygons(folder, report.tally, order)
    record = _record(origin, report, clock, tuple(told))
    if "report" in origin.pipeline.products:
        with clock.of("report"):
            _write_report(staging, record, order)
        record = record.model_copy(update={"timings": clock.seconds, "peak_memory_bytes": peak_memory_bytes()})
    published = staging.publish(record)
    views = tuple(name for name in VIEWS if (staging.out / name).exists())
    return Segmented(record=published, report=report, files=(*published.products, *views))


def _write_report(staging: Staging, record: RunRecord, order: Order) -> None:
    """What people, QGIS and catalogs read of the run: report.html, classes.qml, item.json."""
    folder = staging.folder
    (folder / "classes.qml").write_text(make_raster_qml(order.legend), encoding="utf-8")
    item = make_item(record, order.pixel_area.grid, order.legend, staging.seal())
    (folder / "item.json").write_text(json.dumps(item, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    page = build_report(folder, record.with_products(staging.seal()), ReportSources(scene=order.scene, same_scene=True))
    (folder / REPORT).write_text(page, encoding="utf-8")


def _measure(folder: Path, tally: AreaTally, order: Order, clock: Clock) -> AreaReport:
    """Areas of the final map, which takes the draft's place if there is a definition; by zone if there are zones."""
    definition = order.origin.pipeline.definition
    effects: tuple[RuleEffect, ...] = ()
    if definition is not None:
        with clock.of("definition"):
            final = _apply(definition, folder, order)
        tally, effects = replace_classes(tally, final.tally), final.effects
    grid = order.pixel_area.grid
    report = AreaReport.from_tally(
        tally, legend=order.legend, grid=grid, pixel_area=order.pixel_area, scene=order.origin.scene
    )
    if definition is not None:
        report = report.with_definition(definition.to_json(order.legend), effects)
    if order.zones is None:
        return report
    with clock.of("zones"):
        return report.with_zones(order.zones.measure(read_classmap(folder / "classes.tif")))


def _apply(definition: Definition, folder: Path, order: Order) -> FinalMap:
    """The final map and what confidence is left, in the place of the draft's."""
    draft = folder / "draft"
    draft.mkdir()
    confidence = folder / "confidence.tif"
    has_confidence = confidence.exists()
    for one in (folder / "classes.tif", *([confidence] if has_confidence else [])):
        one.rename(draft / one.name)
    final = write_final_map(
        read_classmap(draft / "classes.tif"),
        definition,
        folder,
        pixel_area=order.pixel_area,
        tags=order.origin.tags,
        threads=order.threads,
        confidence=draft / confidence.name if has_confidence else None,
    )
    shutil.rmtree(draft)
    return final


def _write_polygons(folder: Path, tally: AreaTally, order: Order) -> Iterator[str]:
    """A second pass over the finished class map, whose polygons must add up to its tally exactly; what to say of it."""
    classmap = read_classmap(folder / "classes.tif")
    section = order.origin.pipeline.polygons
    summary = write_outlines(
        classmap,
        folder / f"polygons.{section.format}",
        pixel_area=order.pixel_area,
        simplify_m=section.simplify_m,
        metadata=order.origin.tags,
    )
    made, ids = summary.tally, classmap.legend.ids
    same_pixels = all(made.pixel_count(k) == tally.pixel_count(k) for k in ids)
    if not same_pixels or made.area_m2(*ids) != tally.area_m2(*ids):
        raise GeosegError(f"{order.origin.scene}: polygons and class map differ in area; please report it")
    for name, share in summary.drift.items() if section.simplify_m else ():
        yield f"outlines simplified to {section.simplify_m:g} m: those of {name} enclose {share:+.4%} of its area"


def _record(origin: Origin, report: AreaReport, clock: Clock, notes: tuple[str, ...]) -> RunRecord:
    """What run.json says of a run, but for its files."""
    return RunRecord(
        **origin.facts.model_dump(),
        geoseg=__version__,
        scene=origin.scene,
        fingerprint=origin.fingerprint,
        job=origin.job,
        pipeline=origin.pipeline.model_dump(mode="json"),
        pipeline_digest=origin.pipeline.digest(),
        bundle=origin.bundle,
        bundle_sha256=origin.bundle_sha256,
        engine=origin.pipeline.inference.engine,
        precision=origin.pipeline.inference.precision,
        device=origin.device,
        versions=versions(),
        timings=clock.seconds,
        peak_memory_bytes=peak_memory_bytes(),
        notes=notes,
        started=clock.started,
        finished=datetime.now(UTC),
        areas=report.to_json(),
    )
