"""One scene, top to bottom: patches → scores → blended rows → class map, areas, polygons → a finished folder."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from geoseg.core.area import PixelArea
from geoseg.core.blend import blend
from geoseg.core.label import align, label
from geoseg.core.legend import Legend
from geoseg.core.patch import MASKED, NODATA, LabelRows, Patch, Scores
from geoseg.core.tiling import TilePlan
from geoseg.core.window import Window
from geoseg.model.network import NetworkCache
from geoseg.model.predictor import Predictor
from geoseg.raster.classmap import BLOCK
from geoseg.raster.safety import raster_env
from geoseg.raster.scene import Scene, SceneReader
from geoseg.workflows.collar import suspect_collar
from geoseg.workflows.finish import Clock, Order, Origin, Segmented, finish, write_classes
from geoseg.workflows.plan import ScenePlan
from geoseg.workflows.product import check_output, stage
from geoseg.workflows.progress import Progress, Silent


def segment(
    plan: ScenePlan,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    rows: Iterable[LabelRows] | None = None,
    networks: NetworkCache | None = None,
) -> Segmented:
    """Makes every product of a plan in `out`; run.json is written last.

    Args:
        plan: what is to be made.
        out: the run's folder.
        overwrite: a product in it may be replaced.
        progress: listens.
        rows: finished rows that others have made, all panels of the plan in order; None: they are made here.
        networks: of a process that does many scenes; None: the network is let go as soon as the labels are there.

    Raises:
        ProductError: `out` holds something that would be lost.
        SceneError: a block of the scene cannot be read; nothing is left in `out`.
        ResourceError: disk or memory ran out; nothing is left in `out`.
    """
    tell, clock = progress or Silent(), Clock()
    check_output(out, overwrite=overwrite)
    with (
        stage(out, overwrite=overwrite) as staging,
        raster_env(cache_mb=plan.config.gdal_cache_mb, threads=plan.config.thread_count),
    ):
        notes = _tell_of_scene(plan, tell)
        order = Order(
            origin=origin_of(plan),
            legend=plan.bundle.legend,
            pixel_area=PixelArea(plan.scene.grid),
            threads=plan.config.thread_count,
            zones=plan.zones,
            scene=Path(plan.source),
        )
        predictor = None
        if rows is None:
            with clock.of("model"):
                predictor = load_predictor(plan, networks)
            rows = label_scene(plan, predictor, tell)
        with clock.of("classes"):
            tally = write_classes(staging.folder, rows, order)
        tell.begin("products", 1)
        for note in predictor.notes if predictor is not None else ():
            tell.note(note)
            notes.append(note)
        del predictor  # what follows needs its memory
        return finish(staging, tally, order, clock=clock, notes=notes)


def _tell_of_scene(plan: ScenePlan, tell: Progress) -> list[str]:
    """Says what is to be known of the scene before hours are spent on it."""
    for note in plan.notes:
        tell.note(note)
    collar = suspect_collar(plan.scene)
    if collar:
        tell.warn(collar)
    return [*plan.notes, *([collar] if collar else [])]


def origin_of(plan: ScenePlan) -> Origin:
    """What a product of this plan says of itself."""
    return Origin(
        scene=plan.scene.name,
        fingerprint=plan.scene.fingerprint,
        job=plan.job,
        pipeline=plan.pipeline,
        bundle=plan.bundle.spec.name,
        bundle_sha256=plan.bundle.sha256,
        device=plan.engine.device,
        facts=plan.facts,
    )


class Scorer(Protocol):
    """What gives tiles their probabilities: a predictor, or several passes of one."""

    def predict(self, patches: Sequence[Patch]) -> list[Scores]:
        """See `Predictor`."""


def load_predictor(
    plan: ScenePlan, networks: NetworkCache | None = None, *, tile_shape: tuple[int, int] | None = None
) -> Predictor:
    """The network of a plan, ready for its tiles or for tiles of another shape; `networks` may have it already."""
    return Predictor(
        plan.bundle,
        engine=plan.engine.engine,
        precision=plan.engine.precision,
        device=plan.engine.device,
        tile_shape=tile_shape or plan.tiles.tile_shape,
        batch=plan.batch,
        conversion=plan.conversion,
        refinement=plan.pipeline.refinement,
        threads=plan.config.thread_count,
        networks=networks,
    )


def score_panel(
    plan: ScenePlan, reader: SceneReader, predictor: Scorer, panel: Window, progress: Progress
) -> Iterator[Scores]:
    """Scores of the tiles of a panel, in order; a tile without a pixel to be mapped never reaches the network."""
    columns = plan.tiles.tile_columns(panel)
    starts, (_, width) = plan.tiles.cols.starts, plan.tiles.tile_shape
    reader.start_panel(starts[columns[0]], min(starts[columns[-1]] + width, plan.tiles.shape[1]))
    batch = []
    for window in plan.tiles.tiles(panel):
        progress.advance()
        if plan.aoi is not None and not plan.aoi.touches(window):
            continue
        patch = reader.read(window)
        if patch.valid.any():
            batch.append(patch)
        if len(batch) == plan.batch:
            yield from predictor.predict(batch)
            batch = []
    if batch:
        yield from predictor.predict(batch)


def label_panel(tiles: TilePlan, legend: Legend, panel: Window, scores: Iterable[Scores]) -> Iterator[LabelRows]:
    """Finished rows of a panel, cut on output blocks."""
    rows = (label(one, legend) for one in blend(tiles, panel, scores, classes=len(legend)))
    return align(rows, BLOCK, height=tiles.shape[0])


def label_scene(
    plan: ScenePlan, predictor: Predictor, progress: Progress, *, panels: tuple[Window, ...] | None = None
) -> Iterator[LabelRows]:
    """Finished rows of the whole scene or of some of its panels, panel by panel."""
    panels = plan.panels if panels is None else panels
    progress.begin("tiles", plan.tiles.count(panels))
    with SceneReader(plan.scene) as reader, _Masked(plan.scene) as masked:
        for panel in panels:
            masked.start_panel(panel)
            scores = score_panel(plan, reader, predictor, panel, progress)
            for rows in label_panel(plan.tiles, plan.bundle.legend, panel, scores):
                masked.mark(rows)
                if plan.aoi is not None:
                    plan.aoi.mark(rows)
                yield rows


class _Masked:
    """Tells what the external mask excluded from what was never observed; idle where there is no mask."""

    def __init__(self, scene: Scene) -> None:
        self._reader = None if scene.validity.mask is None else SceneReader(scene.without_mask())

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
