"""Class areas by zone of a finished class map: the zones of a file of polygons, partial pixels exact."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from odc.geo.geobox import GeoBox

from geoseg.core.area import PixelArea
from geoseg.core.zone_table import ZoneTable
from geoseg.errors import InputError, SceneError
from geoseg.raster.classmap import ClassMap, read_rows
from geoseg.raster.safety import find_local_path, raster_env
from geoseg.vector.read import Zones, read_zones
from geoseg.vector.zones import list_notes, measure_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneFile:
    """Zones by which areas are told, as the user names them: nothing is read yet."""

    path: Path
    """A local GeoPackage, FlatGeobuf, GeoJSON, GeoParquet or shapefile of polygons in any CRS."""
    field: str | None = None
    """The column that names them; None: the likeliest."""
    layer: str | None = None
    """The layer; None: the only one with polygons."""

    def read(self) -> "ZoneSet":
        """The zones as the file holds them now.

        Raises:
            InputError: the file cannot be used; the message has the remedy.
        """
        try:
            path = find_local_path(str(self.path))
        except SceneError as error:
            raise InputError(f"zones: {error}") from error
        zones = read_zones(path, field=self.field, layer=self.layer)
        digest = hashlib.sha256("\n".join([zones.crs.to_wkt(), *zones.names]).encode())
        for geometry in zones.geometries:
            digest.update(geometry.wkb)
        return ZoneSet(zones=zones, sha256=digest.hexdigest())

    def digest(self) -> str:
        """The sha256 of `read`."""
        return self.read().sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneSet:
    """Zones as they were read, whatever becomes of their file; picklable, equal where their digests are."""

    sha256: str
    """Of the CRS, the names and the outlines."""
    zones: Zones = field(compare=False)

    @property
    def name(self) -> str:
        """Of the file."""
        return self.zones.source

    def list_notes(self, grid: GeoBox) -> tuple[str, ...]:
        """What the user must know of them before a map on `grid` is made.

        Raises:
            OffMapError: none of them lies on the grid.
        """
        notes = list_notes(self.zones, grid)
        return tuple(one if one.startswith("zones") else f"zones: {one}" for one in notes)

    def measure(self, classmap: ClassMap) -> ZoneTable:
        """Zone x class of the final pixels of a map, and what does not add up to the whole, said.

        What is no class counts as not observed.

        Raises:
            ProductError: a block of the map is damaged.
        """
        with raster_env():
            return measure_rows(read_rows(classmap), self.zones, PixelArea(classmap.grid))
