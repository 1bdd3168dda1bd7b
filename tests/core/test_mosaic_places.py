"""Where grids lie on one another: what is left out shares no ground, what is found is where points say it is."""

import numpy as np
import numpy.typing as npt
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geoseg.core.neighbours import Neighbours, balls_of
from geoseg.core.placement import lattice_window, locate_centres, place_on
from geoseg.core.window import Window

CRSES = ["EPSG:32601", "EPSG:32660", "EPSG:4326", "EPSG:3413", "EPSG:3857", "EPSG:3031"]
GROUND = {"EPSG:3413": (30.0, 88.0), "EPSG:3031": (100.0, -85.0)}


def grid_near(crs: str, lon: float, lat: float, *, pixel_m: float, shape: tuple[int, int], turn: float) -> GeoBox:
    """A grid with its first pixel at a point."""
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    side = pixel_m / 111_000 if crs == "EPSG:4326" else pixel_m
    return GeoBox(shape, Affine.translation(x, y) * Affine.rotation(turn) * Affine.scale(side, -side), crs)


def reached(grid: GeoBox, other: GeoBox) -> npt.NDArray[np.bool_]:
    """(height, width) True = the centre of a pixel of `grid` is on `other`, one transformation for all."""
    height, width = grid.shape
    rows, cols = locate_centres(Window(row=0, col=0, height=height, width=width), grid, other)
    inside: npt.NDArray[np.bool_] = (rows >= 0) & (rows < other.shape[0]) & (cols >= 0) & (cols < other.shape[1])
    return inside


@settings(max_examples=60)
@given(data=st.data())
def test_what_is_left_out_shares_no_ground(data: st.DataObject) -> None:
    """Around the antimeridian and both poles, turned or not, large and small."""
    base = data.draw(st.sampled_from([(179.9, 10.0), (-179.9, 70.0), (20.0, 89.0), (0.0, -88.0)]))
    grids = []
    for _ in range(2):
        fits = [one for one in CRSES if (abs(base[1]) < 80) != (one in GROUND)]
        crs = data.draw(
            st.sampled_from(
                ["EPSG:4326", *(one for one in fits if (one != "EPSG:3031") == (base[1] > 0) or one not in GROUND)]
            )
        )
        lon = base[0] + data.draw(st.floats(-0.3, 0.3))
        lat = max(-89.5, min(89.5, base[1] + data.draw(st.floats(-0.3, 0.3))))
        pixel_m = data.draw(st.sampled_from([100.0, 700.0, 2000.0]))
        turn = 0.0 if crs == "EPSG:4326" else data.draw(st.sampled_from([0.0, 33.0]))
        shape = (data.draw(st.integers(5, 40)), data.draw(st.integers(5, 40)))
        if crs == "EPSG:4326":
            rows = int((lat + 90) / (pixel_m / 111_000))
            shape = min(shape[0], rows), shape[1]
        grids.append(grid_near(crs, lon, lat, pixel_m=pixel_m, shape=shape, turn=turn))
    one, two = grids
    truth = reached(one, two)
    place = place_on(one, two)
    near = Neighbours(balls_of(grids)).of(0).tolist() == [1]
    if truth.any():
        assert near
        assert place is not None
        window = place.window
        truth[window.row : window.row_stop, window.col : window.col_stop] = False
        assert not truth.any()


def test_neighbours_are_those_whose_balls_meet() -> None:
    """Against every pair, with one grid around the whole Earth among small ones."""
    rng = np.random.default_rng(0)
    grids = [GeoBox((18, 36), Affine(10, 0, -180, 0, -10, 90), "EPSG:4326")]
    for _ in range(300):
        lon, lat = rng.uniform(-180, 180), rng.choice([rng.uniform(-80, 80), 89.9])
        grids.append(grid_near("EPSG:4326", lon, lat, pixel_m=rng.choice([100, 9000]), shape=(10, 30), turn=0))
    balls = list(balls_of(grids))
    neighbours = Neighbours(balls)
    for k, ball in enumerate(balls):
        apart = [np.linalg.norm(np.subtract(ball.centre, one.centre)) - ball.radius_m - one.radius_m for one in balls]
        assert neighbours.of(k).tolist() == [j for j, gap in enumerate(apart) if gap <= 0 and j != k]
    assert len(neighbours.of(0)) == 300


@pytest.mark.parametrize(
    ("west", "expected"),
    [(179.5, (0, 5)), (-180.5, (0, 5)), (539.5, (0, 5)), (178.9, (0, -1)), (179.55, None)],
)
def test_longitudes_of_whole_turns_are_the_same_place(west: float, expected: tuple[int, int] | None) -> None:
    grid = GeoBox((20, 20), Affine(0.1, 0, 179, 0, -0.1, 10), "EPSG:4326")
    window = lattice_window(grid, GeoBox((20, 20), Affine(0.1, 0, west, 0, -0.1, 10), "EPSG:4326"))
    assert (None if window is None else (window.row, window.col)) == expected


def test_a_map_around_the_earth_meets_another_on_both_sides() -> None:
    """It is no lattice with it, so centres are looked up one by one."""
    world = GeoBox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
    piece = GeoBox((10, 10), Affine(1, 0, 175, 0, -1, 10), "EPSG:4326")
    assert lattice_window(world, piece) is None
    found = reached(world, piece)
    assert found.sum() == 100
    assert found[80:90, :5].all()
    assert found[80:90, 355:].all()
    assert reached(piece, world).all()


def test_a_pole_between_the_nodes_is_found() -> None:
    """The rows next to the pole are nearer to it than any node of the mesh."""
    ring = GeoBox((100, 360), Affine(1, 0, -180, 0, -0.05, 90), "EPSG:4326")
    polar = GeoBox((80, 80), Affine(1e4, 0, -387_500, 0, -1e4, 387_500), "EPSG:3413")
    truth = reached(ring, polar)
    assert truth[0].all()
    place = place_on(ring, polar)
    assert place is not None
    window = place.window
    truth[window.row : window.row_stop, window.col : window.col_stop] = False
    assert not truth.any()
    assert Neighbours(balls_of([ring, polar])).of(1).tolist() == [0]


@settings(max_examples=40)
@given(
    west=st.floats(-180, 180),
    south=st.floats(-90, 80),
    width=st.floats(0.01, 360),
    height=st.floats(0.01, 170),
)
def test_a_ball_holds_all_ground_of_its_grid(west: float, south: float, width: float, height: float) -> None:
    """Against points everywhere on it, of a piece as of a whole Earth."""
    north = min(90.0, south + height)
    grid = GeoBox((10, 10), Affine(width / 10, 0, west, 0, (south - north) / 10, north), "EPSG:4326")
    (ball,) = balls_of([grid])
    lon, lat = np.meshgrid(np.linspace(west, west + width, 91), np.linspace(south, north, 91))
    geocentric = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    ground = np.stack(geocentric.transform(lon, lat, np.zeros_like(lon)))
    apart = np.linalg.norm(ground - np.array(ball.centre)[:, None, None], axis=0)
    assert apart.max() <= ball.radius_m


@settings(max_examples=60)
@given(data=st.data())
def test_interpolated_places_are_those_of_every_centre_alone(data: st.DataObject) -> None:
    """In the middle of zones, over poles and the antimeridian, turned, and where a grid is too coarse to be smooth."""
    crs, other_crs = data.draw(st.sampled_from(CRSES)), data.draw(st.sampled_from(CRSES))
    lat = data.draw(st.sampled_from([0.0, 60.0, 84.0, 89.95]))
    lon = data.draw(st.sampled_from([-179.99, 177.0, 12.0]))
    sides = data.draw(st.sampled_from([(10.0, 10.0), (10.0, 33.0), (2000.0, 300.0)]))
    turn = data.draw(st.sampled_from([0.0, 12.0]))
    shape = (data.draw(st.integers(60, 140)), data.draw(st.integers(60, 140)))
    grid = grid_near(crs, lon, lat, pixel_m=sides[0], shape=shape, turn=0.0 if crs == "EPSG:4326" else turn)
    other = grid_near(other_crs, lon, lat, pixel_m=sides[1], shape=(100, 100), turn=0.0)
    if not all(np.isfinite(tuple(one.affine)).all() for one in (grid, other)):
        return
    window = Window(row=3, col=5, height=shape[0] - 3, width=shape[1] - 5)
    quick = locate_centres(window, grid, other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoseg.core.placement._interpolated", lambda *grids: None)
        alone = locate_centres(window, grid, other)
    for one, two in zip(quick, alone, strict=True):
        assert np.array_equal(one, two, equal_nan=True)


def test_few_centres_are_transformed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two zones, of a quarter of a million of them."""
    grid = grid_near("EPSG:32632", 11.9, 48, pixel_m=10, shape=(512, 512), turn=0)
    other = grid_near("EPSG:32633", 11.9, 48, pixel_m=10, shape=(512, 512), turn=0)
    seen = []

    class Counting:
        def transform(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> object:
            seen.append(x.size)
            return real.transform(x, y)

    real = Transformer.from_crs("EPSG:32632", "EPSG:32633", always_xy=True)
    monkeypatch.setattr("geoseg.core.placement._transformer", lambda first, second: Counting())
    locate_centres(Window(row=0, col=0, height=512, width=512), grid, other)
    assert sum(seen) < 512 * 512 / 50
