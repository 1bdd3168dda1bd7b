"""Tables of a batch, made of its ledgers: every scene, its areas by class, what failed; pixels are not looked at."""

import csv
import json
import math
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

from geoseg.batch.job import read_job
from geoseg.batch.listing import count_of
from geoseg.batch.manifest import Part
from geoseg.batch.product_row import describe, find_product
from geoseg.batch.status import FAILED, read_failures, read_rows
from geoseg.core.csv_text import inert
from geoseg.errors import ProductError, ResourceError
from geoseg.report.batch_content import ZoneSum

SUMMARY: Final = "summary.parquet"
AREAS: Final = "areas.csv"
ZONES: Final = "zones.csv"
FAILURES: Final = "failures.csv"
_ROWS: Final = 10_000
_COLUMNS: Final = {"id": "string", "uri": "string", "state": "string", "seconds": "float64", "attempts": "int64",
                   "deaths": "int64", "error_code": "string", "error": "string", "output": "string",
                   "footprint_m2": "float64", "nodata_m2": "float64"}  # fmt: skip
OVERLAPS: Final = (
    "Sums over scenes. Where scenes overlap, ground is counted as often as scenes show it: this is not the area of "
    "their union."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What was written, and the sums."""

    files: tuple[Path, ...]
    scenes: int
    """That are done and have areas."""
    classes: tuple[tuple[int, str, float], ...]
    """(id, name, square metres summed over scenes), by id."""
    zones: tuple[ZoneSum, ...] = ()
    """In the order they were met."""

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        summed = [{"id": k, "name": name, "area_m2": area, "area_ha": area / 1e4} for k, name, area in self.classes]
        return {
            "schema": "geoseg/batch-report/1",
            "files": [str(path) for path in self.files],
            "scenes": self.scenes,
            "sum_over_scenes": {"classes": summed, "note": OVERLAPS},
        }

    def lines(self) -> list[str]:
        """For people."""
        over = count_of(self.scenes, "scene")
        lines = [f"{name}: {area / 1e4:,.2f} ha summed over {over}" for _, name, area in self.classes]
        return [*lines, *([OVERLAPS] if self.scenes > 1 else [])]


def write_results(out: Path) -> Results:
    """Writes the tables into a batch's folder, each whole or not at all; zones.csv only where the batch has zones.

    Raises:
        ProductError: the folder holds no batch.
        ResourceError: a file cannot be written.
    """
    has_zones, zones = read_job(out).zones is not None, tuple[ZoneSum, ...]()
    if has_zones:
        with _csv(out / ZONES) as stream:
            zones = _write_zones(stream, out)
    with _csv(out / AREAS) as areas:
        names, parts, scenes = _write_areas(areas, out)
    with _csv(out / FAILURES) as failures:
        _write_table(failures, read_failures(out))
    _write_summary(out, sorted(names))
    return Results(
        files=tuple(out / name for name in (SUMMARY, AREAS, *([ZONES] if has_zones else []), FAILURES)),
        scenes=scenes,
        classes=tuple((k, names[k], math.fsum(parts[k])) for k in sorted(names)),
        zones=zones,
    )


def _write_areas(stream: TextIO, out: Path) -> tuple[dict[int, str], dict[int, list[float]], int]:
    """({class id: name}, {class id: areas of the scenes}, scenes)."""
    names: dict[int, str] = {}
    parts: dict[int, list[float]] = {}
    scenes = 0
    table = _Inert(stream)
    table.writerow(["scene", "uri", "class_id", "class", "pixels", "area_m2", "area_ha"])
    for row in read_rows(out, "done", "skipped"):
        areas = areas_of(row, out)
        scenes += bool(areas)
        for one in areas.get("classes", []):
            names.setdefault(one["id"], one["name"])
            parts.setdefault(one["id"], []).append(one["area_m2"])
            area = [one["pixels"], one["area_m2"], one["area_m2"] / 1e4]
            table.writerow([row["scene"], row["uri"], one["id"], one["name"], *area])
    return names, parts, scenes


def _write_zones(stream: TextIO, out: Path) -> tuple[ZoneSum, ...]:
    """One row per scene, zone and class; zones that a scene does not touch are left out. Read from the products."""
    table = _Inert(stream)
    table.writerow(["scene", "uri", "zone", "zone_m2", "footprint_m2", "class_id", "class", "area_m2", "area_ha"])
    sums: dict[str, _ZoneParts] = {}
    for row in read_rows(out, "done", "skipped"):
        record = find_product(out / row["output"]) if Part.parse(row["uri"]).index == 0 else None
        listed = None if record is None else record.areas.get("zones")
        for zone in _dicts(listed):
            if zone["footprint_m2"]:
                sums.setdefault(str(zone["zone"]), _ZoneParts()).add(zone)
                whole = [row["scene"], row["uri"], zone["zone"], zone["zone_m2"], zone["footprint_m2"]]
                for one in _dicts(zone["classes"]):
                    table.writerow([*whole, one["id"], one["name"], one["area_m2"], one["area_ha"]])
    return tuple(parts.to_sum(name) for name, parts in sums.items())


@dataclass(slots=True)
class _ZoneParts:
    """What scenes have of a zone; added up in the end, so that the sum does not depend on their order."""

    zone_m2: float = 0.0
    footprints: "array[float]" = field(default_factory=lambda: array("d"))
    areas: "dict[int, array[float]]" = field(default_factory=dict)

    def add(self, zone: dict[str, Any]) -> None:
        self.zone_m2 = zone["zone_m2"] or self.zone_m2
        self.footprints.append(zone["footprint_m2"])
        for one in _dicts(zone["classes"]):
            self.areas.setdefault(one["id"], array("d")).append(one["area_m2"])

    def to_sum(self, name: str) -> ZoneSum:
        areas = {k: math.fsum(found) for k, found in sorted(self.areas.items())}
        footprint, count = math.fsum(self.footprints), len(self.footprints)
        return ZoneSum(zone=name, zone_m2=self.zone_m2, footprint_m2=footprint, scenes=count, areas_m2=areas)


def _dicts(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _write_table(stream: TextIO, rows: Iterator[dict[str, Any]]) -> None:
    columns = ["scene", "uri", "state", "error_code", "error", "attempts", "deaths", "seconds"]
    table = _Inert(stream)
    table.writerow(columns)
    for row in rows:
        table.writerow([row[one] for one in columns])


class _Inert:
    """Rows of a CSV file, whose texts come from scenes, zones and bundles of anybody."""

    def __init__(self, stream: TextIO) -> None:
        self._table = csv.writer(stream, lineterminator="\n")

    def writerow(self, cells: Sequence[object]) -> None:
        self._table.writerow([inert(one) if isinstance(one, str) else one for one in cells])


def _write_summary(out: Path, classes: Sequence[int]) -> None:
    """One row per scene; the area of class 1 is in the column area_m2_1."""
    import pyarrow
    import pyarrow.parquet

    fields = {**_COLUMNS, **{f"area_m2_{k}": "float64" for k in classes}}
    schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in fields.items()])
    beside = _beside(out / SUMMARY)
    try:
        with (
            translated(out),
            beside.open("wb") as stream,
            pyarrow.parquet.ParquetWriter(stream, schema, compression="zstd") as writer,
        ):
            for rows in _chunks(_flat(row, out) for row in read_rows(out)):
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
        beside.replace(out / SUMMARY)
    finally:
        beside.unlink(missing_ok=True)


def _flat(row: dict[str, Any], out: Path) -> dict[str, Any]:
    areas = areas_of(row, out)
    by_class = {f"area_m2_{one['id']}": one["area_m2"] for one in areas.get("classes", [])}
    whole = {key: areas.get(key) for key in ("footprint_m2", "nodata_m2")}
    return {**row, "id": row["scene"], **whole, **by_class}


def areas_of(row: dict[str, Any], out: Path) -> dict[str, Any]:
    """The areas of a scene: of one that was done in parts its product has them, and its first part tells them."""
    part = Part.parse(row["uri"])
    if row["state"] in FAILED or part.index > 0:
        return {}
    if part.count > 1:
        record = None if row["output"] is None else find_product(out / row["output"])
        areas: dict[str, Any] = {} if record is None else describe(record)["areas"]
        return areas
    try:
        found = json.loads(row["areas"] or "{}")
    except ValueError as error:
        raise _damaged(row, out) from error
    if not isinstance(found, dict):
        raise _damaged(row, out)
    return found


def _damaged(row: dict[str, Any], out: Path) -> ProductError:
    return ProductError(
        f"{out}: the ledger is damaged (the areas of scene {row['scene']}): run geoseg batch repair {out}"
    )


def _chunks(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _ROWS:
            yield chunk
            chunk = []
    yield chunk


@contextmanager
def _csv(path: Path) -> Iterator[TextIO]:
    beside = _beside(path)
    try:
        with translated(path.parent):
            with beside.open("w", encoding="utf-8", newline="") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextmanager
def translated(out: Path) -> Iterator[None]:
    """What the system says of a folder that cannot be written, in the house's words."""
    try:
        yield
    except OSError as error:
        raise ResourceError(f"{out} cannot be written ({error.strerror or error}): free space there") from error
