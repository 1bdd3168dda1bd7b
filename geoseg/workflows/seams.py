"""How much of a map depends on where the tiles happen to lie: a scene mapped twice, the second time between them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from geoseg.core.area import PixelArea
from geoseg.core.blend import blend
from geoseg.core.label import align, label
from geoseg.core.patch import NODATA, LabelRows
from geoseg.core.tally import AreaTally, tally_labels
from geoseg.core.tiling import Axis, TilePlan
from geoseg.core.window import Window
from geoseg.raster.classmap import BLOCK
from geoseg.raster.scene import SceneReader
from geoseg.workflows.plan import ScenePlan
from geoseg.workflows.progress import Progress
from geoseg.workflows.segment import Scorer, score_panel


@dataclass(frozen=True, slots=True, kw_only=True)
class SeamCount:
    """Pixels of a scene whose class depends on the tiling."""

    pixels: int
    """That were mapped."""
    differing: int
    """Whose class is another one when the tiles lie half a step further."""
    first: AreaTally
    """By class id, tiles as `run` lays them."""
    second: AreaTally
    """By class id, tiles shifted."""
    tiles: int
    """As `run` lays them; of a single one nothing depends on the tiling."""

    @property
    def share(self) -> float:
        """Of the mapped pixels; nan without any."""
        return self.differing / self.pixels if self.pixels else float("nan")


def count_seams(plan: ScenePlan, scorer: Scorer, *, progress: Progress) -> SeamCount:
    """Maps the scene of a plan twice and compares; memory holds two rows of tiles.

    Raises:
        SceneError: a block of the scene cannot be read.
    """
    shifted = replace(plan, tiles=shift_tiles(plan.tiles, divisor=plan.bundle.spec.divisor))
    progress.begin("seams", plan.tiles.count(plan.panels) + shifted.tiles.count(plan.panels))
    pixel_area = PixelArea(plan.scene.grid)
    first, second, pixels, differing = AreaTally.zero(), AreaTally.zero(), 0, 0
    with SceneReader(plan.scene) as one_reader, SceneReader(plan.scene) as other_reader:
        for panel in plan.panels:
            maps = (
                _map(plan, scorer, one_reader, panel, progress),
                _map(shifted, scorer, other_reader, panel, progress),
            )
            for one, other in zip(*maps, strict=True):
                seen = one.labels != NODATA
                pixels += int(seen.sum())
                differing += int((one.labels != other.labels)[seen].sum())
                first += tally_labels(one.labels, one.window, pixel_area)
                second += tally_labels(other.labels, other.window, pixel_area)
    return SeamCount(pixels=pixels, differing=differing, first=first, second=second, tiles=plan.tiles.count())


def shift_tiles(tiles: TilePlan, *, divisor: int) -> TilePlan:
    """The same tiles half a step further in rows and columns, but for one that begins and one that ends the scene."""
    return TilePlan(rows=_shift(tiles.rows, divisor), cols=_shift(tiles.cols, divisor))


def _shift(axis: Axis, divisor: int) -> Axis:
    if len(axis.starts) == 1:
        return axis
    by = -(-(axis.starts[1] - axis.starts[0]) // (2 * divisor)) * divisor
    between = [start + by for start in axis.starts[:-1]]
    starts = sorted({0, *(start for start in between if start < axis.starts[-1]), axis.starts[-1]})
    return replace(axis, starts=tuple(starts))


def _map(
    plan: ScenePlan, scorer: Scorer, reader: SceneReader, panel: Window, progress: Progress
) -> Iterator[LabelRows]:
    """Finished rows of a panel in pieces that do not depend on the tiles."""
    scores = score_panel(plan, reader, scorer, panel, progress)
    rows = (label(one, plan.bundle.legend) for one in blend(plan.tiles, panel, scores, classes=len(plan.bundle.legend)))
    return align(rows, BLOCK, height=plan.tiles.shape[0])


def worst_share(counts: dict[str, SeamCount]) -> float:
    """The largest share over the scenes; nan without any."""
    shares = [one.share for one in counts.values()]
    return float(np.nanmax(shares)) if shares else float("nan")
