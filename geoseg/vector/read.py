"""Polygon files of the user's as valid, named zones in their own CRS. Where they lie on a map is `place`'s matter."""

import re
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError
from pyproj import CRS
from pyproj.exceptions import CRSError

from geoseg.core.ellipsoid import horizontal
from geoseg.errors import InputError, SceneError
from geoseg.vector.geoparquet import read_geoparquet
from geoseg.vector.table import Table
from geoseg.vector.zone_names import matches, name_zones, printable, shown, wanted_columns

Geometries = npt.NDArray[Any]

_HEAD_BYTES: Final = 1 << 16
_SQLITE: Final = b"SQLite format 3\0"
_POLYGON, _MULTIPOLYGON = 3, 6
_NOT_A_FORMAT: Final = (
    "is no GeoPackage, FlatGeobuf, GeoJSON, GeoParquet or shapefile (.shp): convert it with ogr2ogr -f GPKG"
)
_ARC_OPTION: Final = "OGR_ARC_STEPSIZE"
_ARC_DEGREES: Final = "0.05"
"""Between the vertices of an arc: 1.3e-7 of a circle's area."""
_FOREIGN: Final = (DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError, OSError, sqlite3.Error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Zones:
    """Named polygons as the user drew them; names are unique and printable."""

    source: str
    """Name of the file."""
    field: str
    """The column the names are from; "fid" where there is none."""
    crs: CRS
    """Horizontal; straight edges are straight in it."""
    names: tuple[str, ...]
    geometries: Geometries
    """Valid shapely Polygons and MultiPolygons with an area, one for each name; x before y."""
    notes: tuple[str, ...] = ()
    """What was repaired or left out, one line each."""
    naming: tuple[str, ...] = ()
    """What was joined or told apart for its name, one line each."""


def read_zones(path: Path, *, field: str | None = None, layer: str | None = None) -> Zones:
    """The zones in a local GeoPackage, FlatGeobuf, GeoJSON, GeoParquet or shapefile, told apart by their first bytes.

    Features that share a name in a column the user named are joined. All of them are held in memory.

    Args:
        path: the file.
        field: the column that names the zones; without it the likeliest, one with distinct names preferred.
        layer: its layer; without it the only one with polygons.

    Raises:
        InputError: no such file, layer, column or format; no CRS; not one polygon.
    """
    table = _open_table(path, layer=layer, field=field)
    crs = _check_crs(table)
    column, labels, told = name_zones(table, field)
    geometries, notes, joined = _clean(table, labels)
    names = tuple(geometries)
    if not names:
        raise InputError(f"{table.source} holds no polygon with an area: give a file of polygons")
    return Zones(
        source=table.source,
        field=column,
        crs=crs,
        names=names,
        geometries=np.array(list(geometries.values()), object),
        notes=(*table.notes, *notes),
        naming=(*told, *joined),
    )


def _open_table(path: Path, *, layer: str | None, field: str | None) -> Table:
    name = printable(path.name)
    if not path.is_file():
        raise InputError(f"{name} is not a regular file: give a file of polygons")
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
        if head.startswith(b"PAR1"):
            return read_geoparquet(path, name, layer=layer, wanted=wanted_columns(field))
        return _read_ogr(path, _location(path, head, name), layer=layer, field=field)
    except _FOREIGN as error:
        reason = printable(str(error).replace(str(path.parent) + "/", ""))[:160]
        raise InputError(f"{name} cannot be read ({reason}): copy it again, or convert it with ogr2ogr") from error


def _location(path: Path, head: bytes, name: str) -> str:
    """What GDAL is given: the file, bound to the one driver that belongs to its first bytes."""
    if head.startswith(_SQLITE):
        # The SQLite driver would follow virtual tables into other files; ":" would part the prefix's path.
        return str(path) if ":" in str(path) and head[68:70] == b"GP" else f"GPKG:{path}"
    if head[:4] == b"\x00\x00\x27\x0a":
        if not any(path.with_suffix(one).exists() for one in (".shx", ".SHX")):
            raise InputError(f"{name} has no .shx beside it: copy all files of the shapefile")
        return str(path)
    if head[:3] == head[4:7] == b"fgb":
        return str(path)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{":
        return f"GeoJSON:{path}"
    if head.startswith(b"PK\x03\x04"):
        raise InputError(f"{name} is a zip archive: unpack it and give the file inside")
    raise InputError(f"{name} {_NOT_A_FORMAT}")


def _read_ogr(path: Path, location: str, *, layer: str | None, field: str | None) -> Table:
    name = printable(path.name)
    views = _views(path)
    if any(one.startswith("gpkg_") for one in views):
        raise InputError(f"{name} lists its layers by a query: make it again with ogr2ogr -f GPKG")
    layer = _choose_layer(location, name, layer)
    if layer.lower() in views:
        raise InputError(
            f"{name}: its layer {printable(layer)!r} is a view, a query that may never end: export it to a table with "
            "ogr2ogr -f GPKG"
        )
    info = pyogrio.read_info(location, layer=layer)
    columns = [str(one) for one in info["fields"]]
    chosen = [one for one in columns if matches(one, wanted_columns(field))]
    given: dict[str, Any] = {"layer": layer, "columns": chosen, "force_2d": True, "return_fids": True}
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught, _fine_arcs():
        warnings.simplefilter("always")
        try:
            meta, fids, wkb, values = pyogrio.raw.read(location, **given)
        except UnicodeDecodeError:
            meta, fids, wkb, values = pyogrio.raw.read(location, encoding="ISO-8859-1", **given)
            notes.append(f"{name}: its texts are not in the encoding it states; read as ISO-8859-1")
    notes += sorted({f"{name}: {printable(str(one.message)).partition('. ')[0]}" for one in caught})
    found = dict(zip((str(one) for one in meta["fields"]), (list(column) for column in values), strict=True))
    if info["driver"] == "ESRI Shapefile" and not path.with_suffix(".cpg").exists():
        found = {key: _utf8_after_all(column) for key, column in found.items()}
    return Table(
        source=name,
        crs=meta["crs"],
        columns=tuple(columns),
        values=found,
        geometries=shapely.from_wkb(wkb, on_invalid="fix"),
        fids=tuple(int(one) for one in fids),
        notes=tuple(notes),
    )


@contextmanager
def _fine_arcs() -> Iterator[None]:
    """GDAL draws arcs with an edge every 4 degrees, which takes 1e-3 from the area of a circle."""
    before = pyogrio.get_gdal_config_option(_ARC_OPTION)
    pyogrio.set_gdal_config_options({_ARC_OPTION: _ARC_DEGREES})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({_ARC_OPTION: before})


def _choose_layer(location: str, name: str, layer: str | None) -> str:
    layers = {str(one): str(kind) for one, kind in pyogrio.list_layers(location)}
    listed = ", ".join(f"{printable(one)} ({kind})" for one, kind in layers.items())
    if layer is not None:
        if layer not in layers:
            raise InputError(f"{name} has no layer {layer!r}: it has {listed}")
        return layer
    able = [one for one, kind in layers.items() if re.search("Polygon|Surface|Unknown|Collection", kind)]
    if not able:
        raise InputError(f"{name} has no layer of polygons (it has {listed or 'none'}): give a file of polygons")
    if len(able) > 1:
        raise InputError(f"{name} has {len(able)} layers of polygons, {listed}: name one (--zone-layer, --aoi-layer)")
    return able[0]


def _views(path: Path) -> set[str]:
    """Names of the views of a GeoPackage, in small letters; none of any other file.

    Raises:
        InputError: it cannot be looked into.
    """
    with path.open("rb") as stream:
        if stream.read(len(_SQLITE)) != _SQLITE:
            return set()
    for mode in ("mode=ro", "immutable=1"):  # the second where the write-ahead log cannot be opened
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as base:
            try:
                found = base.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall()
            except sqlite3.OperationalError:
                continue
            return {str(one).lower() for (one,) in found}
    raise InputError(f"{printable(path.name)} is damaged or locked: copy it again")


def _utf8_after_all(values: list[Any]) -> list[Any]:
    """A shapefile that states no encoding is taken for ISO-8859-1; UTF-8 betrays itself."""
    try:
        return [one.encode("latin-1").decode("utf-8") if isinstance(one, str) else one for one in values]
    except UnicodeError:
        return values


def _check_crs(table: Table) -> CRS:
    if table.crs is None:
        raise InputError(
            f"{table.source} has no CRS: assign the one it was drawn in with ogr2ogr -a_srs (a shapefile's is its .prj)"
        )
    try:
        return horizontal(CRS.from_user_input(table.crs))
    except (CRSError, SceneError) as error:
        raise InputError(
            f"{table.source}: its CRS has no place on the Earth ({printable(str(error))[:80]}): "
            "assign another with ogr2ogr -a_srs"
        ) from error


def _clean(table: Table, labels: Sequence[str]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Name -> one valid geometry with an area, in the order of the file; what was done to outlines, and to names."""
    parts: dict[str, list[Any]] = {}
    empty, alien, repaired, broken = [], [], [], []
    for name, geometry in zip(labels, table.geometries, strict=True):
        if geometry is None or geometry.is_empty:
            empty.append(name)
        elif shapely.get_type_id(geometry) not in (_POLYGON, _MULTIPOLYGON):
            alien.append(name)
        elif (valid := _valid(geometry)) is None:
            broken.append(name)
        else:
            if valid is not geometry:
                repaired.append(name)
            parts.setdefault(name, []).append(valid)
    several = [name for name, found in parts.items() if len(found) > 1]
    said = (
        (repaired, "with an outline that crosses itself or is otherwise invalid, repaired"),
        (empty, "without geometry, left out"),
        (alien, "with a geometry that is no polygon, left out"),
        (broken, "with an outline without area or beyond repair, left out"),
    )
    notes = [f"{len(names)} of {len(labels)} features {what}: {shown(names)}" for names, what in said if names]
    joined = [f"features of one name are one zone: {shown(several)}"] if several else []
    zones = {name: found[0] if len(found) == 1 else shapely.union_all(found) for name, found in parts.items()}
    return zones, notes, joined


def _valid(geometry: Any) -> Any | None:
    """The geometry itself if it is valid, else its repaired polygons; None if nothing with an area is left."""
    try:
        if not shapely.is_valid(geometry):
            geometry = polygons_of(shapely.make_valid(geometry, method="structure", keep_collapsed=False))
    except shapely.errors.GEOSException:
        return None
    area = 0.0 if geometry is None else float(geometry.area)
    return geometry if np.isfinite(area) and area > 0 else None


def polygons_of(geometry: Any) -> Any | None:
    """The polygons of any geometry as one Polygon or MultiPolygon; None if there are none."""
    if shapely.get_type_id(geometry) in (_POLYGON, _MULTIPOLYGON):
        return None if geometry.is_empty else geometry
    parts = [polygons_of(one) for one in shapely.get_parts(geometry)] if shapely.get_type_id(geometry) == 7 else []
    kept = [piece for one in parts if one is not None for piece in shapely.get_parts(one)]
    return shapely.multipolygons(kept) if kept else None
