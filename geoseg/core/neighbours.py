"""Which of many grids may share ground with one: balls around them in space, where neither poles nor 180° matter.

What is found may still not overlap; what is not found does not.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from scipy.spatial import cKDTree

from geoseg.core.ellipsoid import AXIS_M, geocentric
from geoseg.core.placement import longest_step, nodes_of

_NODES: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Ball:
    """A ball in geocentric metres that holds all ground of a grid."""

    centre: tuple[float, float, float]
    radius_m: float


class Neighbours:
    """Answers which grids lie near which, from their balls; nothing else is kept of them."""

    def __init__(self, balls: Iterable[Ball]) -> None:
        found = [(*one.centre, one.radius_m) for one in balls]
        table = np.array(found, np.float64).reshape(-1, 4)
        self._centres, self._radii = table[:, :3], table[:, 3]
        # Grids of like size share a tree: one that goes around the Earth would else make all of them neighbours.
        sizes = np.frexp(self._radii)[1] if len(table) else np.zeros(0, np.int32)
        members = [np.flatnonzero(sizes == size) for size in np.unique(sizes)]
        self._trees = [(one, cKDTree(self._centres[one]), float(self._radii[one].max())) for one in members]

    def of(self, index: int) -> npt.NDArray[np.int64]:
        """Indices of the grids whose balls meet that of grid `index`, ascending, without itself."""
        centre, radius = self._centres[index], float(self._radii[index])
        near: list[npt.NDArray[np.int64]] = []
        for members, tree, largest in self._trees:
            found = members[np.asarray(tree.query_ball_point(centre, radius + largest), np.int64)]
            apart = np.linalg.norm(self._centres[found] - centre, axis=1)
            near.append(found[apart <= radius + self._radii[found]])
        every = np.unique(np.concatenate(near)).astype(np.int64)
        others: npt.NDArray[np.int64] = every[every != index]
        return others


def ball_of(grid: GeoBox, to_lonlat: Transformer) -> Ball:
    """The ball of a grid; the whole Earth where a part of it has no place there."""
    row, col = nodes_of(grid, _NODES)
    a, b, c, d, e, f = grid.affine[:6]
    longitude, latitude = to_lonlat.transform(a * col + b * row + c, d * col + e * row + f)
    with np.errstate(invalid="ignore"):
        x, y, z = geocentric(np.radians(longitude), np.radians(latitude))
    if not np.isfinite([x, y, z]).all():
        return Ball(centre=(0.0, 0.0, 0.0), radius_m=2 * AXIS_M)
    middle = x.mean(), y.mean(), z.mean()
    farthest = float(np.sqrt((x - middle[0]) ** 2 + (y - middle[1]) ** 2 + (z - middle[2]) ** 2).max())
    # ground between the nodes is no farther from one of them than the longest step is long
    step = math.sqrt(sum(longest_step(one) ** 2 for one in (x, y, z)))
    return Ball(
        centre=(float(middle[0]), float(middle[1]), float(middle[2])), radius_m=min(farthest + step, 2 * AXIS_M)
    )


def balls_of(grids: Iterable[GeoBox]) -> Iterator[Ball]:
    """The balls of grids, a transformer for each CRS."""
    known: dict[str, Transformer] = {}
    for grid in grids:
        text = str(grid.crs)
        if text not in known:
            known[text] = Transformer.from_crs(CRS.from_user_input(text), "EPSG:4326", always_xy=True)
        yield ball_of(grid, known[text])
