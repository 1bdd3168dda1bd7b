"""Tables of points, CSV or GeoPackage, that people fill in and give back. What the columns mean is `accuracy`'s."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from geoseg.core.csv_text import inert
from geoseg.errors import InputError, ResourceError, SettingsError

LAYER: Final = "sample"
GEOMETRY_X: Final = "geometry x"
"""Column in which a point's geometry is read, beside what its column x says."""
GEOMETRY_Y: Final = "geometry y"
POINT_SUFFIXES: Final = (".csv", ".gpkg")
_GPKG_VERSION: Final = "1.2"
_FOREIGN: Final = (OSError, DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError, ProjError)
_MAX_BYTES: Final = 256 * 2**20
"""A larger table of points was not filled in by people."""

Column = Sequence[int] | Sequence[float] | Sequence[str]


def write_points(
    path: Path, columns: Mapping[str, Column], *, x: Sequence[float], y: Sequence[float], crs: CRS | str
) -> None:
    """Write a new file: .csv (UTF-8 with the mark by which spreadsheets know it) or .gpkg (layer "sample").

    Args:
        path: must not exist.
        columns: name -> values; all of one length. x and y of the points are not added to them.
        x: of the points in `crs`, for the geometries of a GeoPackage.
        y: the same.
        crs: of x and y.

    Raises:
        SettingsError: the suffix is unknown.
        ResourceError: the file cannot be written.
    """
    if path.suffix.lower() not in POINT_SUFFIXES:
        raise SettingsError(f"{path}: suffix {path.suffix or 'none'} is not one of {', '.join(POINT_SUFFIXES)}")
    try:
        if path.suffix.lower() == ".csv":
            path.write_text(to_csv(columns), encoding="utf-8-sig", newline="")
        else:
            _write_gpkg(path, columns, shapely.points(np.asarray(x, float), np.asarray(y, float)), crs)
    except _FOREIGN as error:
        path.unlink(missing_ok=True)
        raise ResourceError(f"{path}: points cannot be written ({error}): check the disk") from error


def to_csv(columns: Mapping[str, Column]) -> str:
    """Comma-separated text; no cell starts as a formula does."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow([inert(one) if isinstance(one, str) else one for one in row])
    return text.getvalue()


def read_points(path: Path, *, crs: str | None = None, every_layer: bool = False) -> list[dict[str, str]]:
    """The rows of a table of points as texts by column, "" where a cell is empty.

    CSV as spreadsheets write it: comma, semicolon or tab; UTF-8, UTF-16 with its mark, or Windows-1252. Rows without
    any text are left out.

    Args:
        path: of the table.
        crs: the geometries of a GeoPackage are given in it, in the columns GEOMETRY_X and GEOMETRY_Y; None: not given.
        every_layer: the rows of all layers and tables of a GeoPackage, not only of the sample's.

    Raises:
        InputError: not such a file, no header, or a row with more cells than the header.
    """
    name = path.name
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{name} has {path.stat().st_size / 1e6:.0f} MB: give the table of the sample's points")
        with path.open("rb") as stream:
            head = stream.read(16)
        if head.startswith(b"SQLite format 3\0"):
            return _read_gpkg(path, crs, every_layer=every_layer)
        if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
            raise InputError(f"{name} is a spreadsheet: save it as CSV and give that")
        return _read_csv(_decoded(path.read_bytes(), name), name)
    except _FOREIGN as error:
        raise InputError(f"{name} cannot be read ({_one_line(error)}): give the labelled CSV or GeoPackage") from error


def _write_gpkg(path: Path, columns: Mapping[str, Column], geometries: npt.NDArray[Any], crs: CRS | str) -> None:
    pyogrio.raw.write(
        path,
        geometry=shapely.to_wkb(geometries),
        field_data=[np.array(one, object if one and isinstance(one[0], str) else None) for one in columns.values()],
        fields=list(columns),
        layer=LAYER,
        driver="GPKG",
        geometry_type="Point",
        crs=CRS.from_user_input(crs).to_wkt(),
        dataset_options={"VERSION": _GPKG_VERSION},
    )


def _read_gpkg(path: Path, crs: str | None, *, every_layer: bool) -> list[dict[str, str]]:
    # The driver is named: SQLite's would follow virtual tables into other files.
    location = f"GPKG:{path}"
    found = pyogrio.list_layers(location)
    layers = [str(one) for one, kind in found if kind is not None]
    if every_layer:
        return [row for one, _ in found for row in _read_layer(location, str(one), crs)]
    if not layers:
        raise InputError(f"{path.name} has no layer of points: give the labelled sample")
    return _read_layer(location, LAYER if LAYER in layers else layers[0], crs)


def _read_layer(location: str, layer: str, crs: str | None) -> list[dict[str, str]]:
    meta, _, shapes, values = pyogrio.raw.read(location, layer=layer, read_geometry=crs is not None)
    columns = {str(field): [_text(one) for one in column] for field, column in zip(meta["fields"], values, strict=True)}
    if crs is not None and meta["crs"] is not None:
        centres = shapely.centroid(shapely.from_wkb(shapes))
        place = Transformer.from_crs(meta["crs"], crs, always_xy=True).transform(
            shapely.get_x(centres), shapely.get_y(centres)
        )
        columns |= {
            name: [_text(one) for one in axis] for name, axis in zip((GEOMETRY_X, GEOMETRY_Y), place, strict=True)
        }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _text(value: Any) -> str:
    if value is None or (isinstance(value, (float, np.floating)) and not np.isfinite(value)):
        return ""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    return str(value).strip()


def _decoded(content: bytes, name: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    if b"\0" in content:
        raise InputError(f"{name} is no text: give the labelled CSV or GeoPackage")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _read_csv(text: str, name: str) -> list[dict[str, str]]:
    first, _, rest = text.partition("\n")
    if first.lower().startswith("sep="):  # a line by which Excel is told the separator
        text, first = rest, rest.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise InputError(f"{name} is not such a table ({error}): save it as CSV again") from error
    rows = [cells for cells in ([one.strip() for one in row] for row in rows) if any(cells)]
    if not rows:
        raise InputError(f"{name} is empty: give the labelled sample")
    header = rows[0]
    while header and not header[-1]:
        header.pop()
    if len(set(header)) != len(header) or "" in header:
        raise InputError(f"{name} has a column without name, or two of one name, in {header}: name each once")
    for number, cells in enumerate(rows[1:], start=2):
        if any(cells[len(header) :]):
            raise InputError(f"{name} has {len(cells)} cells in row {number} and {len(header)} columns: check that row")
    return [dict(zip(header, [*cells, *[""] * len(header)], strict=False)) for cells in rows[1:]]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
