"""Polygons to a file, streamed batch by batch: GeoPackage, GeoParquet, FlatGeobuf, GeoJSON. Tracing is `trace`'s."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyogrio
from pyarrow import parquet
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError
from pyproj import CRS

from geoseg.core.legend import Legend
from geoseg.core.patch import MAX_CLASSES
from geoseg.core.tally import AreaTally
from geoseg.errors import ResourceError, SettingsError
from geoseg.vector.style import embed_style
from geoseg.vector.trace import PolygonBatch

LAYER: Final = "polygons"
_GEOMETRY: Final = "geom"
_DRIVERS: Final = {".gpkg": "GPKG", ".fgb": "FlatGeobuf", ".geojson": "GeoJSON"}
SUFFIXES: Final = (*_DRIVERS, ".parquet")
_GPKG_VERSION: Final = "1.2"
"""Read without a warning by every GDAL since 2.3; nothing here needs a later one."""
_INDEX_BYTES: Final = 2**23
"""Memory in which GDAL builds the spatial index of a GeoPackage before it goes on in the file; with half of it writing
8192 x 8192 pixels took 8.8 s instead of 3.4."""
_SIDE_FILES: Final = ("-journal", "-wal", "-shm")
_COLUMNS: Final = (
    pa.field("class_id", pa.int16(), nullable=False),
    pa.field("class", pa.string(), nullable=False),
    pa.field("area_m2", pa.float64(), nullable=False),
    pa.field("perimeter_m", pa.float64(), nullable=False),
    pa.field("component_id", pa.int64(), nullable=False),
    pa.field("pixels", pa.int64(), nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolygonSummary:
    """What was written."""

    count: int
    """Polygons."""
    tally: AreaTally
    """Pixels and ground area per class: equal to the tally of the class map, or something is wrong."""
    drift: Mapping[str, float]
    """Class -> relative difference between the area that is drawn and that of its pixels; 0 unless simplified."""

    @property
    def pixels(self) -> Mapping[int, int]:
        """Class id -> pixels."""
        return self.tally.pixels


def write_polygons(
    path: Path,
    batches: Iterable[PolygonBatch],
    *,
    crs: CRS | str,
    legend: Legend,
    metadata: Mapping[str, str] | None = None,
) -> PolygonSummary:
    """Write polygons to a new file whose suffix decides the format.

    .gpkg has the layer "polygons" and its style; .parquet is GeoParquet 1.1; .fgb has a spatial index, so its
    features are in the order of that index; .geojson is RFC 7946: longitude and latitude of WGS84 with nine
    decimals, edges not densified, which is why area and perimeter are attributes. `metadata` goes into the first
    three. On failure no file is left.

    Args:
        path: must not exist.
        batches: consumed once, from `trace_polygons`.
        crs: of the geometries; a pyproj CRS, WKT or authority code.
        legend: names the classes.
        metadata: provenance, in text.

    Raises:
        SettingsError: the suffix is unknown, or the file exists.
        ResourceError: the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"{path}: the suffix must be one of {', '.join(SUFFIXES)}")
    if path.exists():
        raise SettingsError(f"{path} exists already: remove it or choose another name")
    reference = CRS.from_user_input(crs)
    counter = _Counter(batches, legend)
    write = _write_parquet if path.suffix.lower() == ".parquet" else _write_ogr
    try:
        write(path, counter, reference, metadata or {})
        if counter.error is not None:
            raise counter.error
        if path.suffix.lower() == ".gpkg":
            embed_style(path, LAYER, legend)
    except BaseException as error:
        for name in (path.name, *(path.name + side for side in _SIDE_FILES)):
            path.with_name(name).unlink(missing_ok=True)
        if counter.error is not None:
            raise counter.error from None
        if isinstance(error, _FOREIGN):
            raise ResourceError(f"{path}: polygons cannot be written ({error}): check the disk") from error
        raise
    return PolygonSummary(count=counter.count, tally=counter.tally, drift=counter.drift())


_FOREIGN: Final = (OSError, pa.ArrowException, DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError)


class _Counter:
    """Batches on their way to the file, as Arrow tables, and what they add up to."""

    def __init__(self, batches: Iterable[PolygonBatch], legend: Legend) -> None:
        self.batches = batches
        by_id = {one.id: one.name for one in legend}
        self.names = pa.array([by_id.get(number) for number in range(MAX_CLASSES)], pa.string())
        self.count = 0
        self.tally = AreaTally.zero()
        self.drawn_pixels = np.zeros(MAX_CLASSES, np.float64)
        self.bounds: tuple[float, float, float, float] | None = None
        self.error: BaseException | None = None
        """What stopped the batches: GDAL and Arrow would pass it on as a text, or not at all."""

    def drift(self) -> dict[str, float]:
        """See `PolygonSummary`."""
        return {
            self.names[label].as_py(): float(self.drawn_pixels[label]) / pixels - 1.0
            for label, pixels in self.tally.pixels.items()
        }

    def tables(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """One RecordBatch per batch.

        It stands inside its `try` already: a signal that is pending when Arrow asks for the first one is recorded.
        """
        started = self._recorded(schema)
        next(started)
        return started

    def _recorded(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The tables after an empty one, which is there to be thrown away."""
        try:
            yield pa.RecordBatch.from_pylist([], schema=schema)
            yield from self._tables(schema)
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise

    def _tables(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for batch in self.batches:
            self.count += len(batch.outlines)
            self.tally += batch.tally()
            self.drawn_pixels += np.bincount(batch.class_id, weights=batch.outline_pixels, minlength=MAX_CLASSES)
            self._extend(batch.outlines.bounds())
            yield pa.record_batch(
                [
                    pa.array(batch.class_id, pa.int16()),
                    self.names.take(pa.array(batch.class_id)),
                    pa.array(batch.area_m2),
                    pa.array(batch.perimeter_m),
                    pa.array(batch.component_id),
                    pa.array(batch.pixels),
                    batch.outlines.to_wkb(),
                ],
                schema=schema,
            )

    def _extend(self, bounds: tuple[float, float, float, float]) -> None:
        left, bottom, right, top = bounds
        if self.bounds is not None:
            left, bottom = min(left, self.bounds[0]), min(bottom, self.bounds[1])
            right, top = max(right, self.bounds[2]), max(top, self.bounds[3])
        self.bounds = left, bottom, right, top


def _write_parquet(path: Path, counter: _Counter, crs: CRS, metadata: Mapping[str, str]) -> None:
    """GeoParquet 1.1, zstd, one row group per batch."""
    schema = pa.schema([*_COLUMNS, pa.field(_GEOMETRY, pa.binary(), nullable=False)])
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in counter.tables(schema):
            writer.write_batch(table)
        column: dict[str, object] = {
            "encoding": "WKB",
            "geometry_types": ["Polygon"] if counter.count else [],
            "crs": crs.to_json_dict(),
            "orientation": "counterclockwise",
        }
        if counter.bounds is not None:
            column["bbox"] = counter.bounds
        geo = {"version": "1.1.0", "primary_column": _GEOMETRY, "columns": {_GEOMETRY: column}}
        writer.add_key_value_metadata({"geo": json.dumps(geo), **metadata})


def _write_ogr(path: Path, counter: _Counter, crs: CRS, metadata: Mapping[str, str]) -> None:
    """Whatever GDAL writes."""
    driver = _DRIVERS[path.suffix.lower()]
    extension = {b"ARROW:extension:name": b"geoarrow.wkb"}
    schema = pa.schema([*_COLUMNS, pa.field(_GEOMETRY, pa.binary(), nullable=False, metadata=extension)])
    options = {"RFC7946": "YES", "COORDINATE_PRECISION": "9"} if driver == "GeoJSON" else {}
    pyogrio.set_gdal_config_options({"OGR_GPKG_MAX_RAM_USAGE_RTREE": _INDEX_BYTES})
    pyogrio.write_arrow(
        pa.RecordBatchReader.from_batches(schema, counter.tables(schema)),
        path,
        layer=LAYER,
        driver=driver,
        geometry_name=_GEOMETRY,
        geometry_type="Polygon",
        crs=crs.to_wkt(),
        layer_metadata=dict(metadata) if metadata and driver != "GeoJSON" else None,
        layer_options=options,
        dataset_options={"VERSION": _GPKG_VERSION} if driver == "GPKG" else {},
    )
