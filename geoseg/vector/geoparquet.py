"""GeoParquet as a table of features: the GDAL of pyogrio's wheels has no driver for it. Other formats are `read`'s."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import shapely
from pyarrow import parquet

from geoseg.errors import InputError
from geoseg.vector.table import Table
from geoseg.vector.zone_names import matches, printable


def read_geoparquet(path: Path, name: str, *, layer: str | None, wanted: Sequence[str]) -> Table:
    """The features of a GeoParquet file whose geometry is WKB; columns that match `wanted` are read.

    Raises:
        InputError: it cannot be read, or holds no such geometry.
    """
    if layer is not None:
        raise InputError(f"{name} is GeoParquet, which has no layers: name none")
    try:
        schema = parquet.read_schema(path)
        geo = _geo(schema, name)
        primary = str(geo["primary_column"])
        column = geo["columns"][primary]
        encoding = column.get("encoding")
        if encoding != "WKB":
            raise InputError(f"{name} holds geometry as {encoding!r}: write it as WKB with ogr2ogr -f Parquet")
        columns = [one for one in schema.names if one != primary]
        chosen = [one for one in columns if matches(one, wanted)]
        table = parquet.read_table(path, columns=[*chosen, primary], use_threads=False)
        wkb = table.column(primary).to_numpy()
        values = {one: table.column(one).to_pylist() for one in chosen}
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = printable(str(error))[:160]
        raise InputError(f"{name} is damaged or no GeoParquet ({reason}): make it again") from error
    return Table(
        source=name,
        crs=column.get("crs", "OGC:CRS84"),
        columns=tuple(columns),
        values=values,
        geometries=shapely.force_2d(shapely.from_wkb(wkb, on_invalid="fix")),
        fids=tuple(range(len(wkb))),
    )


def _geo(schema: pa.Schema, name: str) -> Any:
    metadata = schema.metadata or {}
    if b"geo" not in metadata:
        raise InputError(f"{name} is Parquet without geometry: write it as GeoParquet with ogr2ogr -f Parquet")
    return json.loads(metadata[b"geo"])
