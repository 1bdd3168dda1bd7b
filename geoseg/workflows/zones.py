"""Class areas by zone of a finished class map: the zones of a file of polygons, partial pixels exact."""

from pathlib import Path

from geoseg.core.area import PixelArea
from geoseg.core.zone_table import ZoneTable
from geoseg.errors import InputError, SceneError
from geoseg.raster.classmap import ClassMap, read_rows
from geoseg.raster.safety import find_local_path, raster_env
from geoseg.vector.read import read_zones
from geoseg.vector.zones import measure_rows


def measure_zones(classmap: ClassMap, zones: Path, *, field: str | None = None, layer: str | None = None) -> ZoneTable:
    """Zone x class of a class map, and what does not add up to the whole, said.

    Args:
        classmap: its final pixels; what is no class counts as not observed.
        zones: a local GeoPackage, FlatGeobuf, GeoJSON, GeoParquet or shapefile of polygons in any CRS.
        field: the column that names the zones; without it the likeliest.
        layer: the layer of `zones`; without it the only one with polygons.

    Raises:
        InputError: the file of zones cannot be used; the message has the remedy.
        ProductError: a block of the map is damaged.
    """
    try:
        path = find_local_path(str(zones))
    except SceneError as error:
        raise InputError(f"zones: {error}") from error
    found = read_zones(path, field=field, layer=layer)
    with raster_env():
        return measure_rows(read_rows(classmap), found, PixelArea(classmap.grid))
