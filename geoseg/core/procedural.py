"""Made-up Sentinel-2 scenes whose true class of every pixel is known: for the demo, for tests and for training.

A scene is a function of its seed and size alone. It is painted in strips of rows from random fields that can be
asked about any row, so the work is proportional to the pixels and little more than the result is held in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from geoseg.core.noise import IDENTIFIERS, Field, Lattice, Texture, make_lattice, make_texture, scatter

FOREST: Final = 1
OTHER: Final = 0
COLLAR: Final = 255
PIXEL_M: Final = 10.0
MIN_SIDE_PX: Final = 64
MAX_SIDE_PX: Final = 16384

_STRIP_ROWS: Final = 128
_HALO_PX: Final = 2
_DN: Final = 3558 / 255
"""Reflectance DN of one step of the product's 8-bit true-colour image: the palette below is in such steps."""

# kinds of surface; the first is the only one that is forest
_KINDS: Final = (
    # red, green, blue; share of brightness: texture of pixels, mottling over 20 px
    (25.0, 44.0, 49.5, 0.075, 0.035),  # 0 forest
    (60.0, 61.0, 61.0, 0.050, 0.100),  # 1 pasture
    (74.0, 67.0, 68.0, 0.045, 0.100),  # 2 dry pasture
    (51.0, 65.0, 60.0, 0.055, 0.100),  # 3 green pasture
    (98.0, 79.0, 76.0, 0.030, 0.050),  # 4 bare soil
    (130.0, 98.0, 88.0, 0.030, 0.040),  # 5 bright soil
    (44.0, 75.0, 62.0, 0.025, 0.050),  # 6 green crop
    (50.0, 84.0, 66.0, 0.025, 0.050),  # 7 bright green crop
    (40.0, 43.0, 52.0, 0.060, 0.120),  # 8 burnt
    (44.0, 65.0, 59.0, 0.050, 0.090),  # 9 regrowth
    (120.0, 96.0, 88.0, 0.030, 0.030),  # 10 road
    (88.0, 80.0, 80.0, 0.160, 0.050),  # 11 settlement
    (26.0, 44.0, 74.0, 0.012, 0.020),  # 12 clear water: mostly the blue air above it
    (22.0, 40.0, 76.0, 0.012, 0.020),  # 13 deep clear water
    (48.0, 61.0, 68.0, 0.012, 0.025),  # 14 turbid water
    (62.0, 72.0, 64.0, 0.012, 0.020),  # 15 silty water
)
_ROAD, _SETTLEMENT, _FIRST_WATER = 10, 11, 12
_FIELD_KINDS: Final = (1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 6, 6, 7, 8, 9)
_CLEARING_KINDS: Final = (1, 1, 3, 4, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProceduralScene:
    """A Sentinel-2-like scene and its truth."""

    reflectance: npt.NDArray[np.uint16]
    """(3, height, width) red, green, blue top-of-atmosphere DN: reflectance = DN / 10000, no offset; 0 = nodata."""
    classes: npt.NDArray[np.uint8]
    """(height, width) true class: 0 = other, 1 = forest, 255 = under the nodata collar."""
    valid: npt.NDArray[np.bool_]
    """(height, width) True = inside the swath."""
    epsg: int
    """A UTM zone."""
    transform: tuple[float, float, float, float, float, float]
    """a, b, c, d, e, f: x = a col + b row + c, y = d col + e row + f, metres, of pixel corners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Land:
    """Everything random about a scene but the noise of single pixels."""

    height: int
    width: int
    salt: int
    broad: tuple[Lattice, ...]
    """Where forest is, coarse to fine."""
    broad_weights: tuple[float, ...]
    bend: tuple[Lattice, Lattice]
    """What bends block borders and the river."""
    stream: tuple[Lattice, Lattice]
    veil: Lattice
    relief: Lattice
    canopy: Texture
    grain: Texture
    forest_bias: float
    tilt: np.float32
    """Angle of the block pattern, radians."""
    collar: tuple[float, float, float]
    """Slope of the swath's edge, columns cut at the left of row 0, columns cut at the right of the last row."""
    river: tuple[float, ...]
    """Column at row 0, slope, then amplitude, wavelength, phase twice, half width in pixels."""
    river_kind: int
    towns: npt.NDArray[np.float64]
    """(towns, 3): row, col, radius in pixels."""
    light: npt.NDArray[np.float32]
    """(3,) gain by band."""
    air: npt.NDArray[np.float32]
    """(3,) display steps added by clear air; haze adds more of the same colour."""
    haze: float
    block_angle: Field
    block_size: Field
    block_bias: Field
    parcel_kind: npt.NDArray[np.uint8]
    parcel_bias: Field
    parcel_tint: Field
    """(65536, 3)."""


def make_procedural_scene(seed: int, *, height: int, width: int) -> ProceduralScene:
    """The scene of a seed: parcels, forest stands, clearings, streams, a river, towns, roads, haze and a collar.

    Raises:
        ValueError: a side is not in 64 … 16384, or the seed is negative.
    """
    if seed < 0 or not all(MIN_SIDE_PX <= side <= MAX_SIDE_PX for side in (height, width)):
        raise ValueError(
            f"procedural scene of seed {seed}, {height} x {width}: needs a seed of at least 0 and sides in "
            f"{MIN_SIDE_PX} … {MAX_SIDE_PX} pixels"
        )
    land = _make_land(np.random.default_rng(seed), height=height, width=width)
    reflectance = np.empty((3, height, width), dtype=np.uint16)
    classes = np.empty((height, width), dtype=np.uint8)
    for first, stop, grain in _strips(seed, height=height, width=width):
        kinds, tint, valid = _paint(land, first=first - _HALO_PX, stop=stop + _HALO_PX)
        inside = slice(_HALO_PX, -_HALO_PX)
        classes[first:stop] = np.where(kinds == 0, FOREST, OTHER)[inside, inside]
        classes[first:stop][~valid] = COLLAR
        light = _lit(land, kinds=kinds, tint=tint, first=first, stop=stop, noise=grain)
        reflectance[:, first:stop] = np.where(valid, light, 0)
    zone = 18 + seed % 6
    easting, northing = 300_000.0 + 10 * (seed * 7919 % 9000), 9_700_000.0 - 10 * (seed * 104_729 % 120_000)
    return ProceduralScene(
        reflectance=reflectance,
        classes=classes,
        valid=classes != COLLAR,
        epsg=32700 + zone,
        transform=(PIXEL_M, 0.0, easting, 0.0, -PIXEL_M, northing),
    )


def _strips(seed: int, *, height: int, width: int) -> Iterator[tuple[int, int, Field]]:
    """First row, row after the last, and the sensor noise (3, rows, cols) of each strip."""
    for first in range(0, height, _STRIP_ROWS):
        stop = min(first + _STRIP_ROWS, height)
        rng = np.random.default_rng([seed, first])
        yield first, stop, rng.standard_normal((3, stop - first, width), dtype=np.float32)


def _make_land(rng: np.random.Generator, *, height: int, width: int) -> _Land:
    """Draws everything random, always in the same order."""

    def lattice(cell_px: float) -> Lattice:
        return make_lattice(rng, height=height + 2 * _HALO_PX, width=width + 2 * _HALO_PX, cell_px=cell_px)

    towns = max(1, round(height * width / 1.2e6 * rng.uniform(0.5, 1.3)))
    return _Land(
        height=height,
        width=width,
        salt=int(rng.integers(1 << 30)),
        broad=tuple(lattice(cell) for cell in (420.0, 170.0, 61.0, 19.0, 7.0)),
        broad_weights=(0.9, 0.7, 0.5, 0.3, 0.08),
        bend=(lattice(150.0), lattice(37.0)),
        stream=(lattice(230.0), lattice(53.0)),
        veil=lattice(500.0),
        relief=lattice(23.0),
        canopy=make_texture(rng, sigma_px=0.8),
        grain=make_texture(rng, sigma_px=1.6),
        forest_bias=rng.uniform(0.0, 0.4),
        tilt=np.float32(rng.uniform(-0.6, 0.6)),
        collar=(rng.uniform(0.12, 0.28), width * rng.uniform(0.1, 0.2), width * rng.uniform(0.05, 0.2)),
        river=_draw_river(rng, width=width),
        river_kind=int(rng.integers(_FIRST_WATER, len(_KINDS))),
        towns=np.column_stack(
            [rng.uniform(0, height, towns), rng.uniform(0, width, towns), rng.uniform(14, 46, towns)]
        ),
        light=(rng.uniform(0.88, 1.2) * rng.uniform(0.95, 1.05, 3)).astype(np.float32),
        air=np.array([0.55, 0.75, 1.0], dtype=np.float32) * np.float32(rng.uniform(-2, 6)),
        haze=rng.uniform(4, 18),
        block_angle=rng.uniform(0, np.pi, IDENTIFIERS).astype(np.float32),
        block_size=np.exp(rng.uniform(3.2, 5.0, IDENTIFIERS)).astype(np.float32),
        block_bias=rng.choice([-0.75, -0.35, 0.0, 0.5], IDENTIFIERS).astype(np.float32),
        parcel_kind=rng.choice(_FIELD_KINDS, IDENTIFIERS).astype(np.uint8),
        parcel_bias=rng.choice([-1.5, -0.7, 0.0, 0.0, 0.0, 0.6], IDENTIFIERS).astype(np.float32),
        parcel_tint=np.exp(rng.normal(0, 0.07, (IDENTIFIERS, 1)) + rng.normal(0, 0.018, (IDENTIFIERS, 3))).astype(
            np.float32
        ),
    )


def _draw_river(rng: np.random.Generator, *, width: int) -> tuple[float, ...]:
    """Parameters of the river's middle line and its half width."""
    bends = [
        value for cell in (900.0, 260.0) for value in (cell * 0.12, cell * rng.uniform(0.8, 1.3), rng.uniform(0, 6))
    ]
    return (width * rng.uniform(0.3, 0.7), rng.uniform(-0.25, 0.25), *bends, np.exp(rng.uniform(1.5, 4.1)))


def _paint(land: _Land, *, first: int, stop: int) -> tuple[npt.NDArray[np.uint8], Field, npt.NDArray[np.bool_]]:
    """Kinds and tints of rows first … stop with a halo of two columns, and the swath without the halo.

    Returns:
        kinds (rows, cols) of _KINDS, tint (3, rows, cols) gain of the parcel, valid (rows - 4, cols - 4).
    """
    rows = np.arange(first, stop)
    cols = np.arange(-_HALO_PX, land.width + _HALO_PX)
    bends = land.bend[0].at(rows, cols) * 30 + land.bend[1].at(rows, cols) * 5
    block, border = _blocks(land, rows=rows, cols=cols, bends=bends)
    parcel = _parcels(land, rows=rows, cols=cols, block=block)
    stand = _stands(land, rows=rows, cols=cols, bias=land.block_bias[block] + land.parcel_bias[parcel])
    kinds = np.where(stand > 0, np.uint8(0), land.parcel_kind[parcel])
    _cut_clearings(land, kinds, rows=rows, cols=cols, bends=bends)
    kinds[border] = _ROAD
    _add_water(land, kinds, rows=rows, cols=cols, bends=bends)
    _add_towns(land, kinds, rows=rows, cols=cols)
    untilled = (kinds == 0) | (kinds >= _FIRST_WATER)
    tint = np.moveaxis(land.parcel_tint[np.where(untilled, 0, parcel)], 2, 0)
    return kinds, tint, _swath(land, rows=rows[_HALO_PX:-_HALO_PX], cols=cols[_HALO_PX:-_HALO_PX])


def _blocks(
    land: _Land, *, rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64], bends: Field
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
    """Blocks of land in rows of shifted bricks with bent borders: key of each pixel's block, and the roads."""
    tilt = land.tilt
    row, col = rows[:, None].astype(np.float32), cols[None, :].astype(np.float32)
    down = (row * np.cos(tilt) - col * np.sin(tilt) + bends) / np.float32(310)
    line = np.floor(down).astype(np.int64)
    shift = scatter(line, np.zeros_like(line), salt=land.salt).astype(np.float32) / IDENTIFIERS
    across = (row * np.sin(tilt) + col * np.cos(tilt) - bends) / np.float32(370) + shift
    column = np.floor(across).astype(np.int64)
    block = scatter(line, column, salt=land.salt + 1)
    near_road = (down - line) * 310 < 2.0
    near_road |= (across - column) * 370 < 2.0
    return block, near_road & (block % 8 < 5)


def _parcels(
    land: _Land, *, rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64], block: npt.NDArray[np.uint16]
) -> npt.NDArray[np.uint16]:
    """Key of each pixel's field: shifted bricks at the angle and size of its block."""
    angle, size = land.block_angle, land.block_size
    row, col = rows[:, None].astype(np.float32), cols[None, :].astype(np.float32)
    cosine, sine = (np.cos(angle) / size)[block], (np.sin(angle) / size)[block]
    line = np.floor(row * cosine - col * sine).astype(np.int64)
    shift = scatter(line, block.astype(np.int64), salt=land.salt + 2)
    length = np.float32(0.55) + np.float32(0.2) * (shift % 4)
    along = (row * sine + col * cosine) * length + shift.astype(np.float32) / IDENTIFIERS
    return scatter(line + block.astype(np.int64) * 7, np.floor(along).astype(np.int64), salt=land.salt + 3)


def _stands(land: _Land, *, rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64], bias: Field) -> Field:
    """Above 0 where forest stands: broad regions, block and parcel history, galleries along streams, ragged edges."""
    stand = bias + np.float32(land.forest_bias)
    for lattice, weight in zip(land.broad, land.broad_weights, strict=True):
        stand += lattice.at(rows, cols) * np.float32(weight)
    vein = np.abs(land.stream[0].at(rows, cols) + land.stream[1].at(rows, cols) * np.float32(0.22))
    vein += land.broad[3].at(rows, cols) * np.float32(0.03)
    gallery = (np.float32(0.07) - vein) * 30
    return np.asarray(np.maximum(stand, gallery), dtype=np.float32)


def _cut_clearings(
    land: _Land,
    kinds: npt.NDArray[np.uint8],
    *,
    rows: npt.NDArray[np.int64],
    cols: npt.NDArray[np.int64],
    bends: Field,
) -> None:
    """Small ragged openings in the forest, at most one in a cell of 120 pixels; changes kinds in place."""
    cell = 120
    key = scatter(rows[:, None] // cell, cols[None, :] // cell, salt=land.salt + 4).astype(np.int64)
    radius = np.where(key % 5 < 2, 5 + key % 23, 0).astype(np.float32)
    off_row = (rows[:, None] % cell - (34 + key // 7 % 52)).astype(np.float32)
    off_col = (cols[None, :] % cell - (34 + key // 61 % 52)).astype(np.float32)
    far = np.hypot(off_row * (1 + key % 3 * np.float32(0.3)), off_col) + np.sin(bends) * 1.5
    opened = (far < radius) & (kinds == 0)
    kinds[opened] = np.asarray(_CLEARING_KINDS, dtype=np.uint8)[(key % len(_CLEARING_KINDS))[opened]]


def _add_water(
    land: _Land,
    kinds: npt.NDArray[np.uint8],
    *,
    rows: npt.NDArray[np.int64],
    cols: npt.NDArray[np.int64],
    bends: Field,
) -> None:
    """The river, from top to bottom, with a wavering bank; changes kinds in place."""
    start, slope, wide, long, phase, narrow, short, other_phase, half_width = land.river
    turns = ((wide, long, phase), (narrow, short, other_phase))
    middle, lean = start + slope * rows, np.full(rows.shape, slope)
    for amplitude, wavelength, shift in turns:
        angle = rows / wavelength * 2 * np.pi + shift
        middle = middle + amplitude * np.sin(angle)
        lean = lean + amplitude / wavelength * 2 * np.pi * np.cos(angle)
    away = np.abs(cols[None, :] - middle[:, None] + bends) / np.hypot(1, lean)[:, None]
    kinds[away < half_width + bends / 12] = land.river_kind


def _add_towns(
    land: _Land, kinds: npt.NDArray[np.uint8], *, rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64]
) -> None:
    """Towns of houses and streets, with ragged outlines; changes kinds in place."""
    for row, col, radius in land.towns:
        reach = int(radius * 1.5)
        near_rows = np.flatnonzero(np.abs(rows - row) < reach)
        near_cols = np.flatnonzero(np.abs(cols - col) < reach)
        if not near_rows.size or not near_cols.size:
            continue
        places = np.ix_(near_rows, near_cols)
        far = np.hypot(rows[near_rows][:, None] - row, cols[near_cols][None, :] - col)
        built = far + land.broad[3].at(rows[near_rows], cols[near_cols]) * radius * 0.4 < radius
        street = (rows[near_rows][:, None] % 11 < 1) | (cols[near_cols][None, :] % 13 < 1)
        kinds[places] = np.where(
            built & (kinds[places] < _FIRST_WATER), np.where(street, _ROAD, _SETTLEMENT), kinds[places]
        )


def _swath(land: _Land, *, rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """True inside the slanting swath: a wedge is missing at the top left and another at the bottom right."""
    slope, left, right = land.collar
    first = left - slope * rows
    last = land.width - right + slope * (land.height - 1 - rows)
    inside: npt.NDArray[np.bool_] = (cols[None, :] >= first[:, None]) & (cols[None, :] < last[:, None])
    return inside


def _lit(
    land: _Land, *, kinds: npt.NDArray[np.uint8], tint: Field, first: int, stop: int, noise: Field
) -> npt.NDArray[np.uint16]:
    """Reflectance DN (3, rows, cols) of painted rows with their halo: texture, relief, optics, haze, sensor noise."""
    rows, cols = np.arange(first - _HALO_PX, stop + _HALO_PX), np.arange(-_HALO_PX, land.width + _HALO_PX)
    palette = np.asarray(_KINDS, dtype=np.float32)
    rough = land.canopy.at(rows, cols) * palette[:, 3][kinds]
    rough += land.relief.at(rows, cols) * palette[:, 4][kinds] + land.grain.at(rows, cols) * np.float32(0.015)
    veil = np.maximum(land.veil.at(rows, cols) + np.float32(0.25), 0) * np.float32(land.haze / 1.25)
    inside = slice(_HALO_PX, -_HALO_PX)
    bands = np.empty((3, stop - first, land.width), dtype=np.float32)
    for band in range(3):
        surface = palette[:, band][kinds] * tint[band] * (1 + rough * (1.0, 0.85, 0.5)[band]) * land.light[band]
        seen = ndimage.gaussian_filter(surface, 0.55, truncate=3)[inside, inside]
        share = (0.6, 0.75, 1.0)[band]
        bands[band] = seen + veil[inside, inside] * share + land.air[band] + noise[band] * np.float32(0.45)
    return np.asarray(np.clip(np.rint(bands * np.float32(_DN)), 1, 10000), dtype=np.uint16)
