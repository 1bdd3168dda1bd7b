"""The grid of a mosaic: the lattice of its maps, or one that was chosen, as large as all of them together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS
from pyproj.exceptions import CRSError

from geoseg.core.grid import check_grid, ground_pixel_m
from geoseg.core.placement import bounds_on, is_geographic, lattice_window, turn_of
from geoseg.core.window import Window
from geoseg.errors import SceneError, SettingsError
from geoseg.raster.classmap import read_classmap
from geoseg.raster.safety import find_local_file, plain
from geoseg.workflows.mosaic_input import CLASSES

_MAX_SIDE: Final = 2**31 - 1
"""Pixels on a side that a TIFF can count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridChoice:
    """A grid that the user chose; pixels of maps that are not on it are resampled, nearest."""

    target: str
    """A class map or run folder whose lattice is taken, or a CRS such as EPSG:32720."""
    res: float | None = None
    """Side of a pixel in units of the CRS; of a map its own."""


def find_grid(maps: Sequence[tuple[str, GeoBox]], choice: GridChoice | None) -> GeoBox:
    """The grid of the mosaic of maps (name, grid): as large as all of them.

    Raises:
        SettingsError: no grid was chosen and the maps are not one lattice, or the choice cannot be a grid.
    """
    lattice = maps[0][1] if choice is None else _at(_chosen(choice), *maps[0])
    windows = []
    for name, grid in maps:
        found = lattice_window(lattice, grid)
        if found is None and choice is None:
            raise SettingsError(_refusal(maps[0], (name, grid)))
        found = found or bounds_on(lattice, grid)
        if found is None:
            raise SettingsError(f"{plain(name)} has no place in {_crs(lattice)}: choose another --grid")
        windows.append(found)
    top, left = min(one.row for one in windows), min(one.col for one in windows)
    bottom, right = max(one.row_stop for one in windows), max(one.col_stop for one in windows)
    whole = Window(row=top, col=left, height=bottom - top, width=right - left)
    return _checked(lattice, _on_earth(lattice, whole) if choice is not None else whole)


def _checked(lattice: GeoBox, whole: Window) -> GeoBox:
    """The part of a lattice, if it can be a raster."""
    if max(whole.shape) > _MAX_SIDE:
        raise SettingsError(f"the mosaic would have {whole.width} x {whole.height} px: choose a larger --res")
    if lattice.crs is None:
        raise SettingsError("the grid of the mosaic has no CRS: choose one with --grid")
    moved = lattice.affine * Affine.translation(whole.col, whole.row)
    try:
        return check_grid(lattice.crs.to_wkt(), moved, shape=whole.shape, place="the mosaic")
    except SceneError as error:
        raise SettingsError(f"{error}, or choose another --grid") from error


def _on_earth(lattice: GeoBox, whole: Window) -> Window:
    """A window of a lattice of longitude and latitude without what is beyond the poles or a second turn."""
    a, b, c, d, e, f = lattice.affine[:6]
    if not is_geographic(lattice) or b or d:
        return whole
    quarter = turn_of(lattice) / 4
    rows = sorted(((quarter - f) / e, (-quarter - f) / e))
    cols = sorted(((-2 * quarter - c) / a, (2 * quarter - c) / a))
    top, bottom = max(whole.row, round(rows[0])), min(whole.row_stop, round(rows[1]))
    left, right = whole.col, whole.col_stop
    if whole.width > math.ceil(cols[1]) - math.floor(cols[0]):
        left, right = round(cols[0]), round(cols[1])
    return Window(row=top, col=left, height=max(bottom - top, 1), width=max(right - left, 1))


def _at(lattice: GeoBox, name: str, grid: GeoBox) -> GeoBox:
    """The pixel of a lattice that lies in the middle of a map, so that longitudes are counted from there."""
    middle = GeoBox((1, 1), grid.affine * Affine.translation(grid.shape[1] // 2, grid.shape[0] // 2), grid.crs)
    found = bounds_on(lattice, middle)
    if found is None:
        raise SettingsError(f"{plain(name)} has no place in {_crs(lattice)}: choose another --grid")
    return GeoBox((1, 1), lattice.affine * Affine.translation(found.col, found.row), lattice.crs)


def _refusal(first: tuple[str, GeoBox], other: tuple[str, GeoBox]) -> str:
    return (
        f"{plain(other[0])} is not on the lattice of {plain(first[0])} ({_told(other[1])} against {_told(first[1])}): "
        "choose a grid with geoseg mosaic --grid MAP, or --grid EPSG:… with --res; what is not on it is resampled, "
        "nearest pixel"
    )


def _told(grid: GeoBox) -> str:
    tall, wide = ground_pixel_m(grid)
    left, top = grid.affine * (0, 0)
    return f"{_crs(grid)}, {wide:.4g} x {tall:.4g} m from {left:.9g}, {top:.9g}"


def _crs(grid: GeoBox) -> str:
    text = str(grid.crs)
    return text if len(text) <= 40 else (grid.crs.proj.name if grid.crs else "no CRS")


def _chosen(choice: GridChoice) -> GeoBox:
    """One pixel of the lattice that was chosen."""
    source = Path(choice.target)
    if source.exists():
        path = find_local_file(str(source / CLASSES if source.is_dir() else source))
        grid = read_classmap(path).grid
        if choice.res is not None:
            raise SettingsError(f"--res {choice.res:g}: the pixels of {path.name} are taken; leave it out")
        return GeoBox((1, 1), grid.affine, grid.crs)
    try:
        crs = CRS.from_user_input(choice.target)
    except CRSError as error:
        raise SettingsError(f"--grid {choice.target} is neither a class map nor a CRS such as EPSG:32720") from error
    if choice.res is None or not (math.isfinite(choice.res) and choice.res > 0):
        unit = crs.axis_info[0].unit_name if crs.axis_info else "its unit"
        raise SettingsError(f"--grid {choice.target} needs --res: the side of a pixel in {unit}, above 0")
    return GeoBox((1, 1), Affine.scale(choice.res, -choice.res), crs)
