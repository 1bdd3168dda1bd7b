"""Scores of patches on disk, blended into the products that `geoseg run` gives of the same scene."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from geoseg.config import Config
from geoseg.core.area import PixelArea
from geoseg.core.patch import MASKED, NODATA, LabelRows, Scores
from geoseg.core.window import Window
from geoseg.errors import ProductError
from geoseg.raster.patches import PatchEntry
from geoseg.raster.safety import raster_env
from geoseg.workflows.finish import Clock, Order, Origin, Segmented, finish, write_classes
from geoseg.workflows.patch_contract import PatchContract, PatchSet, check_patches
from geoseg.workflows.product import check_output, stage
from geoseg.workflows.progress import Progress, Silent
from geoseg.workflows.segment import label_panel


def stitch_scores(
    scores: Path, out: Path, *, config: Config, overwrite: bool = False, progress: Progress | None = None
) -> Segmented:
    """Makes in `out` what `geoseg run` makes, of the scores that `predict_patches` left; run.json is written last.

    Raises:
        ProductError: scores are missing or damaged; `out` is in the way.
        ResourceError: disk or memory ran out; nothing is left in `out`.
    """
    tell, clock = progress or Silent(), Clock()
    if out.resolve() == scores.resolve():
        raise ProductError(f"{out} is the folder that is read: give another one for the result")
    check_output(out, overwrite=overwrite)
    given = check_patches(scores, kind="scores")
    for note in given.contract.notes:
        tell.note(note)
    with (
        stage(out, overwrite=overwrite) as staging,
        raster_env(cache_mb=config.gdal_cache_mb, threads=config.thread_count),
    ):
        order = Order(
            origin=_origin(given.contract),
            legend=given.legend,
            pixel_area=PixelArea(given.index.grid),
            threads=config.thread_count,
        )
        with clock.of("classes"):
            tally = write_classes(staging.folder, _label_scene(given, config, tell), order)
        tell.begin("products", 1)
        return finish(staging, tally, order, clock=clock, notes=given.contract.notes)


def _origin(contract: PatchContract) -> Origin:
    """What the product says of itself: what that of `geoseg run` says."""
    return Origin(
        scene=contract.scene,
        fingerprint=contract.fingerprint,
        job=contract.result_job,
        pipeline=contract.pipeline,
        bundle=contract.bundle,
        bundle_sha256=contract.bundle_sha256,
        device=str(contract.device),
        facts=contract.facts,
    )


def _label_scene(given: PatchSet, config: Config, progress: Progress) -> Iterator[LabelRows]:
    """Finished rows of the whole scene, by the panels of a run."""
    panels = given.tiles.panels(config.panel_width)
    progress.begin("tiles", given.tiles.count(panels))
    for panel in panels:
        masked = [one for one in given.index.entries if one.masked_pixels and _overlap(one.window, panel)]
        for rows in label_panel(given.tiles, given.legend, panel, _read_scores(given, panel, progress)):
            _mark_masked(given, masked, rows)
            yield rows


def _read_scores(given: PatchSet, panel: Window, progress: Progress) -> Iterator[Scores]:
    entries = {entry.window: entry for entry in given.index.entries}
    for window in given.tiles.tiles(panel):
        entry = entries[window]
        if entry.file is not None:
            stored, valid = given.read(entry)
            values = stored if given.contract.scores == "float32" else stored.astype(np.float32) / np.float32(255)
            yield Scores(window=window, values=values, valid=valid)
        progress.advance()


def _mark_masked(given: PatchSet, entries: Sequence[PatchEntry], rows: LabelRows) -> None:
    """NODATA becomes MASKED where the scene itself was observed; `entries` row-major, all as high as a tile."""
    height, _ = given.tiles.tile_shape
    first = bisect_right(entries, rows.window.row - height, key=_row)
    stop = bisect_left(entries, rows.window.row_stop, key=_row)
    for entry in entries[first:stop]:
        part = _overlap(entry.window, rows.window)
        if part is not None:
            masked = given.read_masked(entry)[part.slices_in(entry.window)]
            labels = rows.labels[part.slices_in(rows.window)]
            labels[masked & (labels == NODATA)] = MASKED


def _row(entry: PatchEntry) -> int:
    return entry.window.row


def _overlap(one: Window, other: Window) -> Window | None:
    row, col = max(one.row, other.row), max(one.col, other.col)
    height, width = min(one.row_stop, other.row_stop) - row, min(one.col_stop, other.col_stop) - col
    return Window(row=row, col=col, height=height, width=width) if height > 0 and width > 0 else None
