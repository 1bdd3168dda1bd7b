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
    """Zones by which areas are told: a handle, never the polygons."""

    path: Path
    field: str | None = None
    """The column that names them; None: the likeliest."""
    layer: str | None = None
    """The layer; None: the only one with polygons."""

    def digest(self) -> str:
        """sha256 of everything that is read of them: tried before hours of work depend on them.

        Raises:
            InputError: as `measure_zones`.
        """
        found = _open_zones(self.path, field=self.field, layer=self.layer)
        digest = hashlib.sha256("\n".join([found.crs.to_wkt(), *found.names]).encode())
        for geometry in found.geometries:
            digest.update(geometry.wkb)
        return digest.hexdigest()

    def measure(self, classmap: ClassMap) -> ZoneTable:
        """Zone x class, as `measure_zones`."""
        return measure_zones(classmap, self.path, field=self.field, layer=self.layer)


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


def _open_zones(zones: Path, *, field: str | None, layer: str | None) -> Zones:
    try:
        path = find_local_path(str(zones))
    except SceneError as error:
        raise InputError(f"zones: {error}") from error
    return read_zones(path, field=field, layer=layer)
