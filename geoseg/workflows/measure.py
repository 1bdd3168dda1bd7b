"""A class map, geoseg's or anybody's, with its legend; and its polygons."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from geoseg.core.area import PixelArea
from geoseg.core.legend import LandClass, Legend
from geoseg.core.patch import MAX_CLASSES
from geoseg.errors import SettingsError
from geoseg.raster.classmap import ClassMap, read_classmap, read_rows
from geoseg.raster.safety import find_local_file, plain, raster_env
from geoseg.vector.trace import trace_polygons
from geoseg.vector.write import SUFFIXES, PolygonSummary, write_polygons
from geoseg.workflows.output_file import check_free, move

_CACHE_MB = 16
"""Holds the row of blocks that is read: a larger cache of GDAL would only keep what is never asked for again."""
_ROWS = 256
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
    """
    if out.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"{out}: suffix {out.suffix or 'none'} is not one of {', '.join(SUFFIXES)}")
    check_free(out, overwrite=overwrite)
    with raster_env(cache_mb=_CACHE_MB):
        classmap = open_classmap(source, nodata=nodata, legend=legend)
        beside = out.with_name(f".{out.stem}.{os.getpid()}.tmp{out.suffix}")
        try:
            summary = write_polygons(
                beside,
                trace_polygons(
                    lambda: read_rows(classmap, rows=_ROWS),
                    grid=classmap.grid,
                    legend=classmap.legend,
                    pixel_area=PixelArea(classmap.grid),
                    simplify_m=simplify_m,
                ),
                crs=str(classmap.grid.crs),
                legend=classmap.legend,
                metadata={"GEOSEG_CLASSMAP": Path(source).name, "GEOSEG_SIMPLIFY_M": f"{simplify_m:g}"},
            )
            move(beside, out)
        finally:
            beside.unlink(missing_ok=True)
    return summary


def open_classmap(source: str, *, nodata: int | None, legend: Path | None) -> ClassMap:
    """A class map with the legend it carries or is given."""
    return read_classmap(find_local_file(source), nodata=nodata, legend=None if legend is None else read_legend(legend))


def read_legend(path: Path) -> Legend:
    """A legend from YAML: `id: name`, or `id: {name: …, color: "#rrggbb"}`.

    Raises:
        SettingsError: the file is no such YAML.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        classes = [_land_class(key, value) for key, value in content.items()]
        return Legend(classes=tuple(sorted(classes, key=lambda one: one.id)))
    except (OSError, yaml.YAMLError, AttributeError, TypeError, ValueError, KeyError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{path}: not a legend ({reason}); write `class id: name` in each line") from error


def _land_class(key: Any, value: Any) -> LandClass:
    if not re.fullmatch(r"\d{1,3}", str(key)):
        raise ValueError(f"class id {key!r} is not in 0 … {MAX_CLASSES - 1}")
    class_id = int(key)
    if value is None:
        raise ValueError(f"class {class_id} has no name")
    if isinstance(value, dict):
        return LandClass(id=class_id, name=plain(str(value["name"])), color=str(value["color"]))
    # evenly spread greys: a map without colours still shows its classes
    grey = 40 + class_id * 97 % 200
    return LandClass(id=class_id, name=plain(str(value)), color=f"#{grey:02x}{grey:02x}{grey:02x}")
