"""One scene, top to bottom: patches → scores → blended rows → class map, areas, polygons → a finished folder."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from geoseg import __version__
from geoseg.core.area import PixelArea
from geoseg.core.area_report import AreaReport
from geoseg.core.blend import blend
from geoseg.core.label import align, label
from geoseg.core.patch import MASKED, NODATA, LabelRows, Scores
from geoseg.core.tally import AreaTally, tally_labels
from geoseg.core.window import Window
from geoseg.model.predictor import Predictor
from geoseg.outcome import RunRecord
from geoseg.raster.classmap import BLOCK, ClassMap, ClassMapWriter, read_classmap, read_rows
from geoseg.raster.safety import raster_env
from geoseg.raster.scene import Scene, SceneReader
from geoseg.vector.trace import trace_polygons
from geoseg.vector.write import write_polygons
from geoseg.workflows.plan import ScenePlan
from geoseg.workflows.product import check_output, stage
from geoseg.workflows.progress import Progress, Silent
from geoseg.workflows.provenance import peak_memory_bytes, product_tags, versions


@dataclass(slots=True)
class Clock:
    """Seconds by stage."""

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
class Segmented:
    """A finished run."""

    record: RunRecord
    """What run.json says."""
    report: AreaReport
    """The areas."""


def segment(plan: ScenePlan, out: Path, *, overwrite: bool = False, progress: Progress | None = None) -> Segmented:
    """Makes every product of a plan in `out`; run.json is written last.

    Raises:
        ProductError: `out` holds something that would be lost.
        SceneError: a block of the scene cannot be read; nothing is left in `out`.
        ResourceError: disk or memory ran out; nothing is left in `out`.
    """
    tell = progress or Silent()
    started, clock = datetime.now(UTC), Clock()
    check_output(out, overwrite=overwrite)
    for note in plan.notes:
        tell.note(note)
    with (
        stage(out, overwrite=overwrite) as staging,
        raster_env(cache_mb=plan.config.gdal_cache_mb, threads=plan.threads),
    ):
        pixel_area = PixelArea(plan.scene.grid)
        with clock.of("model"):
            predictor = load_predictor(plan)
        with clock.of("classes"):
            tally = _write_classes(plan, predictor, pixel_area, staging.folder, tell)
        classmap = read_classmap(staging.folder / "classes.tif")
        report = AreaReport.from_tally(
            tally, legend=plan.bundle.legend, grid=plan.scene.grid, pixel_area=pixel_area, scene=plan.scene.name
        )
        with clock.of("areas"):
            _write_areas(plan, report, staging.folder)
        with clock.of("polygons"):
            _write_polygons(plan, classmap, pixel_area, staging.folder, tell)
        for note in predictor.notes:
            tell.note(note)
        record = _record(plan, predictor.notes, report, clock, started)
        return Segmented(record=staging.publish(record), report=report)


def load_predictor(plan: ScenePlan) -> Predictor:
    """The network of a plan, ready for its tiles."""
    return Predictor(
        plan.bundle,
        engine=plan.engine.engine,
        precision=plan.engine.precision,
        device=plan.engine.device,
        tile_shape=plan.tiles.tile_shape,
        batch=plan.batch,
        conversion=plan.conversion,
        threads=plan.threads,
    )


def score_panel(
    plan: ScenePlan, reader: SceneReader, predictor: Predictor, panel: Window, progress: Progress
) -> Iterator[Scores]:
    """Scores of the tiles of a panel, in order; a tile without one valid pixel never reaches the network."""
    columns = plan.tiles.tile_columns(panel)
    starts, (_, width) = plan.tiles.cols.starts, plan.tiles.tile_shape
    reader.start_panel(starts[columns[0]], min(starts[columns[-1]] + width, plan.tiles.shape[1]))
    batch = []
    for window in plan.tiles.tiles(panel):
        patch = reader.read(window)
        progress.advance()
        if patch.valid.any():
            batch.append(patch)
        if len(batch) == plan.batch:
            yield from predictor.predict(batch)
            batch = []
    if batch:
        yield from predictor.predict(batch)


def label_panel(plan: ScenePlan, panel: Window, scores: Iterator[Scores]) -> Iterator[LabelRows]:
    """Finished rows of a panel, cut on output blocks."""
    legend = plan.bundle.legend
    rows = (label(one, legend) for one in blend(plan.tiles, panel, scores, classes=len(legend)))
    return align(rows, BLOCK, height=plan.tiles.shape[0])


class _Masked:
    """Tells what the external mask excluded from what was never observed; idle where there is no mask."""

    def __init__(self, scene: Scene) -> None:
        bare = replace(scene, validity=replace(scene.validity, mask=None, mask_band=None))
        self._reader = None if scene.validity.mask is None else SceneReader(bare)

    def __enter__(self) -> "_Masked":
        if self._reader is not None:
            self._reader.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._reader is not None:
            self._reader.__exit__(None, None, None)

    def start_panel(self, panel: Window) -> None:
        """The next rows are of this panel."""
        if self._reader is not None:
            self._reader.start_panel(panel.col, panel.col_stop)

    def mark(self, rows: LabelRows) -> None:
        """NODATA becomes MASKED where the scene itself was observed."""
        if self._reader is not None and (rows.labels == NODATA).any():
            observed = self._reader.read(rows.window).valid
            rows.labels[(rows.labels == NODATA) & observed] = MASKED


def _write_classes(
    plan: ScenePlan, predictor: Predictor, pixel_area: PixelArea, folder: Path, progress: Progress
) -> AreaTally:
    """classes.tif and confidence.tif, and the area of every label, from one walk over the scene."""
    tally = AreaTally.zero()
    writer = ClassMapWriter(
        folder,
        grid=plan.scene.grid,
        legend=plan.bundle.legend,
        tags=product_tags(plan),
        confidence="confidence" in plan.pipeline.products,
        threads=plan.threads,
    )
    progress.begin("tiles", plan.tiles.count(plan.panels))
    with writer, SceneReader(plan.scene) as reader, _Masked(plan.scene) as masked:
        for panel in plan.panels:
            masked.start_panel(panel)
            scores = score_panel(plan, reader, predictor, panel, progress)
            for rows in label_panel(plan, panel, scores):
                masked.mark(rows)
                writer.write(rows)
                tally += tally_labels(rows.labels, rows.window, pixel_area)
        writer.finish()
    return tally


def _record(plan: ScenePlan, notes: list[str], report: AreaReport, clock: Clock, started: datetime) -> RunRecord:
    """What run.json says of a run, but for its files."""
    return RunRecord(
        geoseg=__version__,
        scene=plan.scene.name,
        fingerprint=plan.scene.fingerprint,
        job=plan.job,
        pipeline=plan.pipeline.model_dump(mode="json"),
        pipeline_digest=plan.pipeline.digest(),
        bundle=plan.bundle.spec.name,
        bundle_sha256=plan.bundle.sha256,
        engine=plan.engine.engine,
        precision=plan.engine.precision,
        device=plan.engine.device,
        versions=versions(),
        timings=clock.seconds,
        peak_memory_bytes=peak_memory_bytes(),
        notes=(*plan.notes, *notes),
        started=started,
        finished=datetime.now(UTC),
        areas=report.to_json(),
    )


def _write_areas(plan: ScenePlan, report: AreaReport, folder: Path) -> None:
    if "areas" in plan.pipeline.products:
        (folder / "areas.csv").write_text(report.to_csv(), encoding="utf-8")
        document = json.dumps(report.to_json(), indent=2, ensure_ascii=False)
        (folder / "areas.json").write_text(document + "\n", encoding="utf-8")


def _write_polygons(
    plan: ScenePlan, classmap: ClassMap, pixel_area: PixelArea, folder: Path, progress: Progress
) -> None:
    """A second pass over the finished class map: polygons describe exactly that raster."""
    if "polygons" not in plan.pipeline.products:
        return
    progress.begin("polygons", 1)
    batches = trace_polygons(read_rows(classmap), grid=classmap.grid, legend=classmap.legend, pixel_area=pixel_area)
    write_polygons(
        folder / f"polygons.{plan.pipeline.polygons.format}",
        batches,
        crs=str(classmap.grid.crs),
        legend=classmap.legend,
        metadata=product_tags(plan),
    )
    progress.advance()
