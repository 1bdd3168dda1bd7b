"""The class map and its confidence: written as COGs, opened, read by rows. How a COG is made is in `cog`."""

import colorsys
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from rasterio._err import CPLE_BaseError
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from geoseg.core.grid import check_grid
from geoseg.core.legend import LandClass, Legend
from geoseg.core.patch import MAX_CLASSES, NODATA, NOT_PROCESSED, LabelRows
from geoseg.core.window import Window
from geoseg.errors import GeosegError, ProductError, SceneError
from geoseg.raster.cog import BLOCK, CogWriter
from geoseg.raster.safety import find_driver, first_cause, open_raster, plain

__all__ = ["BLOCK", "ClassMap", "ClassMapWriter", "read_classmap", "read_rows"]

LEGEND_TAG: Final = "GEOSEG_LEGEND"
"""The tag that holds the legend: a JSON list of {id, name, color}."""
_CHECKED_ROWS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMap:
    """A finished class map: a small picklable handle, never the pixels."""

    path: str
    """A GeoTIFF with one band of class ids."""
    grid: GeoBox
    """CRS, transform and shape."""
    legend: Legend
    nodata: int = NODATA
    """The stored value that means no class; `read_rows` gives 255 in its place."""
    masked: bool = False
    """The file has an internal mask; 0 there means no class too."""
    named: bool = True
    """False: neither the file nor the user named the classes; `class 7` is then only a number."""


class ClassMapWriter:
    """Writes finished rows into folder/classes.tif and folder/confidence.tif.

    A context manager: left before `finish` has returned, it leaves no file.
    """

    def __init__(
        self,
        folder: Path,
        *,
        grid: GeoBox,
        legend: Legend,
        tags: Mapping[str, str],
        confidence: bool,
        threads: int,
    ) -> None:
        self._finished = False
        self._legend = legend
        self._is_known = np.zeros(256, dtype=np.bool_)
        self._is_known[list(legend.ids)] = True
        self._is_known[NOT_PROCESSED:] = True
        tags = {**tags, LEGEND_TAG: dump_legend(legend)}
        with ExitStack() as undo:
            self._classes = CogWriter(
                folder / "classes.tif",
                grid=grid,
                description="class",
                tags=tags,
                colors=_color_table(legend),
                threads=threads,
            )
            undo.callback(self._classes.discard)
            self._confidence = (
                CogWriter(
                    folder / "confidence.tif",
                    grid=grid,
                    description="probability of the class in percent",
                    tags=tags,
                    colors=None,
                    threads=threads,
                )
                if confidence
                else None
            )
            undo.pop_all()

    def __enter__(self) -> "ClassMapWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._finished:
            for one in self._writers():
                one.discard()

    @property
    def histogram(self) -> dict[int, int]:
        """Pixels written so far by stored value: class ids and 255; only values that occur."""
        counts = self._classes.counts
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}

    def write(self, rows: LabelRows) -> None:
        """Store rows of whole blocks, each block once; labels that are no class become 255.

        Raises:
            GeosegError: not whole blocks, a block written before, or a label outside the legend.
            ResourceError: the disk is full.
        """
        self.write_labels(rows.window, rows.labels)
        if self._confidence is not None:
            empty = rows.labels >= NOT_PROCESSED
            self._confidence.write(rows.window, np.where(empty, np.uint8(NODATA), rows.confidence))

    def write_labels(self, window: Window, labels: npt.NDArray[np.uint8]) -> None:
        """The same for a map without confidence: (height, width) class ids under a window."""
        unknown = labels[~self._is_known[labels]]
        if unknown.size:
            raise GeosegError(f"label {unknown[0]} under {window} is not in the legend {self._legend.ids}")
        self._classes.write(window, np.where(labels >= NOT_PROCESSED, np.uint8(NODATA), labels))

    def finish(self) -> None:
        """Make valid COGs, read every pixel back and compare it with what was written.

        Raises:
            GeosegError: a block was never written.
            ResourceError: the disk is full, or it gave back something else.
        """
        for one in self._writers():
            one.finish()
        self._finished = True

    def _writers(self) -> list[CogWriter]:
        return [one for one in (self._classes, self._confidence) if one is not None]


def read_classmap(path: Path, *, nodata: int | None = None, legend: Legend | None = None) -> ClassMap:
    """The handle of a class map made by geoseg or by another tool.

    Legend and nodata come from the arguments, else from the file; without either, each value present is a
    class of its own, and 255 is nodata.

    Raises:
        SceneError: the file is not there or is no GeoTIFF that can be opened.
        ProductError: it is no map of classes: bands, dtype, georeference, values, or a damaged legend.
    """
    if find_driver(path) != "GTiff":
        raise ProductError(f"{plain(path.name)} is not a GeoTIFF: convert it with gdal_translate -of COG")
    with open_raster(path, driver="GTiff") as file:
        _check_band(file, path)
        grid = _grid_of(file, path)
        stored = file.tags().get(LEGEND_TAG)
        colors = _file_colors(file)
        own_nodata = _nodata_of(file, path) if nodata is None else nodata
        masked = MaskFlags.per_dataset in file.mask_flag_enums[0]
    found = legend or (parse_legend(stored, path) if stored is not None else None)
    classmap = ClassMap(
        path=str(path),
        grid=grid,
        nodata=own_nodata,
        masked=masked,
        legend=found or Legend(classes=(_invent(0, colors),)),
    )
    if stored is None or legend is not None:
        values = _values_in(classmap)
        if found is None and values:
            found = Legend(classes=tuple(_invent(value, colors) for value in values))
        elif found is not None and (unknown := set(values) - set(found.ids)):
            raise ProductError(
                f"{plain(path.name)} holds value {min(unknown)}, which the legend does not name {found.ids}: "
                "add it to --legend, or name it with --nodata"
            )
    return replace(classmap, legend=found or classmap.legend, named=legend is not None or stored is not None)


def read_rows(classmap: ClassMap, *, rows: int = BLOCK) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Full-width rows from top to bottom: (first row, (height, width) class ids with 255 = no class).

    Raises:
        ProductError: a block is damaged, or holds a value that is neither class nor nodata.
    """
    path = Path(classmap.path)
    height, width = classmap.grid.shape
    with open_raster(path, driver="GTiff") as file:
        if file.shape != (height, width):
            raise ProductError(f"{plain(path.name)} changed its size since it was opened: start again")
        for row in range(0, height, rows):
            count = min(rows, height - row)
            try:
                values = file.read(1, window=RasterWindow(0, row, width, count))
                hidden = file.read_masks(1, window=RasterWindow(0, row, width, count)) == 0 if classmap.masked else None
            except (RasterioError, CPLE_BaseError) as error:
                raise ProductError(
                    f"{plain(path.name)} is damaged in rows {row} to {row + count - 1} ({first_cause(error)}): "
                    "make it again"
                ) from error
            if hidden is not None:
                values[hidden] = 0  # whatever the file holds there
            labels = to_labels(values, classmap, row)
            if hidden is not None:
                labels[hidden] = NODATA
            yield row, labels


def dump_legend(legend: Legend) -> str:
    """The text of LEGEND_TAG."""
    return json.dumps([{"id": one.id, "name": one.name, "color": one.color} for one in legend])


def parse_legend(text: str, path: Path) -> Legend:
    """The legend in a LEGEND_TAG.

    Raises:
        ProductError: the text is not a legend.
    """
    try:
        return Legend(
            classes=tuple(
                LandClass(id=int(one["id"]), name=plain(str(one["name"])), color=str(one["color"]))
                for one in json.loads(text)
            )
        )
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProductError(
            f"{plain(path.name)} has a damaged {LEGEND_TAG} tag ({plain(str(error))[:80]}): give --legend"
        ) from error


def to_labels(values: npt.NDArray[Any], classmap: ClassMap, first_row: int) -> npt.NDArray[np.uint8]:
    """Class ids with 255 = no class; a few rows at a time, as every comparison makes an array of their size."""
    labels = np.empty(values.shape, dtype=np.uint8)
    for top in range(0, len(values), _CHECKED_ROWS):
        part = values[top : top + _CHECKED_ROWS]
        empty = (part == classmap.nodata) | (part == NODATA)
        wrong = ((part < 0) | (part >= MAX_CLASSES)) & ~empty
        if wrong.any():
            row, col = (int(one) for one in np.argwhere(wrong)[0])
            raise ProductError(
                f"{plain(Path(classmap.path).name)} holds value {part[row, col]} at row {first_row + top + row}, "
                f"column {col}: classes are 0 to {MAX_CLASSES - 1}; name it with --nodata, or bring the classes "
                "into that range"
            )
        labels[top : top + _CHECKED_ROWS] = np.where(empty, 0, part)
        labels[top : top + _CHECKED_ROWS][empty] = NODATA
    return labels


def _values_in(classmap: ClassMap) -> list[int]:
    counts = np.zeros(256, dtype=np.int64)
    for _, labels in read_rows(classmap):
        counts += np.bincount(labels.ravel(), minlength=256)
    return [int(value) for value in np.flatnonzero(counts[:MAX_CLASSES])]


def _check_band(file: Any, path: Path) -> None:
    name = plain(path.name)
    if path.with_name(path.name + ".msk").exists():
        raise ProductError(f"{name} has a mask beside it ({name}.msk): burn it in with gdalwarp -dstnodata 255")
    if file.count != 1:
        raise ProductError(f"{name} has {file.count} bands; a class map has one: pick it with gdal_translate -b")
    if not np.issubdtype(np.dtype(file.dtypes[0]), np.integer):
        raise ProductError(
            f"{name} holds {file.dtypes[0]}; class ids are integers: convert with gdal_translate -ot Byte"
        )


def _grid_of(file: Any, path: Path) -> GeoBox:
    name = plain(path.name)
    if file.crs is None or file.transform.is_identity:
        raise ProductError(f"{name} has no georeference: write it with gdal_edit.py -a_srs and -a_ullr")
    try:
        return check_grid(file.crs.to_wkt(), file.transform, shape=file.shape, place=name)
    except SceneError as error:
        raise ProductError(str(error)) from error


def _nodata_of(file: Any, path: Path) -> int:
    if file.nodata is None:
        return NODATA
    if file.nodata != int(file.nodata):
        raise ProductError(f"{plain(path.name)} has nodata {file.nodata}, no integer: give --nodata")
    return int(file.nodata)


def _file_colors(file: Any) -> Mapping[int, tuple[int, ...]]:
    try:
        return dict(file.colormap(1))
    except ValueError:
        return {}


def _invent(value: int, colors: Mapping[int, tuple[int, ...]]) -> LandClass:
    """A class for a value nobody named: the file's own colour, else hues a golden angle apart."""
    spread = colorsys.hsv_to_rgb(value * 0.618034 % 1.0, 0.55, 0.85)
    red, green, blue = colors[value][:3] if value in colors else (round(255 * one) for one in spread)
    return LandClass(id=value, name=f"class {value}", color=f"#{red:02x}{green:02x}{blue:02x}")


def _color_table(legend: Legend) -> dict[int, tuple[int, int, int, int]]:
    return {**{one.id: (*one.rgb, 255) for one in legend}, NODATA: (0, 0, 0, 0)}
