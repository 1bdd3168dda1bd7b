"""Polygons of a finished class map, as a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from geoseg.core.area import PixelArea
from geoseg.errors import SettingsError
from geoseg.raster.classmap import ClassMap, read_rows
from geoseg.raster.safety import raster_env
from geoseg.vector.trace import trace_polygons
from geoseg.vector.write import SUFFIXES, PolygonSummary, write_polygons
from geoseg.workflows.open_map import open_classmap
from geoseg.workflows.output_file import check_free, writing

_CACHE_MB: Final = 16
"""Holds the row of blocks that is read: a larger cache of GDAL would only keep what is never asked for again."""
_ROWS: Final = 256
"""Read at a time: half a row of blocks, as a whole one of a wide map is much beside what tracing needs."""


def vectorize(
    source: str,
    out: Path,
    *,
    nodata: int | None = None,
    legend: Path | None = None,
    simplify_m: float = 0.0,
    overwrite: bool = False,
) -> PolygonSummary:
    """Polygons of a class map in `out`, whose suffix decides the format; `simplify_m` as in `trace_polygons`.

    Raises:
        SettingsError: the suffix is not known, the legend cannot be read, or `simplify_m` is no length.
        ProductError: `out` exists and may not be replaced, or the map cannot be read.
        ResourceError: `out` cannot be written.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"{out}: suffix {out.suffix or 'none'} is not one of {', '.join(SUFFIXES)}")
    check_free(out, overwrite=overwrite, reading=(source, legend))
    with raster_env(cache_mb=_CACHE_MB):
        classmap = open_classmap(source, nodata=nodata, legend=legend)
        with writing(out) as beside:
            summary = write_outlines(
                classmap,
                beside,
                pixel_area=PixelArea(classmap.grid),
                simplify_m=simplify_m,
                metadata={"GEOSEG_CLASSMAP": Path(source).name},
            )
    return summary


def write_outlines(
    classmap: ClassMap, path: Path, *, pixel_area: PixelArea, simplify_m: float, metadata: Mapping[str, str]
) -> PolygonSummary:
    """Polygons of an open class map in a new file; what was left out of their outlines is in its metadata."""
    return write_polygons(
        path,
        trace_polygons(
            lambda: read_rows(classmap, rows=_ROWS),
            grid=classmap.grid,
            legend=classmap.legend,
            pixel_area=pixel_area,
            simplify_m=simplify_m,
        ),
        crs=str(classmap.grid.crs),
        legend=classmap.legend,
        metadata={**metadata, "GEOSEG_SIMPLIFY_M": f"{simplify_m:g}"},
    )
