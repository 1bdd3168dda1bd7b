"""Outlines with fewer vertices: neighbours keep sharing their edges, and nothing is left between them.

The map is cut into tiles of a fixed place and size. The polygons of a tile, those of what is no class included, are
a coverage that `shapely.coverage_simplify` (Visvalingam-Whyatt) simplifies without moving the edge of the tile; the
parts of a component are then joined across the tiles. Vertices are only left out, never moved, so all stay lattice
vertices.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely

from geoseg.core.components import ComponentIndex, index_components
from geoseg.core.patch import MAX_CLASSES, NODATA
from geoseg.errors import GeosegError
from geoseg.vector.chains import offsets, ranges
from geoseg.vector.rings import trace_tile
from geoseg.vector.seams import Rings, close_rings

Labels = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Polygons = npt.NDArray[Any]

TILE: Final = 512
_FRAME: Final = 256
"""Added to the pixels around a tile, which are no part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How coarse outlines may become."""

    metres: float
    """Root of the area that leaving out a vertex may cut off."""
    pixel_m: tuple[float, float]
    """Ground size of a pixel, down a column and along a row."""


def simplify_rings(rows: Iterable[tuple[int, Labels]], index: ComponentIndex, tolerance: Tolerance) -> Iterator[Rings]:
    """Simplified rings of the components, in the order of (last row, component).

    Args:
        rows: bands of the whole map from `split_rows`, for which `index` was made.
        index: its components.
        tolerance: 0 leaves every vertex.

    Raises:
        GeosegError: the parts of a component are not one polygon (an internal error).
    """
    waiting: dict[int, list[shapely.Polygon]] = {}
    for row, framed, ids in _tile_rows(rows, index):
        for col in range(0, ids.shape[1], TILE):
            parts, components = _simplify_tile(framed[:, col : col + TILE + 2], ids[:, col : col + TILE], tolerance)
            if len(parts):
                shapely.set_coordinates(parts, shapely.get_coordinates(parts) + np.array([row, col]))
            for component, part in zip(components.tolist(), parts, strict=True):
                waiting.setdefault(component, []).append(part)
        done = np.array([one for one in waiting if index.last_row[one] < row + len(ids)], np.int32)
        done = done[np.lexsort((done, index.last_row[done]))]
        if len(done):
            polygons = np.array([_union(waiting.pop(one)) for one in done.tolist()], object)
            yield _rings_of(polygons, done, width=ids.shape[1])


def _tile_rows(rows: Iterable[tuple[int, Labels]], index: ComponentIndex) -> Iterator[tuple[int, Labels, Ids]]:
    """Rows of tiles: (first row, (height + 2, width + 2) labels framed by those around, (height, width) components)."""
    above: Labels | None = None
    labels, ids = np.zeros((0, 0), np.uint8), np.zeros((0, 0), np.int32)
    top = 0
    for row, band in rows:
        found = index.ids(row, band)
        labels, ids = (np.concatenate([labels, band]), np.concatenate([ids, found])) if len(ids) else (band, found)
        while len(labels) > TILE:  # the row below the tiles is known
            yield top, _frame(above, labels[: TILE + 1]), ids[:TILE]
            above, labels, ids, top = labels[TILE - 1], labels[TILE:], ids[TILE:], top + TILE
    if len(labels):
        yield top, _frame(above, np.concatenate([labels, np.full_like(labels[:1], NODATA)])), ids


def _frame(above: Labels | None, labels: Labels) -> Labels:
    """A row above and columns beside `labels`, whose last row is the one below the tiles; 255 is what is no class."""
    framed = np.full((len(labels) + 1, labels.shape[1] + 2), NODATA, np.uint8)
    if above is not None:
        framed[0, 1:-1] = above
    framed[1:, 1:-1] = labels
    framed[framed >= MAX_CLASSES] = NODATA
    return framed


def _simplify_tile(framed: Labels, ids: Ids, tolerance: Tolerance) -> tuple[Polygons, Ids]:
    """Polygons (x = row, y = col from the corner of the tile) of the components in a tile, and which these are."""
    spare = np.setdiff1d(np.arange(MAX_CLASSES), framed)
    if len(spare):  # what is no class takes part, so that outlines against it are simplified as well
        framed = np.where(framed == NODATA, np.uint8(spare[0]), framed)
    tile = framed[1:-1, 1:-1]
    local = index_components([(0, tile)], 4)
    numbered = np.zeros(framed.shape, np.int32)
    numbered[1:-1, 1:-1] = local.ids(0, tile)
    coded = framed + np.uint16(_FRAME)
    coded[1:-1, 1:-1] = tile
    rings = close_rings([trace_tile(coded, numbered)], np.zeros(local.count + 1, np.int32))
    places = np.stack(np.divmod(rings.vertex, tile.shape[1] + 1), axis=1).astype(np.float64)
    closed = np.insert(np.arange(len(places)), rings.ring_start[1:], rings.ring_start[:-1])
    bounds = rings.ring_start + np.arange(len(rings.ring_start))
    polygons: Polygons
    polygons = shapely.from_ragged_array(shapely.GeometryType.POLYGON, places[closed], (bounds, rings.polygon_start))
    polygons = _simplify_coverage(polygons, tolerance)
    component_of = np.zeros(local.count + 1, np.int32)
    component_of[numbered[1:-1, 1:-1]] = ids
    components = component_of[rings.component]
    return polygons[components > 0], components[components > 0]


def _simplify_coverage(polygons: Polygons, tolerance: Tolerance) -> Polygons:
    """The coverage, its outer edge as it is, simplified and valid: on a lattice a line may hit a vertex on its way.

    A polygon to which that happens is taken out: it keeps its outline, and its neighbours keep theirs along it.
    """
    scale = np.array(tolerance.pixel_m)
    ground = shapely.transform(polygons, lambda places: places * scale)
    kept = np.zeros(len(polygons), np.bool_)
    while True:
        simple = polygons.copy()
        coarse = shapely.coverage_simplify(ground[~kept], tolerance.metres, simplify_boundary=False)
        simple[~kept] = shapely.transform(coarse, lambda places: np.rint(places / scale))
        touched = shapely.get_num_coordinates(shapely.coverage_invalid_edges(simple)) > 0
        wrong = (touched | ~shapely.is_valid(simple)) & ~kept
        if not wrong.any():
            return simple
        kept |= wrong


def _union(parts: list[shapely.Polygon]) -> shapely.Polygon:
    """The parts of a component, whose edges at the tiles match, as one polygon."""
    if len(parts) == 1:
        return parts[0]
    area = float(np.sum(shapely.area(parts)))
    for unite in (shapely.coverage_union_all, shapely.union_all):
        try:
            whole = unite(parts)
        except shapely.GEOSException:
            continue
        if whole.geom_type == "Polygon" and whole.area == area:
            return whole
    raise GeosegError(f"internal error: {len(parts)} parts of a simplified polygon do not join; please report it")


def _rings_of(polygons: Polygons, components: Ids, *, width: int) -> Rings:
    """Polygons (x = row, y = col) as rings; normalized, these run as ours do and start at the top-left vertex."""
    _, places, (bounds, polygon_start) = shapely.to_ragged_array(shapely.normalize(polygons))
    vertex = np.rint(places[:, 0]).astype(np.int64) * (width + 1) + np.rint(places[:, 1]).astype(np.int64)
    first, length = bounds[:-1].astype(np.int64), np.diff(bounds) - 1
    polygon = np.repeat(np.arange(len(polygons)), np.diff(polygon_start))
    is_hole = np.ones(len(first), np.bool_)
    is_hole[polygon_start[:-1]] = False
    order = np.lexsort((vertex[first], is_hole, polygon))
    return Rings(
        vertex=vertex[ranges(first[order], length[order])],
        ring_start=offsets(length[order]),
        polygon_start=polygon_start.astype(np.int64),
        component=components,
    )
