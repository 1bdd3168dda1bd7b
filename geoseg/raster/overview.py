"""Small pictures of a class map and its scene on a Mercator map, for looking at; no figure is ever made from them."""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS as RasterioCRS
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile
from rasterio.warp import reproject

from geoseg.core.legend import Legend
from geoseg.core.patch import MAX_CLASSES, NODATA
from geoseg.core.picture import ClassPicture, MapBounds, Picture
from geoseg.errors import ProductError, SceneError
from geoseg.raster.classmap import ClassMap
from geoseg.raster.remote import locate
from geoseg.raster.safety import first_cause, open_raster, plain
from geoseg.raster.scene import BandSource, Scene
from geoseg.raster.validity import not_collar, observed

MAX_SIDE: Final = 2048
"""Pixels along the longer side: about 0.7 MB for a noisy class map, which a page can carry."""
_RADIUS_M: Final = 6378137.0
_MAX_LATITUDE: Final = 85.0
_NODES: Final = 33
_NEAR_POLE: Final = 89.9
"""Degrees of latitude beyond which a longitude says little."""
_CLOSED: Final = 0.01
"""Degrees: a gap in a map of the world that is of its CRS, not of the map."""
_STRETCH_PERCENT: Final = (2.0, 98.0)
_CONFIDENCE_STEP: Final = 10
_CONFIDENCE_COLORS: Final = ("#7a0177", "#ae017e", "#dd3497", "#f768a1", "#fbb4b9")
"""Below 50 %, 50 … 59 %, …, 80 … 89 %: the doubtful pixels are the dark ones; from 90 % nothing is drawn."""

Pixels = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A north-up web Mercator grid, centred on the longitude of what it shows, so that 180 degrees never cuts it."""

    grid: GeoBox
    bounds: MapBounds


def plan_frame(grid: GeoBox, *, max_side: int = MAX_SIDE) -> Frame:
    """The frame of a map of `grid`; what lies beyond 85 degrees north or south is cut off.

    Raises:
        SceneError: nothing of the grid is on a Mercator map.
    """
    lons, lats = _nodes(grid)
    center, arc = _turn(lons, lats)
    lowest, highest = float(np.nanmin(lats)), float(np.nanmax(lats))
    south, north = max(lowest, -_MAX_LATITUDE), min(highest, _MAX_LATITUDE)
    if not south < north:
        raise SceneError(f"latitudes {lowest:.2f} to {highest:.2f} are on no Mercator map: no picture is drawn")
    right = math.radians(arc / 2) * _RADIUS_M
    left = -right
    bottom, top = _mercator_m(south), _mercator_m(north)
    height, width = grid.shape
    native_m = math.sqrt((right - left) * (top - bottom) / (height * width))
    # half the native pixel keeps every pixel of a small map, also of a rotated one
    pixel_m = max(right - left, top - bottom) / max_side
    pixel_m = max(pixel_m, native_m / 2)
    shape = max(1, round((top - bottom) / pixel_m)), max(1, round((right - left) / pixel_m))
    step_x, step_y = (right - left) / shape[1], (top - bottom) / shape[0]
    crs = CRS.from_user_input(f"+proj=webmerc +datum=WGS84 +lon_0={center!r} +units=m +type=crs")
    return Frame(
        grid=GeoBox(shape, Affine(step_x, 0, left, 0, -step_y, top), crs),
        bounds=MapBounds(south=south, west=center - arc / 2, north=north, east=center + arc / 2),
    )


def draw_classes(classmap: ClassMap, frame: Frame) -> ClassPicture:
    """The classes in the colors of the legend; a color that two classes share is told apart by a step of one.

    Raises:
        ProductError: a block of the map is damaged.
    """
    labels = _warp(_shrunk(Path(classmap.path), classmap.grid, frame, nodata=classmap.nodata), frame)
    colors = _distinct(classmap.legend)
    return ClassPicture(picture=palette_png(labels, dict(colors)), bounds=frame.bounds, colors=colors)


def draw_confidence(path: Path, grid: GeoBox, frame: Frame) -> ClassPicture:
    """Where the confidence is below 90 %, in steps of ten: `colors` are the lowest percent of a step and its color.

    Raises:
        ProductError: a block is damaged.
    """
    percent = _warp(_shrunk(path, grid, frame, nodata=NODATA), frame)
    steps = np.clip(percent // _CONFIDENCE_STEP, 4, 9) * _CONFIDENCE_STEP
    steps[percent == NODATA] = NODATA
    colors = tuple(zip(range(40, 90, _CONFIDENCE_STEP), _CONFIDENCE_COLORS, strict=True))
    return ClassPicture(picture=palette_png(steps.astype(np.uint8), dict(colors)), bounds=frame.bounds, colors=colors)


def draw_scene(scene: Scene, frame: Frame) -> Picture:
    """The scene in its red, green and blue, else in its first three bands or first; stretched for the eye only.

    Raises:
        SceneError: a band cannot be read.
    """
    bands = _visible(scene)
    layers = [_draw_band(scene, band, frame) for band in bands]
    pixels = np.stack([values for values, _ in layers])
    valid = np.logical_and.reduce([seen for _, seen in layers])
    if scene.validity.collar is not None:
        valid &= not_collar(pixels, scene.validity.collar)
    shown = np.stack([stretch(values, valid) for values in pixels])
    if len(shown) < 3:
        shown = np.repeat(shown[:1], 3, axis=0)
    rgba = np.concatenate([shown, np.where(valid, 255, 0).astype(np.uint8)[None]])
    names = ", ".join(plain(band.description or band.name) for band in bands)
    return photo(rgba, note=f"bands {names}; stretched between the 2nd and 98th percentile, for viewing only")


def _nodes(grid: GeoBox) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(longitudes, latitudes) in WGS 84 of a mesh over the grid, its corners included; NaN off the Earth."""
    height, width = grid.shape
    cols, rows = np.meshgrid(np.linspace(0, width, _NODES), np.linspace(0, height, _NODES))
    a, b, c, d, e, f = tuple(grid.transform)[:6]
    crs = CRS.from_user_input(grid.crs.to_wkt() if grid.crs else "EPSG:4326")
    to_lonlat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lons, lats = to_lonlat.transform(a * cols + b * rows + c, d * cols + e * rows + f)
    on_earth = np.isfinite(lons) & np.isfinite(lats)
    if not on_earth.any():
        raise SceneError("the grid has no place on the Earth: no picture is drawn")
    return np.where(on_earth, lons, np.nan), np.where(on_earth, lats, np.nan)


def _turn(lons: npt.NDArray[np.float64], lats: npt.NDArray[np.float64]) -> tuple[float, float]:
    """(middle, -180 … 180, and width in degrees) of the shortest arc of longitudes that holds every edge of a mesh.

    It is the edges that tell ground from a gap: nodes of a map of the world are far apart, and a ring of edges around
    a pole leaves no gap. Where there is none the arc is the whole turn, about the middle of the mesh.
    """
    known = np.where(np.abs(lats) < _NEAR_POLE, lons, np.nan)
    pairs = [(known, known), (known[:, :-1], known[:, 1:]), (known[:-1], known[1:])]
    steps = np.concatenate([((other - one + 180) % 360 - 180).ravel() for one, other in pairs])
    starts = np.concatenate([one.ravel() for one, _ in pairs]) + np.minimum(steps, 0)
    starts, steps = starts[np.isfinite(steps)] % 360, np.abs(steps[np.isfinite(steps)])
    if not steps.size:
        starts, steps = lons[np.isfinite(lons)] % 360, np.zeros(np.isfinite(lons).sum())
    order = np.argsort(starts)
    starts, steps = starts[order], steps[order]
    # an edge may reach over 360 degrees to what begins behind it: so everything twice
    ends = np.maximum.accumulate(np.concatenate([starts - 360 + steps, starts + steps]))[len(starts) :]
    gaps = np.append(starts[1:], starts[0] + 360) - ends
    widest = int(np.argmax(gaps))
    if gaps[widest] <= _CLOSED:
        center = float(lons[_NODES // 2, _NODES // 2])
        return ((center + 180) % 360 - 180 if math.isfinite(center) else 0.0), 360.0
    arc = 360 - float(gaps[widest])
    first = float(starts[(widest + 1) % len(starts)])
    return (first + arc / 2 + 180) % 360 - 180, arc


def _mercator_m(latitude: float) -> float:
    return _RADIUS_M * math.asinh(math.tan(math.radians(latitude)))


def _shrunk(path: Path, grid: GeoBox, frame: Frame, *, nodata: int) -> tuple[Pixels, Affine, str]:
    """(labels with 255 = none, transform, WKT), near the frame's resolution and from overviews where there are any."""
    with open_raster(path, driver="GTiff") as file:
        shape = _near_shape(grid, frame)
        try:
            values = file.read(1, out_shape=shape)
        except (RasterioError, CPLE_BaseError, OSError) as error:
            raise ProductError(f"{plain(path.name)} is damaged ({first_cause(error)}): make it again") from error
        hidden = (values == nodata) | (values < 0) | (values >= MAX_CLASSES)
        labels = np.where(hidden, NODATA, values).astype(np.uint8)
    return labels, _scaled(grid, shape), _wkt(grid)


def _near_shape(grid: GeoBox, frame: Frame) -> tuple[int, int]:
    """(height, width) to read a grid in: whole steps, at least as fine as the frame."""
    height, width = grid.shape
    step = max(1, min(height // max(frame.grid.shape[0], 1), width // max(frame.grid.shape[1], 1)))
    return -(-height // step), -(-width // step)


def _scaled(grid: GeoBox, shape: tuple[int, int]) -> Affine:
    height, width = grid.shape
    return Affine(*tuple(grid.transform)[:6]) * Affine.scale(width / shape[1], height / shape[0])


def _warp(source: tuple[Pixels, Affine, str], frame: Frame, *, nodata: float = NODATA) -> Pixels:
    values, transform, wkt = source
    target = np.full(tuple(frame.grid.shape), nodata, dtype=values.dtype)
    reproject(
        values,
        target,
        src_transform=transform,
        src_crs=RasterioCRS.from_wkt(wkt),
        src_nodata=nodata,
        dst_transform=Affine(*tuple(frame.grid.transform)[:6]),
        dst_crs=RasterioCRS.from_wkt(_wkt(frame.grid)),
        dst_nodata=nodata,
        resampling=Resampling.nearest,
    )
    return target


def _wkt(grid: GeoBox) -> str:
    return str(grid.crs.to_wkt()) if grid.crs else ""


def _visible(scene: Scene) -> tuple[BandSource, ...]:
    by_name = {band.name: band for band in scene.bands}
    if all(name in by_name for name in ("red", "green", "blue")):
        return by_name["red"], by_name["green"], by_name["blue"]
    return scene.bands[:3] if len(scene.bands) >= 3 else scene.bands[:1]


def _draw_band(scene: Scene, band: BandSource, frame: Frame) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """(values, True = observed) of a band on the frame."""
    file = next(one for one in scene.files if one.uri == band.uri)
    shape = _near_shape(file.grid, frame)
    with open_raster(locate(band.uri), driver=file.driver) as dataset:
        try:
            values = dataset.read(band.index, out_shape=shape)
            seen = dataset.read_masks(band.index, out_shape=shape) != 0
        except (RasterioError, CPLE_BaseError, OSError) as error:
            raise SceneError(f"{file.name} cannot be read ({first_cause(error)}): copy it again") from error
    seen &= observed(values[None], [band.nodata])
    real = np.where(seen, values, np.nan).astype(np.float32)
    drawn = _warp((real, _scaled(file.grid, shape), _wkt(file.grid)), frame, nodata=math.nan)
    return drawn, np.isfinite(drawn)


def stretch(values: Pixels, valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """0 … 255 between the 2nd and 98th percentile of what is valid."""
    if not valid.any():
        return np.zeros(values.shape, np.uint8)
    low, high = np.percentile(values[valid], _STRETCH_PERCENT)
    scaled = (np.where(valid, values, low) - low) / (high - low if high > low else 1.0)
    return np.asarray(np.clip(np.rint(scaled * 255), 0, 255), np.uint8)


def _distinct(legend: Legend) -> tuple[tuple[int, str], ...]:
    taken: set[int] = set()
    colors = []
    for one in legend:
        value = int(one.color[1:], 16)
        while value in taken:
            value = value ^ 1 if value ^ 1 not in taken else (value + 2) % 2**24
        taken.add(value)
        colors.append((one.id, f"#{value:06x}"))
    return tuple(colors)


def palette_png(indices: npt.NDArray[np.uint8], colors: dict[int, str]) -> Picture:
    """An 8-bit palette image; an index without a color is transparent."""
    table = dict.fromkeys(range(256), (0, 0, 0, 0))
    for index, color in colors.items():
        value = int(color[1:], 16)
        table[index] = (value >> 16, value >> 8 & 255, value & 255, 255)
    height, width = indices.shape
    profile = {"driver": "PNG", "count": 1, "dtype": "uint8", "height": height, "width": width, "zlevel": 6}
    content = _encode(indices[None], profile, colors=table)
    return Picture(media_type="image/png", content=content, height=height, width=width)


def photo(rgba: npt.NDArray[np.uint8], *, note: str) -> Picture:
    """A lossy WebP where this GDAL can write one, else a PNG."""
    _, height, width = rgba.shape
    profile = {"count": 4, "dtype": "uint8", "height": height, "width": width}
    try:
        content, kind = _encode(rgba, {**profile, "driver": "WEBP", "quality": 75}), "image/webp"
    except (RasterioError, CPLE_BaseError):
        content, kind = _encode(rgba, {**profile, "driver": "PNG"}), "image/png"
    return Picture(media_type=kind, content=content, height=height, width=width, note=note)


def _encode(pixels: npt.NDArray[np.uint8], profile: dict[str, Any], *, colors: dict[int, Any] | None = None) -> bytes:
    with MemoryFile() as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(**profile) as file:
            file.write(pixels)
            if colors is not None:
                file.write_colormap(1, colors)
        return bytes(memory.getbuffer())
