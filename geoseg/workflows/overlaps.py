"""Scenes of one place: what is held out in one of them is held out in all, whatever their grids."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.core.grid import same_grid
from geoseg.core.window import Window
from geoseg.training.blocks import Split

Floats = npt.NDArray[np.float64]
_NODES = 9
"""Nodes along each side of a block by which it is brought onto another grid."""


def number_grids(grids: Sequence[GeoBox]) -> tuple[int, ...]:
    """For each scene the first one that has its grid: dates of one place are split alike."""
    return tuple(next(k for k, other in enumerate(grids) if same_grid(other, grid)) for grid in grids)


def find_shadows(grids: Sequence[GeoBox], split: Split) -> tuple[tuple[int, Window], ...]:
    """(scene, window) of what is held out in another scene and lies on this one, its bounds taken."""
    kept = [(block.scene, block.window) for block, part in split.parts if part != "train"]
    holders = sorted({scene for scene, _ in kept})
    boxes = [_degrees(grid) for grid in grids]
    shadows = []
    for scene, grid in enumerate(grids):
        for holder in holders:
            if holder == scene or not _meet(boxes[holder], boxes[scene]):
                continue
            way = _Way(grids[holder], grid)
            height, width = (int(one) for one in grids[holder].shape)
            if way.bounds(Window(row=0, col=0, height=height, width=width)) is not None:
                windows = (way.bounds(window) for its, window in kept if its == holder)
                shadows += [(scene, window) for window in windows if window is not None]
    return tuple(shadows)


def _degrees(grid: GeoBox) -> tuple[float, float, float, float]:
    """West, south, east, north of a grid, a little widened; all longitudes where it may cross the antimeridian."""
    height, width = (int(one) for one in grid.shape)
    lons, lats = _Way(grid, None).points(Window(row=0, col=0, height=height, width=width))
    if not len(lons) or np.ptp(lons) > 180:
        return -180.0, -90.0, 180.0, 90.0
    more_lon, more_lat = 0.1 * np.ptp(lons) + 1e-3, 0.1 * np.ptp(lats) + 1e-3
    west, east = float(lons.min() - more_lon), float(lons.max() + more_lon)
    return west, float(lats.min() - more_lat), east, float(lats.max() + more_lat)


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


class _Way:
    """From the pixels of one grid to those of another."""

    def __init__(self, origin: GeoBox, target: GeoBox | None) -> None:
        """None: to longitude and latitude."""
        if origin.crs is None or (target is not None and target.crs is None):
            raise ValueError("a grid has no CRS")
        self._origin, self._target = origin, target
        there = "OGC:CRS84" if target is None or target.crs is None else target.crs.proj
        is_same = target is not None and origin.crs == target.crs
        self._there = None if is_same else Transformer.from_crs(origin.crs.proj, there, always_xy=True)

    def points(self, window: Window) -> tuple[Floats, Floats]:
        """(x, y) in the target's CRS of nodes over a window; those that have no place in it are left out."""
        cols, rows = np.array(list(_outline(window))).T
        a, b, c, d, e, f = tuple(self._origin.transform)[:6]
        xs, ys = a * cols + b * rows + c, d * cols + e * rows + f
        if self._there is not None:
            xs, ys = self._there.transform(xs, ys)
        real = np.isfinite(xs) & np.isfinite(ys)
        return xs[real], ys[real]

    def bounds(self, window: Window) -> Window | None:
        """The target's window around a window of the origin; None where they do not meet."""
        xs, ys = self.points(window)
        if self._target is None or not len(xs):
            return None
        a, b, c, d, e, f = tuple(~self._target.transform)[:6]
        cols, rows = a * xs + b * ys + c, d * xs + e * ys + f
        top, left = int(np.floor(rows.min())), int(np.floor(cols.min()))
        bottom, right = int(np.ceil(rows.max())), int(np.ceil(cols.max()))
        height, width = self._target.shape
        if bottom <= 0 or right <= 0 or top >= height or left >= width:
            return None
        return Window(row=top, col=left, height=bottom - top, width=right - left)


def _outline(window: Window) -> Iterator[tuple[float, float]]:
    """(column, row) of nodes over a window, its inside too: a projection may bend it beyond its corners."""
    for row in np.linspace(window.row, window.row_stop, _NODES):
        for col in np.linspace(window.col, window.col_stop, _NODES):
            yield float(col), float(row)
