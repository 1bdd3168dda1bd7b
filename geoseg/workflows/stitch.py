"""Scores of patches on disk, blended into the products that `geoseg run` gives of the same scene."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from geoseg import __version__
from geoseg.config import Config
from geoseg.core.area import PixelArea
from geoseg.core.area_report import AreaReport
from geoseg.core.blend import blend
from geoseg.core.label import align, label
from geoseg.core.patch import MASKED, NODATA, LabelRows, Scores
from geoseg.core.tally import AreaTally, tally_labels
from geoseg.core.window import Window
from geoseg.errors import ProductError
from geoseg.outcome import RunRecord
from geoseg.raster.classmap import BLOCK, ClassMapWriter, read_classmap, read_rows
from geoseg.raster.patches import PatchEntry
from geoseg.raster.safety import raster_env
from geoseg.vector.trace import trace_polygons
from geoseg.vector.write import write_polygons
from geoseg.workflows.patch_contract import PatchContract, PatchSet, check_patches, threads_of
from geoseg.workflows.product import check_output, stage
from geoseg.workflows.progress import Progress, Silent
from geoseg.workflows.provenance import peak_memory_bytes, versions
from geoseg.workflows.segment import Clock, Segmented


def stitch_scores(
    scores: Path, out: Path, *, config: Config, overwrite: bool = False, progress: Progress | None = None
) -> Segmented:
    """Makes in `out` what `geoseg run` makes, of the scores that `predict_patches` left; run.json is written last.

    Raises:
        ProductError: scores are missing or damaged; `out` is in the way.
        ResourceError: disk or memory ran out; nothing is left in `out`.
    """
    tell = progress or Silent()
    started, clock = datetime.now(UTC), Clock()
    if out.resolve() == scores.resolve():
        raise ProductError(f"{out} is the folder that is read: give another one for the result")
    check_output(out, overwrite=overwrite)
    given = check_patches(scores, kind="scores")
    for note in given.contract.notes:
        tell.note(note)
    with (
        stage(out, overwrite=overwrite) as staging,
        raster_env(cache_mb=config.gdal_cache_mb, threads=threads_of(config)),
    ):
        pixel_area = PixelArea(given.index.grid)
        with clock.of("classes"):
            tally = _write_classes(given, staging.folder, pixel_area, config=config, progress=tell)
        report = AreaReport.from_tally(
            tally, legend=given.legend, grid=given.index.grid, pixel_area=pixel_area, scene=given.contract.scene
        )
        _write_areas(given, report, staging.folder)
        with clock.of("polygons"):
            _write_polygons(given, staging.folder, pixel_area, tell)
        record = _record(given.contract, report, started=started, timings=clock.seconds)
        return Segmented(record=staging.publish(record), report=report)


def _write_classes(
    given: PatchSet, out: Path, pixel_area: PixelArea, *, config: Config, progress: Progress
) -> AreaTally:
    """classes.tif and confidence.tif, and the area of every label, by the panels of a run."""
    contract, tiles, tally = given.contract, given.tiles, AreaTally.zero()
    panels = tiles.panels(config.panel_width)
    masked = [entry for entry in given.index.entries if entry.masked_pixels]
    progress.begin("tiles", tiles.count(panels))
    with ClassMapWriter(
        out,
        grid=given.index.grid,
        legend=given.legend,
        tags=_tags(contract),
        confidence="confidence" in contract.pipeline.products,
        threads=threads_of(config),
    ) as writer:
        for panel in panels:
            scores = _read_scores(given, panel, progress)
            rows = (label(one, given.legend) for one in blend(tiles, panel, scores, classes=len(given.legend)))
            for piece in align(rows, BLOCK, height=tiles.shape[0]):
                _mark_masked(given, masked, piece)
                writer.write(piece)
                tally += tally_labels(piece.labels, piece.window, pixel_area)
        writer.finish()
    return tally


def _read_scores(given: PatchSet, panel: Window, progress: Progress) -> Iterator[Scores]:
    entries = {entry.window: entry for entry in given.index.entries}
    for window in given.tiles.tiles(panel):
        entry = entries[window]
        if entry.file is not None:
            stored, valid = given.read(entry)
            values = stored if given.contract.scores == "float32" else stored.astype(np.float32) / np.float32(255)
            yield Scores(window=window, values=values, valid=valid)
        progress.advance()


def _write_areas(given: PatchSet, report: AreaReport, folder: Path) -> None:
    if "areas" in given.contract.pipeline.products:
        (folder / "areas.csv").write_text(report.to_csv(), encoding="utf-8")
        document = json.dumps(report.to_json(), indent=2, ensure_ascii=False)
        (folder / "areas.json").write_text(document + "\n", encoding="utf-8")


def _write_polygons(given: PatchSet, folder: Path, pixel_area: PixelArea, progress: Progress) -> None:
    """From the finished class map, which they describe exactly."""
    pipeline = given.contract.pipeline
    if "polygons" not in pipeline.products:
        return
    progress.begin("polygons", 1)
    classmap = read_classmap(folder / "classes.tif")
    batches = trace_polygons(read_rows(classmap), grid=classmap.grid, legend=classmap.legend, pixel_area=pixel_area)
    write_polygons(
        folder / f"polygons.{pipeline.polygons.format}",
        batches,
        crs=str(classmap.grid.crs),
        legend=classmap.legend,
        metadata=_tags(given.contract),
    )
    progress.advance()


def _mark_masked(given: PatchSet, entries: Sequence[PatchEntry], rows: LabelRows) -> None:
    """NODATA becomes MASKED where the scene itself was observed."""
    for entry in entries:
        part = _overlap(entry.window, rows.window)
        if part is not None:
            masked = given.read_masked(entry)[part.slices_in(entry.window)]
            labels = rows.labels[part.slices_in(rows.window)]
            labels[masked & (labels == NODATA)] = MASKED


def _overlap(one: Window, other: Window) -> Window | None:
    row, col = max(one.row, other.row), max(one.col, other.col)
    height, width = min(one.row_stop, other.row_stop) - row, min(one.col_stop, other.col_stop) - col
    return Window(row=row, col=col, height=height, width=width) if height > 0 and width > 0 else None


def _tags(contract: PatchContract) -> dict[str, str]:
    """The provenance that `geoseg run` writes, and how the scores were kept on the way."""
    return {
        "GEOSEG_VERSION": __version__,
        "GEOSEG_SCENE": contract.scene,
        "GEOSEG_FINGERPRINT": contract.fingerprint,
        "GEOSEG_PIPELINE": contract.pipeline_digest,
        "GEOSEG_BUNDLE": contract.bundle,
        "GEOSEG_BUNDLE_SHA256": contract.bundle_sha256,
        "GEOSEG_JOB": contract.result_job,
        "GEOSEG_SCORES": str(contract.scores),
    }


def _record(contract: PatchContract, report: AreaReport, *, started: datetime, timings: dict[str, float]) -> RunRecord:
    return RunRecord(
        geoseg=__version__,
        scene=contract.scene,
        fingerprint=contract.fingerprint,
        job=contract.result_job,
        pipeline=contract.pipeline.model_dump(mode="json"),
        pipeline_digest=contract.pipeline_digest,
        bundle=contract.bundle,
        bundle_sha256=contract.bundle_sha256,
        engine=contract.pipeline.inference.engine,
        precision=contract.pipeline.inference.precision,
        device=str(contract.device),
        versions=versions(),
        timings=timings,
        peak_memory_bytes=peak_memory_bytes(),
        notes=contract.notes,
        started=started,
        finished=datetime.now(UTC),
        areas=report.to_json(),
    )
