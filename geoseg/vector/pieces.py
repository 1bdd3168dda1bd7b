"""An area on a grid in small pieces, as GeoJSON: what a raster room can burn window by window. No file is read here."""

from collections.abc import Mapping
from typing import Any, Final

import shapely
import shapely.geometry
from odc.geo.geobox import GeoBox

from geoseg.errors import InputError
from geoseg.vector.place import Placer
from geoseg.vector.read import Zones, polygons_of

Piece = tuple[tuple[float, float, float, float], Mapping[str, Any]]
"""(left, top, right, bottom) in pixels, and a GeoJSON geometry; x = column, y = row."""

_MOST_VERTICES: Final = 1000


def pixel_pieces(area: Zones, grid: GeoBox) -> tuple[tuple[Piece, ...], bool]:
    """The grid's part of all polygons, and whether the best datum shift to it is not installed.

    Pieces are cut between pixels: the centre of a pixel is in one of them where it is in a polygon.

    Raises:
        InputError: a part of the polygons cannot be transformed.
    """
    placer = Placer(grid, area.crs)
    placed = placer.place(area.geometries)
    if placed.lost.any():
        raise InputError(f"{area.source}: a part of it cannot be brought onto the map's projection: cut that part off")
    height, width = (int(one) for one in grid.shape)
    frame = shapely.box(0, 0, width, height)
    todo = [polygons_of(shapely.intersection(one, frame)) for one in placed.geometries if one is not None]
    done: list[Piece] = []
    while todo:
        piece = todo.pop()
        halves = () if piece is None else _halves(piece)
        todo += [polygons_of(shapely.intersection(piece, half)) for half in halves]
        if piece is not None and not halves:
            left, top, right, bottom = (float(one) for one in piece.bounds)
            done.append(((left, top, right, bottom), shapely.geometry.mapping(piece)))
    return tuple(done), placer.coarse


def _halves(piece: Any) -> tuple[Any, ...]:
    """Boxes on either side of a line between pixels, across the longer side; none for what is simple or thin."""
    left, top, right, bottom = shapely.bounds(piece)
    wide = right - left >= bottom - top
    middle = round((left + right) / 2) if wide else round((top + bottom) / 2)
    low, high = (left, right) if wide else (top, bottom)
    if shapely.get_num_coordinates(piece) <= _MOST_VERTICES or not low < middle < high:
        return ()
    if wide:
        return shapely.box(left, top, middle, bottom), shapely.box(middle, top, right, bottom)
    return shapely.box(left, top, right, middle), shapely.box(left, middle, right, bottom)
