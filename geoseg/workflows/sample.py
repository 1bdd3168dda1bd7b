"""A finished class map becomes a stratified reference sample: points to be labelled, and the design they are from."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from pyproj import Transformer

from geoseg.accuracy.allocation import SampleSize, share_out
from geoseg.accuracy.design import MapIdentity, SampleDesign, SamplePoint, Stratum
from geoseg.accuracy.draw import Drawn, Survey, draw, survey
from geoseg.accuracy.eligible import NEAR_BORDER, NO_STRATUM, StratumRows, stratify
from geoseg.accuracy.response import CLASS_COLUMN, ID_COLUMN, INTERPRETER_COLUMN
from geoseg.core.area import PixelArea
from geoseg.core.grid import same_grid
from geoseg.core.legend import Legend
from geoseg.core.patch import MAX_CLASSES, NODATA
from geoseg.core.tally import AreaTally
from geoseg.errors import InputError, ProductError, SettingsError
from geoseg.raster.classmap import ClassMap, read_rows
from geoseg.raster.safety import plain, raster_env
from geoseg.vector.points import POINT_SUFFIXES, Column, read_points, write_points
from geoseg.workflows.open_map import open_classmap
from geoseg.workflows.output_file import check_free, writing

Floats = npt.NDArray[np.float64]

_MAX_BUFFER: Final = 64
_BLOCK_PIXELS: Final = 1 << 21
_WRITTEN_COLUMNS: Final = frozenset({ID_COLUMN, "lon", "lat", "x", "y", "stratum", "map_class"})
_RESPONSE_COLUMNS: Final = (CLASS_COLUMN, INTERPRETER_COLUMN, "confidence", "image_source", "image_date", "comment")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """What kind of sample of a map, and how the map is to be read."""

    size: SampleSize
    seed: int = 0
    buffer_pixels: int = 0
    """Pixels around a point that must have its class; the sample is then of the area away from borders only."""
    hide_class: bool = False
    """Leave map class and stratum out of the points, so that the interpreter does not see them."""
    strata: str | None = None
    """A raster of classes on the map's grid that are the strata instead of the map's."""
    nodata: int | None = None
    """The value that is no class, where the map has no tag."""
    legend: Path | None = None
    """YAML file, class id -> name."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise SettingsError(f"--seed {self.seed} is negative: give a whole number from 0")
        if not 0 <= self.buffer_pixels <= _MAX_BUFFER:
            raise SettingsError(f"--buffer {self.buffer_pixels} is not in 0 … {_MAX_BUFFER} pixels")


def sample(source: str, out: Path, request: SampleRequest, *, overwrite: bool = False) -> SampleDesign:
    """Draw a sample of a class map into `out` (.csv or .gpkg) and its design into the file beside it.

    Args:
        source: the class map.
        out: file for the points.
        request: size, allocation, seed, buffer, how to read the map.
        overwrite: replace `out`, but never one that holds labels.

    Raises:
        SettingsError: the request does not fit the map.
        ProductError: `out` is in the way, or a raster cannot be read.
    """
    if out.suffix.lower() not in POINT_SUFFIXES:
        raise SettingsError(f"{out}: suffix {out.suffix or 'none'} is not one of {', '.join(POINT_SUFFIXES)}")
    for path in (out, design_path(out)):
        check_free(path, overwrite=overwrite)
    _check_unlabelled(out)
    with raster_env():
        classmap = open_classmap(source, nodata=request.nodata, legend=request.legend)
        of_strata = None if request.strata is None else _open_strata(request.strata, classmap)
        area = PixelArea(classmap.grid)
        read = partial(stratified_rows, classmap, of_strata, request.buffer_pixels)
        found = survey(read, area)
        _check_named(classmap, found.mapped)
        names = (of_strata or classmap).legend
        if of_strata is not None:
            _check_named(of_strata, found.strata)
        counts, allocation = share_out(found.strata, names, request.size)
        drawn = draw(read, found, counts, seed=request.seed, area=area)
    design = SampleDesign(
        map=identify(classmap, found),
        legend=classmap.legend,
        classes=_sizes(found.classes, classmap.legend, {}),
        strata=_sizes(found.strata, names, counts),
        strata_source=None if of_strata is None else Path(of_strata.path).name,
        allocation=allocation,
        seed=request.seed,
        buffer_pixels=request.buffer_pixels,
        excluded_m2=_excluded(found, request.buffer_pixels),
        left_out_m2=_left_out(found, classmap.legend),
        points=_numbered(drawn),
    )
    _write(design, out, names=names, hide_class=request.hide_class)
    return design


def design_path(points: Path) -> Path:
    """Where the design of a file of points lies."""
    return points.with_name(f"{points.stem}.design.json")


def stratified_rows(classmap: ClassMap, strata: ClassMap | None, buffer_pixels: int) -> Iterator[StratumRows]:
    """The map's rows with their strata, in blocks of bounded size."""
    rows = max(1, min(512, 2 ** int(math.log2(max(_BLOCK_PIXELS / classmap.grid.shape[1], 1)))))
    return stratify(
        read_rows(classmap, rows=rows),
        buffer=buffer_pixels,
        strata=None if strata is None else read_rows(strata, rows=rows),
    )


def identify(classmap: ClassMap, found: Survey) -> MapIdentity:
    """What makes the map this map."""
    height, width = classmap.grid.shape
    return MapIdentity(
        name=Path(classmap.path).name,
        pixels_sha256=found.pixels_sha256,
        crs=str(classmap.grid.crs),
        transform=tuple(float(one) for one in tuple(classmap.grid.transform)[:6]),
        shape=(int(height), int(width)),
        nodata=classmap.nodata,
        footprint_m2=found.strata.area_m2(),
    )


def _check_unlabelled(out: Path) -> None:
    """Labels are somebody's days of work, whatever their column is called: never written over, nor parted from
    their design. A file that cannot be read may hold some.
    """
    for path in dict.fromkeys(out.with_suffix(suffix) for suffix in (out.suffix, *POINT_SUFFIXES)):
        try:
            rows = read_points(path, every_layer=True) if path.exists() else []
        except InputError as error:
            raise ProductError(f"{path} may hold labels, which are not written over: {error}, or remove it") from error
        filled = [
            name for row in rows for name, cell in row.items() if cell and name.casefold() not in _WRITTEN_COLUMNS
        ]
        if filled:
            columns = plain(", ".join(dict.fromkeys(filled)))[:80]
            raise ProductError(
                f"{path} holds {len(filled)} labels (column {columns}), which are not written over: choose another name"
            )


def _check_named(classmap: ClassMap, tally: AreaTally) -> None:
    """A value without a name would be neither sampled nor excluded, and its area in no figure."""
    unknown = [label for label in tally.pixels if label < MAX_CLASSES and label not in classmap.legend.ids]
    if unknown:
        raise ProductError(
            f"{plain(Path(classmap.path).name)} holds value {unknown[0]} in {tally.pixels[unknown[0]]:,} pixels, which "
            f"its legend does not name {classmap.legend.ids}: name it in a legend with --legend"
        )


def _open_strata(source: str, classmap: ClassMap) -> ClassMap:
    strata = open_classmap(source, nodata=None, legend=None)
    if not same_grid(strata.grid, classmap.grid):
        raise ProductError(f"{Path(source).name} is not on the map's grid: warp it with gdalwarp -t_srs -te -ts")
    return strata


def _sizes(tally: AreaTally, names: Legend, points: Mapping[int, int]) -> tuple[Stratum, ...]:
    return tuple(
        Stratum(
            id=one.id,
            name=one.name,
            area_m2=tally.area_m2(one.id),
            pixels=tally.pixels[one.id],
            points=points.get(one.id, 0),
        )
        for one in names
        if tally.pixels.get(one.id)
    )


def _numbered(drawn: Sequence[Drawn]) -> tuple[SamplePoint, ...]:
    return tuple(
        SamplePoint(
            id=number, row=one.row, col=one.col, stratum=one.stratum, map_class=one.map_class, weight=one.weight
        )
        for number, one in enumerate(drawn, start=1)
    )


def _left_out(found: Survey, legend: Legend) -> dict[str, float]:
    return {
        one.name: found.mapped.area_m2(one.id)
        for one in legend
        if found.mapped.pixels.get(one.id) and not found.classes.pixels.get(one.id)
    }


def _excluded(found: Survey, buffer_pixels: int) -> dict[str, float]:
    reasons = {
        NODATA: "no class (nodata or masked)",
        NEAR_BORDER: f"nearer than {buffer_pixels} pixels to a class border or edge",
        NO_STRATUM: "no stratum in the raster of strata",
    }
    return {reason: found.strata.area_m2(label) for label, reason in reasons.items() if label in found.strata.pixels}


def _write(design: SampleDesign, out: Path, *, names: Legend, hide_class: bool) -> None:
    """The design first: points without one are of no use."""
    x, y = (np.array(one, float) for one in zip(*(design.xy_of(point) for point in design.points), strict=True))
    with writing(out) as points:
        write_points(
            points, _columns(design, names, x, y, hide_class=hide_class), x=x.tolist(), y=y.tolist(), crs=design.map.crs
        )
        with writing(design_path(out)) as beside:
            beside.write_text(design.to_text(), encoding="utf-8")


def _columns(design: SampleDesign, names: Legend, x: Floats, y: Floats, *, hide_class: bool) -> dict[str, Column]:
    longitude, latitude = Transformer.from_crs(design.map.crs, 4326, always_xy=True).transform(x, y)
    columns: dict[str, Column] = {
        ID_COLUMN: [one.id for one in design.points],
        "lon": [round(float(one), 8) for one in longitude],
        "lat": [round(float(one), 8) for one in latitude],
        "x": x.tolist(),
        "y": y.tolist(),
    }
    if not hide_class:
        columns["stratum"] = [names.name_of(one.stratum) for one in design.points]
        columns["map_class"] = [design.legend.name_of(one.map_class) for one in design.points]
    return columns | {name: [""] * len(design.points) for name in _RESPONSE_COLUMNS}


def summarize(design: SampleDesign) -> str:
    """What was drawn, for people."""
    widest = max(len(one.name) for one in design.strata)
    lines = [f"{len(design.points)} points, seed {design.seed}; {design.allocation}"]
    lines += [f"  {one.name:<{widest}}  {one.area_m2 / 1e4:>16,.2f} ha  {one.points:>7}" for one in design.strata]
    lines += [f"not in the population: {m2 / 1e4:,.2f} ha, {reason}" for reason, m2 in design.excluded_m2.items()]
    lines += [
        f"{name} ({m2 / 1e4:,.2f} ha) has no pixel in the population: nothing will be estimated of it"
        for name, m2 in design.left_out_m2.items()
    ]
    if design.buffer_pixels:
        lines.append("the buffer biases the sample: what will be estimated is the area away from class borders only")
    return "\n".join(lines)
