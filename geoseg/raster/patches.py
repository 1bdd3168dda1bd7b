"""Patches and scores as files: a GeoTIFF per tile and a GeoParquet index of them; what they mean is `workflows`."""

import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, ValidationError
from rasterio._err import CPLE_BaseError
from rasterio.enums import MaskFlags
from rasterio.env import Env
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from geoseg.core.grid import check_grid
from geoseg.core.window import Window
from geoseg.errors import GeosegError, ProductError, ResourceError, SceneError
from geoseg.raster.safety import first_cause, open_raster, plain

INDEX: Final = "index.parquet"
"""Written last: a folder without it is no set of patches."""
JOB_TAG: Final = "GEOSEG_JOB"
"""The tag of a patch that says which set it belongs to."""
_METADATA: Final = b"geoseg"
_COLUMNS: Final = ("row", "col", "height", "width", "file", "valid_pixels", "masked_pixels")
_MAX_INDEX_BYTES: Final = 2**28


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchEntry:
    """One tile of the plan, and the file of its patch."""

    window: Window
    file: str | None
    """Name beside the index; None: no pixel is valid, so there is no file."""
    valid_pixels: int
    masked_pixels: int = 0
    """Pixels the scene observed and an external mask excluded; if any, `name_masked` says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchIndex:
    """The tiles of a scene that were cut to disk."""

    grid: GeoBox
    """The grid of the scene."""
    entries: tuple[PatchEntry, ...]
    """One per tile of the plan, row-major."""
    about: Mapping[str, Any]
    """JSON values that say what was cut and for what."""


class _StoredGrid(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    crs: str
    transform: tuple[float, float, float, float, float, float]
    height: int
    width: int


def name_patch(window: Window) -> str:
    """The file name of the patch under a window."""
    return f"r{window.row:06d}_c{window.col:06d}.tif"


def name_masked(window: Window) -> str:
    """The file name of the pixels under a window that an external mask excluded: one band, 1 = excluded."""
    return name_patch(window).replace(".tif", "_masked.tif")


def write_patch(
    path: Path,
    pixels: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_],
    *,
    grid: GeoBox,
    window: Window,
    names: Sequence[str],
    tags: Mapping[str, str],
) -> None:
    """Writes one GeoTIFF, lossless, on disk when this returns.

    Args:
        path: a file that is not there.
        pixels: (bands, height, width) under the window, which may reach beyond the grid.
        valid: (height, width), stored as the internal mask.
        grid: of the scene.
        window: where the patch lies.
        names: descriptions of the bands.
        tags: of the file.

    Raises:
        ResourceError: the disk is full.
    """
    count, height, width = pixels.shape
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "dtype": pixels.dtype,
        "count": count,
        "height": height,
        "width": width,
        "crs": grid.crs.to_wkt() if grid.crs else None,
        "transform": _transform(grid, window),
        # GDAL would take the fourth of four bytes for alpha.
        "photometric": "RGB" if count == 3 and pixels.dtype == np.uint8 else "MINISBLACK",
        "compress": "deflate",
        "num_threads": 1,  # GDAL's threads print "Bad value 1 for ExtraSamples tag" on stderr, a race among them
        "zlevel": 1,
        "predictor": 3 if np.issubdtype(pixels.dtype, np.floating) else 2,
    }
    with Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as memory:
        with memory.open(**profile) as target:
            target.write(pixels)
            target.write_mask(valid)
            for index, name in enumerate(names, 1):
                target.set_band_description(index, name)
            target.update_tags(**tags)
        store(path, memory.read())


def read_patch(
    path: Path, window: Window, *, grid: GeoBox, bands: int, dtype: str, job: str
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """(pixels, valid) as `write_patch` was given them.

    Raises:
        ProductError: the file is missing, damaged, or not the patch of this window and job.
    """
    place = f"{path.parent.name}/{path.name}"
    if not path.is_file():
        raise ProductError(f"{place} is missing: its index names it; make the folder again")
    try:
        with open_raster(path, driver="GTiff") as source:
            _check_patch(source, place, window, grid=grid, expected=(bands, dtype, job))
            pixels: npt.NDArray[Any] = source.read()
            valid: npt.NDArray[np.bool_] = source.read_masks(1) != 0
    except (RasterioError, CPLE_BaseError, OSError) as error:
        raise ProductError(f"{place} is damaged ({first_cause(error)}): make the folder again") from error
    except SceneError as error:
        raise ProductError(f"{place} is damaged: {error}") from error
    return pixels, valid


def _check_patch(source: Any, place: str, window: Window, *, grid: GeoBox, expected: tuple[int, str, str]) -> None:
    bands, dtype, job = expected
    if (source.count, *source.shape, *set(source.dtypes)) != (bands, *window.shape, dtype):
        raise ProductError(
            f"{place} has {source.count} bands of {source.height} x {source.width} {source.dtypes[0]}, its index says "
            f"{bands} of {window.height} x {window.width} {dtype}: make the folder again"
        )
    if source.tags().get(JOB_TAG) != job:
        raise ProductError(f"{place} belongs to another set than its index: make the folder again")
    col, row = ~_transform(grid, window) * source.transform * (0, 0)
    if not (abs(col) < 0.01 and abs(row) < 0.01):
        raise ProductError(
            f"{place} lies {row:+.0f} rows and {col:+.0f} columns from where its index has it: make the folder again"
        )
    if MaskFlags.per_dataset not in source.mask_flag_enums[0]:
        raise ProductError(f"{place} has no internal mask, so what is valid is not known: make the folder again")


def _transform(grid: GeoBox, window: Window) -> Affine:
    return Affine(*grid.transform[:6]) * Affine.translation(window.col, window.row)


def write_index(path: Path, index: PatchIndex) -> None:
    """Writes a GeoParquet file, its geometries the footprints of the tiles; on disk when this returns.

    Raises:
        ResourceError: the disk is full.
    """
    import pyarrow as pa
    from pyarrow import parquet

    grid, entries = index.grid, index.entries
    windows = [entry.window for entry in entries]
    transform = list(grid.transform)[:6]
    height, width = grid.shape
    stored = _StoredGrid(crs=_crs(grid).to_wkt(), transform=transform, height=height, width=width)  # type: ignore[arg-type]
    columns = {name: pa.array([getattr(one, name) for one in windows], pa.int32()) for name in _COLUMNS[:4]}
    columns["file"] = pa.array([entry.file for entry in entries], pa.string())
    for name in _COLUMNS[5:]:
        columns[name] = pa.array([getattr(entry, name) for entry in entries], pa.int64())
    columns["geometry"] = pa.array([_footprint(grid, one) for one in windows], pa.binary())
    table = pa.table(columns).replace_schema_metadata(
        {
            b"geo": json.dumps(_geo_metadata(grid)).encode(),
            _METADATA: json.dumps({**index.about, "grid": stored.model_dump()}, sort_keys=True).encode(),
        }
    )
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd")
    store(path, sink.getvalue().to_pybytes())


def read_index(folder: Path) -> PatchIndex:
    """The index of a folder of patches.

    Raises:
        ProductError: there is none, it is damaged, or it names a file outside its folder.
    """
    import pyarrow as pa
    from pyarrow import parquet

    place = f"{plain(folder.name)}/{INDEX}"
    path = folder / INDEX
    if not path.is_file():
        raise ProductError(
            f"{plain(folder.name)} has no {INDEX}: it is no finished folder of `geoseg tile` or `predict`"
        )
    if path.stat().st_size > _MAX_INDEX_BYTES:
        raise ProductError(f"{place} has {path.stat().st_size} bytes, which is no index of patches")
    try:
        table = parquet.read_table(path)
        about = json.loads((table.schema.metadata or {})[_METADATA])
        stored = _StoredGrid.model_validate(about.pop("grid"))
        rows = [table.column(name).to_pylist() for name in _COLUMNS]
        entries = tuple(_entry(*row) for row in zip(*rows, strict=True))
    except (pa.ArrowException, KeyError, ValueError, TypeError, AttributeError, ValidationError, OSError) as error:
        raise ProductError(f"{place} is damaged ({plain(str(error))[:160]}): make the folder again") from error
    grid = check_grid(stored.crs, Affine(*stored.transform), shape=(stored.height, stored.width), place=place)
    return PatchIndex(grid=grid, entries=entries, about=about)


def _entry(row: int, col: int, height: int, width: int, *rest: Any) -> PatchEntry:
    file, valid_pixels, masked_pixels = rest
    if file is not None and (Path(file).name != file or not file.endswith(".tif")):
        raise ValueError(f"{file!r} is no file name")
    return PatchEntry(
        window=Window(row=row, col=col, height=height, width=width),
        file=file,
        valid_pixels=valid_pixels,
        masked_pixels=masked_pixels,
    )


def store(path: Path, content: bytes) -> None:
    """Writes a file and flushes it to the disk.

    Raises:
        ResourceError: the disk is full, or refuses.
    """
    try:
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ResourceError(
            f"{path.name} cannot be written ({error.strerror}): free some space, or write elsewhere"
        ) from error


def _crs(grid: GeoBox) -> Any:
    if grid.crs is None:
        raise GeosegError("a grid of patches has no CRS")
    return grid.crs.proj


def _corners(grid: GeoBox, window: Window) -> list[tuple[float, float]]:
    """The ring of a window in the grid's CRS, counter-clockwise where the grid is north-up, closed."""
    rows, cols = (window.row, window.row_stop), (window.col, window.col_stop)
    pixels = [(cols[0], rows[0]), (cols[0], rows[1]), (cols[1], rows[1]), (cols[1], rows[0]), (cols[0], rows[0])]
    return [Affine(*grid.transform[:6]) * pixel for pixel in pixels]


def _footprint(grid: GeoBox, window: Window) -> bytes:
    """A polygon of one ring as little-endian well-known binary (OGC 06-103r4, 8.2)."""
    ring = _corners(grid, window)
    return struct.pack("<BIII", 1, 3, 1, len(ring)) + b"".join(struct.pack("<dd", *point) for point in ring)


def _geo_metadata(grid: GeoBox) -> dict[str, Any]:
    """The file metadata of GeoParquet 1.0."""
    column = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": _crs(grid).to_json_dict()}
    return {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": column}}
