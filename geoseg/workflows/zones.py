"""Class areas by zone of a finished class map: the zones of a file of polygons, partial pixels exact."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from geoseg.core.area import PixelArea
from geoseg.core.zone_table import ZoneTable
from geoseg.errors import InputError, SceneError
from geoseg.raster.classmap import ClassMap, read_rows
from geoseg.raster.safety import find_local_path, raster_env
from geoseg.vector.read import Zones, read_zones
from geoseg.vector.zones import measure_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneFile:
    """Zones that were read once, so that they can be: a handle, never the polygons."""

    path: Path
    field: str | None
    """The column that names them; None: the likeliest."""
    sha256: str
    """Of everything that is read of them."""


def find_zones(zones: Path, *, field: str | None = None) -> ZoneFile:
    """A file of zones, tried before hours of work depend on it.

    Raises:
        InputError: as `measure_zones`.
    """
    return ZoneFile(path=zones, field=field, sha256=digest_zones(zones, field=field))


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
    found = _open_zones(zones, field=field, layer=layer)
    with raster_env():
        return measure_rows(read_rows(classmap), found, PixelArea(classmap.grid))


def digest_zones(zones: Path, *, field: str | None = None, layer: str | None = None) -> str:
    """sha256 of everything that is read of zones, so that a plan refuses what cannot be used and names what can.

    Raises:
        InputError: as `measure_zones`.
    """
    found = _open_zones(zones, field=field, layer=layer)
    digest = hashlib.sha256("\n".join([found.crs.to_wkt(), *found.names]).encode())
    for geometry in found.geometries:
        digest.update(geometry.wkb)
    return digest.hexdigest()


def _open_zones(zones: Path, *, field: str | None, layer: str | None) -> Zones:
    try:
        path = find_local_path(str(zones))
    except SceneError as error:
        raise InputError(f"zones: {error}") from error
    return read_zones(path, field=field, layer=layer)
