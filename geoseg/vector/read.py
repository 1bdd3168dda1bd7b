"""Polygon files of the user's as valid, named zones in their own CRS. Where they lie on a map is `place`'s matter."""

import re
from collections.abc import Sequence
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
from geoseg.vector.table import NO_FIELD, Table

Geometries = npt.NDArray[Any]

_HEAD_BYTES: Final = 1 << 16
_POLYGON, _MULTIPOLYGON = 3, 6
_SHOWN: Final = 5
"""Names listed in a note before "and n more"."""
_GUESSES: Final = ("name", "zone", r"name_\d+", ".*name", "district", "region", "label", "title", "id", "code")
"""Columns that name zones, as patterns, the likeliest first."""
_NOT_A_FORMAT: Final = (
    "is no GeoPackage, FlatGeobuf, GeoJSON, GeoParquet or shapefile (.shp): convert it with ogr2ogr -f GPKG"
)
_FOREIGN: Final = (DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError, OSError)


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
    """What was repaired, left out or joined, one line each."""


def read_zones(path: Path, *, field: str | None = None, layer: str | None = None) -> Zones:
    """The zones in a local GeoPackage, FlatGeobuf, GeoJSON, GeoParquet or shapefile, told apart by their first bytes.

    Features that share a name are joined. All of them are held in memory.

    Args:
        path: the file.
        field: the column that names the zones; without it the likeliest, one with distinct names preferred.
        layer: its layer; without it the only one with polygons.

    Raises:
        InputError: no such file, layer, column or format; no CRS; not one polygon.
    """
    table = _open_table(path, layer=layer, field=field)
    crs = _check_crs(table)
    column, values = _name_column(table, field)
    geometries, notes = _clean(table, [_label(value, fid) for value, fid in zip(values, table.fids, strict=True)])
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
    )


def printable(text: str) -> str:
    """A text of a file on one line, without control characters."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def shown(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _open_table(path: Path, *, layer: str | None, field: str | None) -> Table:
    name = printable(path.name)
    if not path.is_file():
        raise InputError(f"{name} is not a regular file: give a file of polygons")
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
        if head.startswith(b"PAR1"):
            return read_geoparquet(path, name, layer=layer, wanted=_wanted(field))
        return _read_ogr(path, _location(path, head, name), layer=layer, field=field)
    except _FOREIGN as error:
        reason = printable(str(error).replace(str(path.parent) + "/", ""))[:160]
        raise InputError(f"{name} cannot be read ({reason}): copy it again, or convert it with ogr2ogr") from error


def _location(path: Path, head: bytes, name: str) -> str:
    """What GDAL is given: the file, bound to the one driver that belongs to its first bytes."""
    if head.startswith(b"SQLite format 3\0"):
        # The SQLite driver would follow virtual tables into other files; ":" would part the prefix's path.
        return str(path) if ":" in str(path) and head[68:70] == b"GP" else f"GPKG:{path}"
    if head[:3] == head[4:7] == b"fgb" or head[:4] == b"\x00\x00\x27\x0a":
        return str(path)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{":
        return f"GeoJSON:{path}"
    if head.startswith(b"PK\x03\x04"):
        raise InputError(f"{name} is a zip archive: unpack it and give the file inside")
    raise InputError(f"{name} {_NOT_A_FORMAT}")


def _wanted(field: str | None) -> list[str]:
    """Patterns of the columns that are worth reading."""
    return [re.escape(field)] if field is not None else list(_GUESSES)


def _read_ogr(path: Path, location: str, *, layer: str | None, field: str | None) -> Table:
    name = printable(path.name)
    layer = _choose_layer(location, name, layer)
    info = pyogrio.read_info(location, layer=layer)
    columns = [str(one) for one in info["fields"]]
    chosen = [one for one in columns if _matches(one, _wanted(field))]
    notes: list[str] = []
    given: dict[str, Any] = {"layer": layer, "columns": chosen, "force_2d": True, "return_fids": True}
    try:
        meta, fids, wkb, values = pyogrio.raw.read(location, **given)
    except UnicodeDecodeError:
        meta, fids, wkb, values = pyogrio.raw.read(location, encoding="ISO-8859-1", **given)
        notes.append(f"{name}: its texts are not in the encoding it states; read as ISO-8859-1")
    found = dict(zip((str(one) for one in meta["fields"]), (list(column) for column in values), strict=True))
    if info["driver"] == "ESRI Shapefile" and not path.with_suffix(".cpg").exists():
        found = {key: _utf8_after_all(column) for key, column in found.items()}
    return Table(
        source=name,
        crs=meta["crs"],
        columns=tuple(columns),
        values=found,
        geometries=shapely.from_wkb(wkb, on_invalid="ignore"),
        fids=tuple(int(one) for one in fids),
        notes=tuple(notes),
    )


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
        raise InputError(f"{name} has {len(able)} layers of polygons: name one of {listed} with --layer")
    return able[0]


def _matches(column: str, patterns: Sequence[str]) -> bool:
    return any(re.fullmatch(one, column, re.IGNORECASE) for one in patterns)


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


def _name_column(table: Table, field: str | None) -> tuple[str, list[Any]]:
    """The column that names the zones and its values; the feature ids where there is none."""
    if field is not None:
        exact = [one for one in table.values if one == field] or list(table.values)
        if not exact:
            listed = ", ".join(printable(one) for one in table.columns) or "none"
            raise InputError(f"{table.source} has no column {field!r}: it has {listed}")
        return printable(exact[0]), table.values[exact[0]]
    candidates = []
    for pattern in _GUESSES:
        # name_2 before name_1: the finest of nested districts
        matching = sorted((one for one in table.values if _matches(one, [pattern])), reverse=True)
        candidates += [one for one in matching if any(_text(value) for value in table.values[one])]
    distinct = [one for one in candidates if len({_text(value) for value in table.values[one]} - {""}) == len(table)]
    for one in (*distinct, *candidates):
        return printable(one), table.values[one]
    return NO_FIELD, list(table.fids)


def _text(value: Any) -> str:
    """A value of a column as a name; empty where there is none."""
    if value is None or (isinstance(value, (float, np.floating)) and not np.isfinite(value)):
        return ""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    return printable(str(value))


def _label(value: Any, fid: int) -> str:
    return _text(value) or f"feature {fid} (no name)"


def _clean(table: Table, labels: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Name -> one valid geometry with an area, in the order of the file; and what had to be done for it."""
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
    joined = [name for name, found in parts.items() if len(found) > 1]
    said = (
        (repaired, "an outline that crosses itself or is otherwise invalid; repaired, look at it"),
        (empty, "no geometry; left out"),
        (alien, "a geometry that is no polygon; left out"),
        (broken, "an outline without area, or beyond repair; left out"),
        (joined, "several features; each name is one zone, its features joined"),
    )
    notes = [f"{len(names)} with {what}: {shown(names)}" for names, what in said if names]
    return {name: found[0] if len(found) == 1 else shapely.union_all(found) for name, found in parts.items()}, notes


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
