"""Class maps that are to be one: opened with what is known of them, and whether they agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from geoseg.core.claimed import Rule
from geoseg.core.legend import LandClass, Legend
from geoseg.errors import InputError, ProductError
from geoseg.outcome import RunRecord
from geoseg.raster.classmap import read_classmap
from geoseg.raster.mosaic import Layer
from geoseg.raster.safety import find_local_file, find_local_path, plain
from geoseg.workflows.open_map import read_legend
from geoseg.workflows.product import RECORD, check_bytes, read_product

CLASSES: Final = "classes.tif"
CONFIDENCE: Final = "confidence.tif"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedArea:
    """What all of a map covers."""

    pixels: dict[int, int]
    """By class."""
    area_m2: dict[int, float]
    footprint_m2: float

    @staticmethod
    def parse(report: Mapping[str, Any]) -> "RecordedArea | None":
        """From the area report of a run; None where it has no such figures."""
        try:
            return RecordedArea(
                pixels={int(row["id"]): int(row["pixels"]) for row in report["classes"]},
                area_m2={int(row["id"]): float(row["area_m2"]) for row in report["classes"]},
                footprint_m2=float(report["footprint_m2"]),
            )
        except (KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownLayer:
    """A class map, and what the run that made it recorded."""

    layer: Layer
    acquired: str | None = None
    """When its scene was taken, ISO 8601."""
    sha256: str | None = None
    """Of the map's file, where a run recorded it."""
    area: RecordedArea | None = None
    """As its run measured it."""


def open_layer(
    source: str, rule: Rule, *, nodata: int | None = None, legend: Path | None = None, name: str | None = None
) -> KnownLayer:
    """A map from its file, or from the folder of its run.

    Args:
        source: the file or folder.
        rule: `confident` needs the run's confidence.
        nodata: the value that is no class, where the map has no tag.
        legend: YAML file, instead of the map's own.
        name: what it is called in messages; None: the name of the folder or file.

    Raises:
        InputError: there is no such map, its product is incomplete or has other bytes than when it was made, or it has
            no confidence.
    """
    path = find_local_path(source)
    folder = path if path.is_dir() else path.parent
    try:
        record = _record_of(path, folder)
        if record is not None:
            check_bytes(folder, record, (CLASSES, CONFIDENCE) if rule == "confident" else (CLASSES,))
        if path.is_dir():
            path = folder / CLASSES
        classmap = read_classmap(
            find_local_file(str(path)), nodata=nodata, legend=None if legend is None else read_legend(legend)
        )
        confidence = folder / CONFIDENCE
        if rule == "confident" and (record is None or CONFIDENCE not in record.products):
            raise ProductError(
                "the rule confident needs the folder of a run with confidence.tif: make it with --products "
                "classes,confidence, or choose --rule first"
            )
    except InputError as error:
        raise error if name is None else ProductError(f"{plain(name)}: {error}") from error
    layer = Layer(
        name=name or (folder.name if record else path.name),
        classmap=classmap,
        confidence=confidence if rule == "confident" else None,
    )
    if record is None:
        return KnownLayer(layer=layer)
    sha256 = record.products[CLASSES].sha256
    return KnownLayer(layer=layer, acquired=record.acquired, sha256=sha256, area=RecordedArea.parse(record.areas))


def agree(layers: Sequence[KnownLayer]) -> tuple[Legend, list[KnownLayer]]:
    """(the one legend of all maps, the maps with it). Where nobody named the classes, those of any map are in it.

    Raises:
        ProductError: the maps mean other things by their values.
    """
    first = layers[0].layer
    if any(one.layer.classmap.named for one in layers):
        for one in layers:
            if _words(one.layer.classmap.legend) != _words(first.classmap.legend):
                raise ProductError(
                    f"{plain(one.layer.name)} has other classes ({_told(one.layer.classmap.legend)}) than "
                    f"{plain(first.name)} ({_told(first.classmap.legend)}): give one --legend for all of them, or "
                    "leave it out"
                )
        legend = first.classmap.legend
    else:
        found: dict[int, LandClass] = {}
        for one in layers:
            for land_class in one.layer.classmap.legend:
                found.setdefault(land_class.id, land_class)
        legend = Legend(classes=tuple(found[k] for k in sorted(found)))
    return legend, [_with_legend(one, legend) for one in layers]


def _with_legend(one: KnownLayer, legend: Legend) -> KnownLayer:
    return replace(one, layer=replace(one.layer, classmap=replace(one.layer.classmap, legend=legend)))


def _record_of(path: Path, folder: Path) -> RunRecord | None:
    """The record of the run that a map belongs to; None of a file that is of no run."""
    if not path.is_dir() and (path.name != CLASSES or not (folder / RECORD).exists()):
        return None
    record = read_product(folder)
    if CLASSES not in record.products:
        raise ProductError(f"{folder} holds no {CLASSES}: give the folder of a geoseg run with classes, or a class map")
    return record


def _words(legend: Legend) -> list[tuple[int, str]]:
    return [(one.id, one.name) for one in legend]


def _told(legend: Legend) -> str:
    words = ", ".join(f"{one.id} {one.name}" for one in legend)
    return words if len(words) <= 80 else f"{words[:79]}…"
