"""The maps of a comparison: opened, brought to one legend and grid, and what must be said of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from geoseg.accuracy.change import ChangeTable, MergedLegend, merge_legends, years_between
from geoseg.accuracy.comparability import MIN_COMMON_SHARE, MapFacts, find_differences
from geoseg.core.grid import ground_pixel_m, same_grid
from geoseg.core.patch import NODATA
from geoseg.core.placement import same_lattice
from geoseg.core.window import Window
from geoseg.errors import ProductError, SettingsError
from geoseg.outcome import RunRecord
from geoseg.raster.classmap import ClassMap, read_rows
from geoseg.raster.reconcile import read_rows_on
from geoseg.raster.safety import find_local_file, find_local_path, plain
from geoseg.report.change_document import UNASSESSED
from geoseg.workflows.open_map import open_classmap
from geoseg.workflows.product import RECORD, file_sha256, read_product
from geoseg.workflows.progress import Progress
from geoseg.workflows.zones import ZoneFile

Labels = npt.NDArray[np.uint8]
CLASSES: Final = "classes.tif"
_STRIP: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRequest:
    """What the user asked for."""

    first: str
    """A class map, or a run's folder."""
    second: str
    date1: date | None = None
    """Instead of the date that the run of the first map recorded."""
    date2: date | None = None
    years: float | None = None
    """Between the maps, where dates are not given."""
    target: str | None = None
    """Name of the class whose loss and gain is mapped; None: every transition, or the forest of two classes."""
    align: Literal["refuse", "nearest"] = "refuse"
    """What to do with maps on different grids: nearest reads the second on the grid of the first."""
    nodata: int | None = None
    """The value that is no class, where the maps have no tag."""
    legend1: Path | None = None
    legend2: Path | None = None
    zones: ZoneFile | None = None
    """Polygons by which gain and loss are told as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownMap:
    """A class map and what is known of it."""

    classmap: ClassMap
    facts: MapFacts
    known: npt.NDArray[np.bool_]
    """(256,) labels that are a class of its legend, or 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPair:
    """Two maps ready to be read side by side."""

    first: KnownMap
    second: KnownMap
    merged: MergedLegend
    aligned: bool
    """The second is read on the grid of the first."""

    def rows(self, what: str, progress: Progress) -> Iterator[tuple[Window, Labels, Labels]]:
        """Full-width rows of both, in the ids of the merged legend; `what` is told to `progress`."""
        grid = self.first.classmap.grid
        progress.begin(what, int(grid.shape[0]))
        second = read_rows_on(self.second.classmap, grid) if self.aligned else read_rows(self.second.classmap)
        for (row, mine), (_, theirs) in zip(read_rows(self.first.classmap), second, strict=True):
            for part in strips(len(mine)):
                _check_known(mine[part], self.first)
                _check_known(theirs[part], self.second)
                theirs[part] = self.merged.second[theirs[part]]
            height, width = mine.shape
            yield Window(row=row, col=0, height=height, width=width), mine, theirs
            progress.advance(height)


def strips(rows: int) -> Iterator[slice]:
    """A block of rows in parts, as looking labels up makes an array eight times their size."""
    return (slice(top, min(top + _STRIP, rows)) for top in range(0, rows, _STRIP))


def open_pair(request: ChangeRequest) -> MapPair:
    """Both maps, their legends merged, their grids the same or reconciled as the request says.

    Raises:
        InputError: a map cannot be read, the maps have no class in common, or they differ in grid.
    """
    first = open_known_map(request.first, nodata=request.nodata, legend=request.legend1, day=request.date1)
    second = open_known_map(request.second, nodata=request.nodata, legend=request.legend2, day=request.date2)
    merged = merge_legends(first.classmap.legend, second.classmap.legend)
    return MapPair(first=first, second=second, merged=merged, aligned=_must_align(request, first, second))


def find_years(request: ChangeRequest, pair: MapPair) -> float | None:
    """Years between the maps: as given, else from their dates; None where neither is known.

    Raises:
        SettingsError: both are given, or the first map is not the earlier one.
    """
    first, second = pair.first.facts, pair.second.facts
    if first.day and second.day and first.day >= second.day:
        raise SettingsError(
            f"{first.name} is of {first.day} and {second.name} of {second.day}: name the earlier map first, or "
            "correct --date1 and --date2"
        )
    if request.years is None:
        return years_between(first.day, second.day) if first.day and second.day else None
    if request.date1 or request.date2:
        raise SettingsError("--years and --date1, --date2 say the same twice: give one of them")
    if not 0 < request.years < 1000:
        raise SettingsError(f"--years {request.years:g} is not between 0 and 1000: give the years between the maps")
    return request.years


def warn_of(pair: MapPair, table: ChangeTable) -> Iterator[str]:
    """What belongs on the first page."""
    yield from find_differences(pair.first.facts, pair.second.facts)
    if pair.aligned:
        yield _alignment(pair)
    common = table.area_m2(table.observed)
    either = table.footprint_m2 - table.area_m2(table.unobserved(first=True, second=True))
    if common < MIN_COMMON_SHARE * either:
        yield f"only {common / either:.1%} of the ground that either map observes is observed in both"
    for name, other, words in (
        (pair.first.facts.name, pair.second.facts.name, pair.merged.only_first),
        (pair.second.facts.name, pair.first.facts.name, pair.merged.only_second),
    ):
        if words:
            yield f"only {name} has {', '.join(words)}; {other} does not know it, so it can only be gained or lost"
    unnamed = [one.facts.name for one in (pair.first, pair.second) if not one.classmap.named]
    if unnamed:
        yield (
            f"the classes of {' and '.join(unnamed)} have no names: equal numbers were taken for equal classes; name "
            "them with --legend"
        )
    yield UNASSESSED


def list_notes(pair: MapPair, request: ChangeRequest, years: float | None) -> Iterator[str]:
    """What belongs below the figures."""
    yield "areas of a class in the first and in the second map are those of the ground that both maps observe"
    if years is None:
        yield "no rates: the time between the maps is not known; give --date1 and --date2, or --years"
    else:
        first, second = pair.first.facts.day, pair.second.facts.day
        where = "as given with --years" if request.years is not None else "from the dates of the maps"
        if request.years is not None and first and second:
            where = f"{where}, where the dates of the maps say {years_between(first, second):.6g}"
        yield f"years between the maps: {years:.6g}, {where}; annual figures are means over them"
        yield "annual_rate_percent is the compound rate (A2 / A1)^(1 / years) - 1, as FAO gives it"
    if pair.merged.renumbered:
        yield f"classes with other ids in the two maps were matched by name: {', '.join(pair.merged.renumbered)}"


def folder_of(source: str) -> Path:
    """The run's folder that a map is in, as far as its name says; else the path itself."""
    path = Path(source)
    return path.parent if path.name == CLASSES else path


def open_known_map(source: str, *, nodata: int | None, legend: Path | None, day: date | None) -> KnownMap:
    """A class map from its file or from a run's folder; run.json is read where the file belongs to it.

    Args:
        source: classes.tif, any other class map, or a run's folder.
        nodata: the value that is no class, where the map has no tag.
        legend: YAML file, instead of the map's own.
        day: of its image, instead of the one on record.

    Raises:
        InputError: the folder is no finished run, or the map cannot be read.
    """
    path = find_local_path(source)
    folder = folder_of(str(path))
    record = None
    if path.is_dir() or (folder / RECORD).exists():
        record = read_product(folder, checksums=True)
        path = folder / CLASSES
        if CLASSES not in record.products:
            raise ProductError(f"{source} holds no {CLASSES}: give the folder of a geoseg run, or a class map")
    find_local_file(str(path))
    classmap = open_classmap(str(path), nodata=nodata, legend=legend)
    known = np.zeros(256, np.bool_)
    known[[*classmap.legend.ids, NODATA]] = True
    facts = _facts_of_file(path, day) if record is None else _facts_of_run(folder, record, day)
    return KnownMap(classmap=classmap, facts=facts, known=known)


def _must_align(request: ChangeRequest, first: KnownMap, second: KnownMap) -> bool:
    mine, theirs = first.classmap.grid, second.classmap.grid
    if same_grid(mine, theirs):
        return False
    if request.align == "nearest":
        return True
    raise ProductError(
        f"{second.facts.name} is not on the grid of {first.facts.name} ({_grid_words(second.classmap)} against "
        f"{_grid_words(first.classmap)}): give --align nearest to read it there, or warp it with gdalwarp -r near"
    )


def _grid_words(classmap: ClassMap) -> str:
    height, width = classmap.grid.shape
    tall, wide = ground_pixel_m(classmap.grid)
    left, top = classmap.grid.affine * (0, 0)
    return f"{width} x {height} px of {wide:.4g} x {tall:.4g} m from {left:.9g}, {top:.9g}"


def _check_known(labels: Labels, of: KnownMap) -> None:
    """A value without a class must not pass for unobserved."""
    unknown = labels[~of.known[labels]]
    if unknown.size:
        raise ProductError(
            f"{of.facts.name} holds value {unknown[0]}, which its legend does not name "
            f"{of.classmap.legend.ids}: give a legend with --legend1 or --legend2"
        )


def _alignment(pair: MapPair) -> str:
    mine, theirs = pair.first.classmap, pair.second.classmap
    first, second = pair.first.facts.name, pair.second.facts.name
    if same_lattice(mine.grid, theirs.grid):
        return f"{second} has another extent than {first}: they are compared where they overlap, nothing is resampled"
    (tall, wide), (fine_tall, fine_wide) = ground_pixel_m(mine.grid), ground_pixel_m(theirs.grid)
    return (
        f"{second} ({fine_wide:.4g} x {fine_tall:.4g} m pixels) was read on the grid of {first} ({wide:.4g} x "
        f"{tall:.4g} m), nearest pixel: its edges move by up to half a pixel, which looks like change"
    )


def _facts_of_file(path: Path, day: date | None) -> MapFacts:
    return MapFacts(name=plain(path.name), sha256=file_sha256(path), day=day)


def _facts_of_run(folder: Path, record: RunRecord, day: date | None) -> MapFacts:
    definition: Any = record.areas.get("definition")
    return MapFacts(
        name=plain(folder.name),
        sha256=record.products[CLASSES].sha256,
        day=day or _day(record.acquired),
        recorded=True,
        platform=record.platform,
        level=record.level,
        bundle=record.bundle,
        bundle_sha256=record.bundle_sha256,
        pipeline_digest=record.pipeline_digest,
        engine=f"{record.engine} {record.precision}",
        definition=definition if isinstance(definition, dict) else None,
        bundle_definition=record.forest_definition,
    )


def _day(text: str | None) -> date | None:
    """The day of an ISO 8601 moment; None where it says none, as an interval does."""
    try:
        return None if text is None else datetime.fromisoformat(text).date()
    except ValueError:
        return None
