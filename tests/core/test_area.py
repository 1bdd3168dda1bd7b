"""Pixel areas against Karney's geodesic polygons (pyproj.Geod), which share no formula with geoseg."""

import math
import pickle
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import CRS, Geod, Transformer

from geoseg.core.area import PixelArea
from geoseg.core.window import Window
from geoseg.errors import SceneError

GEOD = Geod(ellps="WGS84")
ROTATED_POLE = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=40 +lon_0=10 +ellps=WGS84 +type=crs"
MODIS = "+proj=sinu +lon_0=0 +R=6371007.181 +units=m +no_defs"


def around(crs: str, lon: float, lat: float, pixel: float, *, side: int = 512, turn: float = 0.0) -> GeoBox:
    """A north-up (or turned) grid of side x side pixels centred on a point."""
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    cosine, sine = pixel * math.cos(math.radians(turn)), pixel * math.sin(math.radians(turn))
    half = side / 2
    affine = Affine(cosine, sine, x - half * (cosine + sine), sine, -cosine, y - half * (sine - cosine))
    return GeoBox((side, side), affine, crs)


GRIDS = {
    "utm edge, equator": around("EPSG:32632", 12, 0.1, 10),
    "utm edge, 60 north": around("EPSG:32632", 12, 60, 10),
    "utm 6 degrees off": around("EPSG:32632", 15, 5, 10),
    "utm south": around("EPSG:32721", -60, -25, 10),
    "utm rotated": around("EPSG:32632", 9, 45, 10, turn=20),
    "utm sheared": GeoBox((400, 300), Affine(10, 3, 5e5, -2, -9, 5e6), "EPSG:32632"),
    "utm south-up": GeoBox((300, 400), Affine(10, 0, 5e5, 0, 10, 5e6), "EPSG:32632"),
    "utm non-square": GeoBox((300, 400), Affine(5, 0, 5e5, 0, -20, 5e6), "EPSG:32632"),
    "utm across 180": around("EPSG:32660", 180, 55, 10),
    "utm centimetres": around("EPSG:32632", 9, 45, 0.02),
    "web mercator": around("EPSG:3857", 10, 60, 10),
    "web mercator, high": around("EPSG:3857", 10, 75, 30),
    "web mercator, coarse": around("EPSG:3857", 10, 50, 20_000, side=40),
    "laea": around("EPSG:3035", 20, 50, 10),
    "laea far": around("EPSG:3035", 30, 40, 100),
    "modis sinusoidal": around(MODIS, 30, 60, 231.65635),
    "mollweide": around("ESRI:54009", 10, 30, 100),
    "lambert": around("EPSG:2154", 3, 46, 10),
    "us feet": around("EPSG:2225", -122, 40, 30),
    "north pole": around("EPSG:3413", 0, 90, 30),
    "south pole": around("EPSG:3031", 0, -90, 250),
    "british grid (Airy)": around("EPSG:27700", -2, 53, 10),
    "degrees": around("EPSG:4326", 10, 45, 1e-4),
    "degrees rotated": around("EPSG:4326", 10, 45, 1e-4, turn=10),
    "degrees rotated across 180": around("EPSG:4326", 180, 45, 1e-4, turn=10),
    "degrees rotated, coarse": around("EPSG:4326", 10, 45, 0.5, side=20, turn=10),
    "degrees (Bessel)": around("EPSG:4314", 10, 50, 1e-4),
    "rotated pole": GeoBox((200, 200), Affine(0.01, 0, 10, 0, -0.01, 5), ROTATED_POLE),
    "grads from Paris": around("EPSG:4807", 5, 46, 1e-4),
    "one pixel": around("EPSG:32632", 9, 45, 10, side=1),
    "one column": GeoBox((3000, 1), Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32632"),
}


def whole(grid: GeoBox) -> Window:
    return Window(row=0, col=0, height=grid.shape[0], width=grid.shape[1])


def outline_m2(grid: GeoBox, window: Window, points: int = 400) -> float:
    """Geod area of the densified outline of a window."""
    ramp = np.linspace(0, 1, points, endpoint=False)
    none, one = np.zeros(points), np.ones(points)
    col = window.col + window.width * np.concatenate([ramp, one, 1 - ramp, none])
    row = window.row + window.height * np.concatenate([none, ramp, one, 1 - ramp])
    a, b, c, d, e, f = grid.affine[:6]
    lon, lat = Transformer.from_crs(CRS(str(grid.crs)), 4326, always_xy=True).transform(
        a * col + b * row + c, d * col + e * row + f
    )
    return abs(GEOD.polygon_area_perimeter(lon, lat)[0])


def total_m2(grid: GeoBox, window: Window) -> float:
    areas = np.broadcast_to(PixelArea(grid).of(window), window.shape)
    return math.fsum(areas.ravel())


@pytest.mark.parametrize("name", GRIDS)
def test_pixels_sum_to_the_geodesic_outline(name: str) -> None:
    grid = GRIDS[name]
    if "pole" in name:  # an outline around a pole is the complement for Geod: take a quarter with the pole as corner
        half = grid.shape[0] // 2
        window = Window(row=0, col=0, height=half, width=half)
    else:
        window = whole(grid)
    assert total_m2(grid, window) == pytest.approx(outline_m2(grid, window), rel=1e-7)


@pytest.mark.parametrize("name", ["utm edge, equator", "web mercator", "modis sinusoidal", "degrees", "lambert"])
def test_single_pixels_are_those_of_geod(name: str) -> None:
    grid = GRIDS[name]
    area = PixelArea(grid)
    random = np.random.default_rng(7)
    for row, col in random.integers(0, 512, (20, 2)).tolist():
        pixel = Window(row=row, col=col, height=1, width=1)
        # 2e-6: Geod itself rounds on 100 m2.
        assert float(area.of(pixel)[0, 0]) == pytest.approx(outline_m2(grid, pixel, 4), rel=2e-6)


@pytest.mark.parametrize("degrees", [0.1, 0.5, 1.0])
def test_rows_of_the_globe_sum_to_the_ellipsoid(degrees: float) -> None:
    height, width = round(180 / degrees), round(360 / degrees)
    grid = GeoBox((height, width), Affine(degrees, 0, -180, 0, -degrees, 90), "EPSG:4326")
    area = PixelArea(grid)
    units = area.units_of(Window(row=0, col=0, height=height, width=1))
    total = sum(int(one) for one in units[:, 0]) * width * area.unit_m2
    assert area.method == "authalic rows"
    assert total == pytest.approx(510065621724088.44, rel=3e-16)  # Karney


NOMINAL = [  # METHODS.md 1a: crs, lon, lat, pixel, error of the nominal area in percent
    ("EPSG:3857", 10, 0, 10, 0.674),
    ("EPSG:3857", 10, 30, 10, 33.783),
    ("EPSG:3857", 10, 60, 10, 298.66),
    ("EPSG:32632", 9, 0, 10, -0.0800),
    ("EPSG:32632", 9, 30, 10, -0.0800),
    ("EPSG:32632", 9, 60, 10, -0.0800),
    ("EPSG:32632", 12, 0, 10, 0.1963),
    ("EPSG:32632", 12, 30, 10, 0.1267),
    ("EPSG:32632", 12, 60, 10, -0.0114),
    ("EPSG:32632", 15, 30, 10, 0.7498),
    ("EPSG:3035", 20, 60, 10, 0.0),
    ("EPSG:6933", 20, 30, 10, 0.0),
    ("EPSG:5070", -90, 40, 10, 0.0),
    ("ESRI:54009", 10, 30, 10, 0.337),
    ("ESRI:54009", 10, 60, 10, -0.334),
    (MODIS, 10, 60, 231.65635, -0.5571),  # R^2 / (M N) at 60 degrees
    (MODIS, 10, 0, 231.65635, 0.4490),  # and at the equator
    ("EPSG:4326", 10, 0, 1e-4, 0.674),
    ("EPSG:4326", 10, 30, 1e-4, 15.86),
    ("EPSG:4326", 10, 60, 1e-4, 99.33),
]


@pytest.mark.parametrize(("crs", "lon", "lat", "pixel", "percent"), NOMINAL)
def test_nominal_figure_is_wrong_as_published(crs: str, lon: float, lat: float, pixel: float, percent: float) -> None:
    grid = around(crs, lon, lat, pixel, side=2)
    area = PixelArea(grid)
    wrong = (area.nominal_pixel_m2() * 4 / total_m2(grid, whole(grid)) - 1) * 100
    digits = len(str(percent).partition(".")[2])
    assert wrong == pytest.approx(percent, abs=0.51 * 10**-digits if percent else 1e-6)


def test_a_modis_block_at_60_north_is_off_as_published() -> None:
    x, y = Transformer.from_crs(4326, MODIS, always_xy=True).transform(10, 60)
    grid = GeoBox((4096, 4096), Affine(231.65635, 0, x, 0, -231.65635, y), MODIS)
    area = PixelArea(grid)
    true = float(area.of(whole(grid)).sum())
    assert (area.nominal_pixel_m2() * 4096**2 / true - 1) * 100 == pytest.approx(-0.467, abs=5e-4)


@settings(max_examples=60)
@given(st.data())
def test_a_pixel_does_not_depend_on_the_window(data: st.DataObject) -> None:
    grid = GRIDS[data.draw(st.sampled_from(sorted(GRIDS)))]
    height, width = grid.shape
    row, col = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    window = Window(
        row=row,
        col=col,
        height=data.draw(st.integers(1, height - row)),
        width=data.draw(st.integers(1, width - col)),
    )
    area = PixelArea(grid)
    everything = np.broadcast_to(area.units_of(whole(grid)), grid.shape)
    part = np.broadcast_to(area.units_of(window), window.shape)
    assert np.array_equal(part, everything[window.slices_in(whole(grid))])
    assert np.array_equal(part, np.rint(part))


@pytest.mark.parametrize("name", GRIDS)
def test_units_are_fine_and_a_power_of_two(name: str) -> None:
    area = PixelArea(GRIDS[name])
    units: npt.NDArray[np.float64] = area.units_of(whole(GRIDS[name]))
    assert math.frexp(area.unit_m2)[0] == 0.5
    assert units.min() >= 2**29  # rounding to whole units is 2^-30 of a pixel at most
    assert units.max() <= 2**60


def test_south_up_is_north_up_turned_over() -> None:
    north = GeoBox((50, 4), Affine(0.01, 0, 10, 0, -0.01, 50), "EPSG:4326")
    south = GeoBox((50, 4), Affine(0.01, 0, 10, 0, 0.01, 49.5), "EPSG:4326")
    areas = [PixelArea(one).of(whole(one)) for one in (north, south)]
    assert areas[0] == pytest.approx(areas[1][::-1], rel=1e-9)


def test_rows_at_the_poles() -> None:
    """Grids whose outer rows are centred on the poles cover the ellipsoid once; half of those rows is no ground."""
    grid = GeoBox((181, 360), Affine(1, 0, -180.5, 0, -1, 90.5), "EPSG:4326")
    assert total_m2(grid, whole(grid)) == pytest.approx(510065621724088.44, rel=1e-12)
    cap = PixelArea(grid).of(Window(row=0, col=0, height=1, width=1))[0, 0] * 360
    lon = np.arange(0.0, 360.0)
    assert cap == pytest.approx(abs(GEOD.polygon_area_perimeter(lon, np.full(360, 89.5))[0]), rel=1e-4)


def test_a_round_pole_has_no_hole() -> None:
    """LAEA keeps areas: the pixels around its pole are exactly the nominal ones."""
    grid = around("EPSG:6931", 0, 90, 25_000, side=20)
    area = PixelArea(grid)
    assert area.of(whole(grid)) == pytest.approx(area.nominal_pixel_m2(), rel=1e-7)


def test_it_is_rebuilt_from_a_small_pickle() -> None:
    grid = GRIDS["utm rotated"]
    text = pickle.dumps(PixelArea(grid))
    assert len(text) < 10_000
    again = pickle.loads(text)
    assert np.array_equal(again.of(whole(grid)), PixelArea(grid).of(whole(grid)))


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326"])
def test_memory_does_not_grow_with_the_scene(crs: str) -> None:
    pixel = 1e-5 if crs == "EPSG:4326" else 0.5
    corner = (10, 50) if crs == "EPSG:4326" else (3e5, 5.5e6)
    grid = GeoBox((1_000_000, 800_000), Affine(pixel, 0, corner[0], 0, -pixel, corner[1]), crs)
    tracemalloc.start()
    area = PixelArea(grid)
    area.of(Window(row=900_000, col=700_000, height=64, width=64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (GeoBox((4, 4), Affine(10, 0, 0, 0, -10, 0), None), "no CRS"),
        (GeoBox((4, 4), Affine(0.1, 0, 10, 0, -0.1, 95), "EPSG:4326"), "latitude"),
        (GeoBox((900, 900), Affine(0.1, 0, 10, 0, -0.1, 40), "EPSG:4326"), ""),
        (GeoBox((40, 40), Affine(1e6, 0, -2e7, 0, -1e6, 2e7), MODIS), "projection"),
        (GeoBox((40, 40), Affine(1e3, 0, 5e7, 0, -1e3, 5e7), "EPSG:3035"), "projection"),
        (GeoBox((4, 4), Affine(0, 0, 5e5, 0, 0, 5e6), "EPSG:32632"), "singular"),
        (GeoBox((4, 4), Affine(10, 0, 0, 0, -10, 0), 'LOCAL_CS["site",UNIT["metre",1]]'), "neither"),
    ],
)
def test_what_has_no_area_is_refused(grid: GeoBox, words: str) -> None:
    if not words:
        assert PixelArea(grid).of(whole(grid)).min() > 0
        return
    with pytest.raises(SceneError, match=words):
        PixelArea(grid).of(whole(grid))


@pytest.mark.parametrize("step", [0.1, 0.25, 1.0])
def test_a_global_grid_with_centres_on_the_poles_is_the_whole_earth(step: float) -> None:
    """Rounded coordinates put the last centre a hair beyond the pole."""
    rows, cols = round(180 / step) + 1, round(360 / step)
    grid = GeoBox((rows, cols), Affine(step, 0, -180, 0, -step, 90 + step / 2), "EPSG:4326")
    area = PixelArea(grid).of(Window(row=0, col=0, height=rows, width=1))
    assert area.sum() * cols == pytest.approx(510_065_621_724_088.5, rel=1e-9)
