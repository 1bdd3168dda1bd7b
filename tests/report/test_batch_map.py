"""Where an archive lies: the smallest arc, nothing torn at 180 degrees or a pole, every scene counted once."""

import math
import random
from typing import Any

import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geoseg.report.batch_drawing import draw
from geoseg.report.batch_map import MAX_DRAWN, ArchiveMap, Place
from geoseg.report.footprint import find_footprint
from geoseg.report.histogram import make_histogram
from geoseg.report.longitudes import Longitudes

INTERVALS = st.lists(st.tuples(st.integers(-180, 179), st.integers(1, 90)), min_size=1, max_size=12)


def place(grid: GeoBox, **more: Any) -> Place:
    found = find_footprint(grid)
    return Place(title="a scene", state="done", footprint=found.geometry, bbox=found.bbox, **more)


def square(lon: float, lat: float, *, size: float = 0.5, state: str = "done") -> Place:
    """A scene whose south-west corner is given; it does not cross 180 degrees."""
    box = shapely.box(lon, lat, lon + size, lat + size)
    return Place(title="a scene", state=state, footprint=shapely.geometry.mapping(box), bbox=box.bounds)


@settings(deadline=None)
@given(INTERVALS)
def test_the_arc_is_the_smallest_that_holds_all(intervals: list[tuple[int, int]]) -> None:
    """As found by looking at every whole degree of the circle."""
    longitudes = Longitudes()
    held = [False] * 360
    for west, width in intervals:
        east = west + width
        longitudes.add(float(west), float(east if east <= 180 else east - 360))
        for degree in range(west, east):
            held[degree % 360] = True
    runs = [0]
    for degree in range(720):
        runs.append(0 if held[degree % 360] else min(360, runs[-1] + 1))
    arc = longitudes.arc
    assert arc is not None
    assert -180 <= arc[0] <= 180
    assert arc[1] - arc[0] == 360 - max(runs)
    inside = {math.floor(arc[0] + step) % 360 for step in range(int(arc[1] - arc[0]))}
    assert {degree for degree in range(360) if held[degree]} <= inside


def test_the_arc_of_very_many_is_exact_in_bounded_memory() -> None:
    chance = random.Random(3)
    longitudes = Longitudes()
    west, east = 360.0, -360.0
    for _ in range(20_000):
        at = chance.uniform(150, 230)
        west, east = min(west, at), max(east, at + 1e-4)
        ends = [(one + 180) % 360 - 180 for one in (at, at + 1e-4)]
        longitudes.add(ends[0], ends[1])
        assert len(longitudes._pieces) <= 4002
    assert longitudes.arc == pytest.approx((west, east), abs=1e-9)


def test_scenes_on_both_sides_of_180_degrees_are_one_map() -> None:
    """Fiji: one scene west of the line, one across it, one east of it, each as large as it is."""
    found = ArchiveMap()
    for east_m in (600_000, 795_000, 900_000):
        found.add(place(GeoBox((100, 400), Affine(100, 0, east_m, 0, -100, 8_000_000), "EPSG:32760")))
    document = found.to_json()
    assert document is not None
    (south, west), (north, east) = document["bounds"]
    assert 177 < west < 180 < east < 183
    areas = [sum(shapely.Polygon(ring).area for ring in shape["rings"]) for shape in document["shapes"]]
    assert areas == pytest.approx([areas[0]] * 3, rel=0.05)
    for shape in document["shapes"]:
        whole = shapely.union_all([shapely.Polygon(ring).buffer(1e-6) for ring in shape["rings"]])
        assert whole.geom_type == "Polygon", "the pieces of a scene meet"
        assert shapely.box(west, south, east, north).buffer(1e-4).contains(whole)
    drawing = draw(document)
    assert {one.label[-1] for one in drawing.meridians} >= {"E", "W"}


def test_a_scene_around_the_pole_goes_around() -> None:
    found = ArchiveMap()
    found.add(place(GeoBox((100, 100), Affine(10_000, 0, -500_000, 0, -10_000, 500_000), "EPSG:3031")))
    document = found.to_json()
    assert document is not None
    (south, west), (_, east) = document["bounds"]
    assert (south, west, east) == (-90, -180, 180)
    assert draw(document).paths


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:3035", "EPSG:4326"])
def test_outlines_keep_their_form_with_few_points(crs: str) -> None:
    transform = Affine(0.001, 0, 12, 0, -0.001, 50) if crs == "EPSG:4326" else Affine(100, 0, 4e5, 0, -100, 5e6)
    grid = GeoBox((1098, 1098), transform, crs)
    whole = shapely.geometry.shape(find_footprint(grid).geometry)
    found = ArchiveMap()
    found.add(place(grid))
    document = found.to_json()
    assert document is not None
    ((ring,),) = (shape["rings"] for shape in document["shapes"])
    drawn = shapely.Polygon(ring)
    west, south, east, north = whole.bounds
    assert 4 <= len(ring) <= 12
    assert drawn.is_valid
    assert drawn.hausdorff_distance(whole) < math.hypot(east - west, north - south) / 150


def test_many_scenes_are_counted_where_they_are() -> None:
    """Beyond what is drawn: each cell holds the scenes whose middle lies in it, as a count by hand says."""
    chance = random.Random(5)
    corners = [(chance.uniform(-20, 30), chance.uniform(-30, 20)) for _ in range(MAX_DRAWN + 1)]
    found = ArchiveMap()
    for number, (lon, lat) in enumerate(corners):
        found.add(square(lon, lat, state="failed" if number % 100 == 0 else "done"))
    document = found.to_json()
    assert document is not None
    assert document["binned"]
    assert len(document["shapes"]) <= 2500
    assert sum(shape["states"].get("failed", 0) for shape in document["shapes"]) == 51
    middles = shapely.points([(lon + 0.25, lat + 0.25) for lon, lat in corners])
    for shape in document["shapes"]:
        (west, south), _, (east, north), _ = shape["rings"][0]
        assert shape["count"] == shapely.contains(shapely.box(west, south, east, north), middles).sum()


def test_cells_on_both_sides_of_180_degrees_are_one_map() -> None:
    found = ArchiveMap()
    for number in range(MAX_DRAWN + 1):
        found.add(square(-179.5 if number % 2 else 178.5, -17 + number % 7 / 10))
    document = found.to_json()
    assert document is not None
    assert document["binned"]
    lons = [lon for shape in document["shapes"] for lon, _ in shape["rings"][0]]
    assert 178 < min(lons) < 180 < max(lons) < 182
    assert sum(shape["count"] for shape in document["shapes"]) == MAX_DRAWN + 1


def test_few_scenes_are_drawn_one_by_one_and_nothing_is_nothing() -> None:
    found = ArchiveMap()
    assert found.to_json() is None
    found.add(square(10, 50))
    document = found.to_json()
    assert document is not None
    assert (document["binned"], len(document["shapes"]), document["scenes"]) == (False, 1, 1)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=300))
def test_the_histogram_counts_every_value_once(values: list[float]) -> None:
    found = make_histogram(values)
    assert found is not None
    assert sum(found.counts) + found.beyond == len(values)
    assert len(found.edges) == len(found.counts) + 1
    assert len(found.counts) <= 30
    assert list(found.edges) == sorted(set(found.edges))
    assert found.edges[0] <= min(values)
    assert make_histogram([]) is None
