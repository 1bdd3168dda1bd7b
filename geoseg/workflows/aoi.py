"""The area of interest of a run: a file of polygons brought onto a scene's grid."""

import hashlib
from pathlib import Path

from odc.geo.geobox import GeoBox

from geoseg.core.window import Window
from geoseg.errors import InputError, SceneError
from geoseg.raster.aoi import AreaOfInterest
from geoseg.raster.safety import find_local_path
from geoseg.vector.pieces import pixel_pieces
from geoseg.vector.place import COARSE
from geoseg.vector.read import read_zones

_BLOCK = 1024


def open_aoi(aoi: Path, grid: GeoBox, *, layer: str | None = None) -> AreaOfInterest:
    """All polygons of a file together, as pixels of `grid`.

    Args:
        aoi: a local GeoPackage, FlatGeobuf, GeoJSON, GeoParquet or shapefile in any CRS.
        grid: of the scene.
        layer: the layer of `aoi`; without it the only one with polygons.

    Raises:
        InputError: the file cannot be used, or no pixel of the grid has its centre in the area.
    """
    try:
        path = find_local_path(str(aoi))
    except SceneError as error:
        raise InputError(f"area of interest: {error}") from error
    found = read_zones(path, layer=layer)
    digest = hashlib.sha256(found.crs.to_wkt().encode())
    for geometry in found.geometries:
        digest.update(geometry.wkb)
    pieces, coarse = pixel_pieces(found, grid)
    area = AreaOfInterest(
        name=found.source,
        sha256=digest.hexdigest(),
        shapes=pieces,
        notes=tuple(f"area of interest: {one}" for one in (*found.notes, *((COARSE,) if coarse else ()))),
    )
    height, width = (int(one) for one in grid.shape)
    blocks = (
        Window(row=row, col=col, height=_BLOCK, width=_BLOCK).clip(height, width)
        for row in range(0, height, _BLOCK)
        for col in range(0, width, _BLOCK)
    )
    if not any(area.touches(one) for one in blocks):
        raise InputError(
            f"area of interest {found.source}: no pixel of the scene has its centre in it: is its CRS "
            f"({found.crs.name}) the right one?"
        )
    return area
