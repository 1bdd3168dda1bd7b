"""What a finished class map says: areas, patch counts, polygons. The map may be geoseg's or anybody's."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from geoseg.core.area import PixelArea
from geoseg.core.area_report import AreaReport
from geoseg.core.components import count_patches
from geoseg.core.legend import LandClass, Legend
from geoseg.core.patch import MAX_CLASSES
from geoseg.core.tally import AreaTally, tally_labels
from geoseg.core.window import Window
from geoseg.errors import ProductError, SettingsError
from geoseg.raster.classmap import ClassMap, read_classmap, read_rows
from geoseg.raster.safety import find_local_file, plain, raster_env
from geoseg.vector.trace import trace_polygons
from geoseg.vector.write import SUFFIXES, PolygonSummary, write_polygons


def vectorize(
    source: str, out: Path, *, nodata: int | None = None, legend: Path | None = None, overwrite: bool = False
) -> PolygonSummary:
    """Polygons of a class map in `out`, whose suffix decides the format.

    Raises:
        SettingsError: the suffix is not known, or the legend cannot be read.
        ProductError: `out` exists and may not be replaced, or the map cannot be read.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"{out}: suffix {out.suffix or 'none'} is not one of {', '.join(SUFFIXES)}")
    _check_free(out, overwrite=overwrite)
    with raster_env():
        classmap = open_classmap(source, nodata=nodata, legend=legend)
        beside = out.with_name(f".{out.stem}.{os.getpid()}.tmp{out.suffix}")
        try:
            summary = write_polygons(
                beside,
                trace_polygons(
                    lambda: read_rows(classmap),
                    grid=classmap.grid,
                    legend=classmap.legend,
                    pixel_area=PixelArea(classmap.grid),
                ),
                crs=str(classmap.grid.crs),
                legend=classmap.legend,
                metadata={"GEOSEG_CLASSMAP": Path(source).name},
            )
            _move(beside, out)
        finally:
            beside.unlink(missing_ok=True)
    return summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Areas of a class map, and its patches if they were counted."""

    report: AreaReport
    patches: Mapping[int, int] | None = None
    """Class id -> patches."""
    connectivity: Literal[4, 8] | None = None

    def to_json(self) -> dict[str, Any]:
        """The document of areas.json; with patches, each class has its count."""
        document = self.report.to_json()
        if self.patches is not None:
            document["connectivity"] = self.connectivity
            for one in document["classes"]:
                one["patches"] = self.patches.get(one["id"], 0)
        return document

    def summary(self) -> str:
        """For people."""
        lines = [self.report.summary()]
        if self.patches is not None:
            counts = (f"{one.name} {self.patches.get(one.id, 0):,}" for one in self.report.classes)
            lines.append(f"Patches, {self.connectivity}-connected: {', '.join(counts)}.")
        return "\n".join(lines)


def measure(
    source: str,
    out: Path | None = None,
    *,
    nodata: int | None = None,
    legend: Path | None = None,
    patches: Literal[4, 8] | None = None,
    overwrite: bool = False,
) -> Measured:
    """Ellipsoidal areas of a class map, also written to `out` (.csv or .json) if given.

    Args:
        source: the class map.
        out: file to write.
        nodata: the value that is no class, where the map has no nodata tag.
        legend: YAML file, class id -> name.
        patches: count patches with this connectivity.
        overwrite: replace `out`.
    """
    if out is not None:
        if out.suffix not in {".csv", ".json"}:
            raise SettingsError(f"{out}: suffix {out.suffix or 'none'} is not .csv or .json")
        _check_free(out, overwrite=overwrite)
    with raster_env():
        classmap = open_classmap(source, nodata=nodata, legend=legend)
        pixel_area = PixelArea(classmap.grid)
        tally = AreaTally.zero()
        for row, labels in read_rows(classmap):
            height, width = labels.shape
            tally += tally_labels(labels, Window(row=row, col=0, height=height, width=width), pixel_area)
        counts = None
        if patches is not None:
            counts = count_patches((labels for _, labels in read_rows(classmap)), connectivity=patches)
    report = AreaReport.from_tally(
        tally, legend=classmap.legend, grid=classmap.grid, pixel_area=pixel_area, scene=Path(source).name
    )
    measured = Measured(report=report, patches=counts, connectivity=patches)
    if out is not None:
        _write_report(measured, out)
    return measured


def _write_report(measured: Measured, out: Path) -> None:
    beside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    text = measured.report.to_csv(measured.patches)
    if out.suffix == ".json":
        text = json.dumps(measured.to_json(), indent=2, ensure_ascii=False) + "\n"
    try:
        beside.write_text(text, encoding="utf-8")
        _move(beside, out)
    finally:
        beside.unlink(missing_ok=True)


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


def _check_free(out: Path, *, overwrite: bool) -> None:
    if not out.parent.is_dir():
        raise ProductError(f"{out.parent} is no folder: make it first, or choose another place")
    if out.is_dir():
        raise ProductError(f"{out} is a folder; name a file")
    if out.exists() and not overwrite:
        raise ProductError(f"{out} already exists: specify --overwrite or another name")


def _move(beside: Path, out: Path) -> None:
    """Moves a finished file into place, surviving a power cut on either side of it."""
    with beside.open("rb") as stream:
        os.fsync(stream.fileno())
    beside.replace(out)
