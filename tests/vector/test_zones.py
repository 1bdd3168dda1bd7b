"""Areas of classes inside polygons: every share against cut pixels, every total against the ellipsoid."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import CRS, Geod, Transformer

import geoseg.vector.coverage as coverage
from geoseg.core.area import PixelArea
from geoseg.core.tally import AreaTally, tally_labels
from geoseg.core.window import Window
from geoseg.core.zone_table import ZoneTable
from geoseg.errors import InputError
from geoseg.vector.place import TOLERANCE_PIXELS
from geoseg.vector.read import Zones
from geoseg.vector.zones import measure_rows

Labels = npt.NDArray[np.uint8]
EARTH_M2 = 510_065_621_724_088.5
GEOD = Geod(ellps="WGS84")
UTM = Affine(10, 0, 400_000, 0, -10, 5_550_000)


def make_zones(crs: int | str, polygons: Sequence[Any], names: Sequence[str] | None = None) -> Zones:
    geometries = np.empty(len(polygons), object)
    geometries[:] = polygons
    given = tuple(names or (str(k) for k in range(len(polygons))))
    return Zones(source="zones.gpkg", field="name", crs=CRS(crs), names=given, geometries=geometries)


def measure(grid: GeoBox, zones: Zones, labels: Labels | None = None, *, block: int = 512) -> ZoneTable:
    found = np.ones(grid.shape, np.uint8) if labels is None else labels
    return measure_rows([(0, found)], zones, PixelArea(grid), block=block)


def tally_of(grid: GeoBox, labels: Labels) -> AreaTally:
    height, width = labels.shape
    return tally_labels(labels, Window(row=0, col=0, height=height, width=width), PixelArea(grid))


def random_labels(grid: GeoBox, seed: int = 0) -> Labels:
    values = np.array([0, 1, 2, 255], np.uint8)
    return np.random.default_rng(seed).choice(values, tuple(grid.shape))


def outline(grid: GeoBox) -> Any:
    height, width = grid.shape
    return shapely.Polygon([grid.affine * corner for corner in ((0, 0), (width, 0), (width, height), (0, height))])


def geodesic_m2(polygon: Any, pieces: int = 2000) -> float:
    """Ground area of a polygon without holes drawn in EPSG:4326, each edge cut in many."""
    points = np.array(polygon.exterior.coords)
    along = np.linspace(0, 1, pieces, endpoint=False)[:, None]
    dense = np.concatenate([start + along * (end - start) for start, end in pairwise(points)])
    area, _ = GEOD.polygon_area_perimeter(*dense.T)
    return float(abs(area))


GRIDS = {
    "north": GeoBox((90, 110), UTM, "EPSG:32633"),
    "south": GeoBox((90, 110), Affine(10, 0, 400_000, 0, 10, 5_550_000), "EPSG:32633"),
    "rotated": GeoBox((90, 110), UTM @ Affine.rotation(30) @ Affine.scale(1, 1.5), "EPSG:32633"),
    "degrees": GeoBox((90, 110), Affine(0.01, 0, 10, 0, -0.01, 60), "EPSG:4326"),
    "mercator": GeoBox((90, 110), Affine(500, 0, 1_000_000, 0, -500, 8_000_000), "EPSG:3857"),
}


@pytest.mark.parametrize("name", GRIDS)
def test_every_share_is_the_cut_pixels(name: str) -> None:
    """A polygon with holes, in two parts, partly beyond the map, against each pixel cut with shapely."""
    grid = GeoBox((22, 30), GRIDS[name].affine, GRIDS[name].crs)
    labels = random_labels(grid)
    rng = np.random.default_rng(3)
    shape = shapely.multipolygons(
        [
            shapely.Polygon(shapely.Point(9.3, 8.7).buffer(7.1).exterior, [shapely.Point(8.2, 9).buffer(2.3).exterior]),
            shapely.convex_hull(shapely.multipoints(rng.uniform((18, 5), (36, 25), (9, 2)))),
        ]
    )
    drawn = shapely.transform(shape, lambda points: np.array([grid.affine * tuple(one) for one in points]))
    (zone,) = measure(grid, make_zones(str(grid.crs), [drawn]), labels).zones
    weight = np.broadcast_to(PixelArea(grid).of(Window(row=0, col=0, height=22, width=30)), (22, 30))
    expected = dict.fromkeys((0, 1, 2, 255), 0.0)
    for row, col in np.ndindex(22, 30):
        share = shapely.box(col, row, col + 1, row + 1).intersection(shape).area
        expected[int(labels[row, col])] += share * weight[row, col]
    assert zone.area_m2 == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("name", GRIDS)
def test_a_partition_closes(name: str) -> None:
    """Zones that share their borders add up to each class, and leave nothing outside."""
    grid = GRIDS[name]
    labels = random_labels(grid)
    frame = outline(grid)
    low, high = np.reshape(frame.bounds, (2, 2))
    points = shapely.multipoints(low + (high - low) * np.random.default_rng(1).random((60, 2)))
    cells = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=frame))
    cells = shapely.intersection(cells, frame)
    table = measure(grid, make_zones(str(grid.crs), cells[shapely.area(cells) > 0]), labels)
    tally = tally_of(grid, labels)
    for label in (0, 1, 2, 255):
        assert sum(one.area_m2[label] for one in table.zones) == pytest.approx(tally.area_m2(label), rel=1e-9)
    assert table.overlap_m2 == 0
    assert table.outside_m2 < 1e-9 * tally.area_m2()
    assert table.notes == ()


@pytest.mark.parametrize("corner", [13.7, 13.81, 13.83])
def test_a_border_shared_by_two_is_shared_in_another_crs(corner: float) -> None:
    """One zone has a long edge where its neighbours have a corner: bent apart from each other they still meet."""
    grid = GeoBox((400, 300), Affine(100, 0, 400_000, 0, -100, 5_550_000), "EPSG:32633")
    zones = [shapely.box(13, 49.9, 14.5, 55), shapely.box(13, 45, corner, 49.9), shapely.box(corner, 45, 14.5, 49.9)]
    table = measure(grid, make_zones(4326, zones))
    whole = tally_of(grid, np.ones(grid.shape, np.uint8)).area_m2()
    assert sum(one.area_m2[1] for one in table.zones) == pytest.approx(whole, rel=1e-10)
    assert table.overlap_m2 == 0


def test_circles_of_a_hectare() -> None:
    """At 10 m, against their geodesic area."""
    grid = GRIDS["north"]
    rng = np.random.default_rng(2)
    centres = rng.uniform((400_100, 5_549_200), (401_000, 5_549_900), (40, 2))
    turns = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    circles = [shapely.Polygon(centre + 56.42 * np.column_stack([np.cos(turns), np.sin(turns)])) for centre in centres]
    back = Transformer.from_crs(32633, 4326, always_xy=True)
    table = measure(grid, make_zones(32633, circles))
    for zone, circle in zip(table.zones, circles, strict=True):
        area, _ = GEOD.polygon_area_perimeter(*back.transform(*np.array(circle.exterior.coords).T))
        assert zone.area_m2[1] == pytest.approx(abs(area), rel=1e-6)
        assert zone.zone_m2 == zone.area_m2[1]


def test_a_constant_class_is_the_geodesic_area() -> None:
    """In degrees at 60 N, where a pixel is half as wide as high; oblique edges."""
    grid = GeoBox((1000, 1000), Affine(1e-4, 0, 10, 0, -1e-4, 60), "EPSG:4326")
    zone = shapely.Polygon([(10.0123, 59.9171), (10.0877, 59.9033), (10.0712, 59.9908), (10.0305, 59.97)])
    (found,) = measure(grid, make_zones(4326, [zone])).zones
    assert found.area_m2[1] == pytest.approx(geodesic_m2(zone), rel=1e-8)


def test_a_long_edge_stays_where_it_was_drawn() -> None:
    """A parallel drawn with two vertices, over 100 km of UTM: 190 m from the straight line between them."""
    grid = GeoBox((300, 1000), Affine(100, 0, 400_000, 0, -100, 5_550_000), "EPSG:32633")
    row, col = np.mgrid[0:300, 0:1000] + 0.5
    back = Transformer.from_crs(32633, 4326, always_xy=True)
    _, latitude = back.transform(400_000 + 100 * col, 5_550_000 - 100 * row)
    labels = np.where(latitude > 49.95, 1, 2).astype(np.uint8)
    long = shapely.box(13.5, 49.95, 15.05, 55)
    dense = shapely.segmentize(long, 1e-4)
    first, second = (
        measure(grid, make_zones(4326, [shapely.union(zone, shapely.box(10, 49.97, 20, 55))]), labels).zones[0]
        for zone in (long, dense)
    )
    strip_m2 = 100 * 100_000  # a row of pixels
    assert first.area_m2[2] < 0.3 * strip_m2  # the pixels that the parallel parts: 1/8 of a row
    for label in (1, 2):
        assert first.area_m2[label] == pytest.approx(second.area_m2[label], abs=TOLERANCE_PIXELS * strip_m2)


def test_overlaps_are_measured_and_said() -> None:
    """Two zones of 40 x 40 pixels share 10 x 40; a third lies apart from them."""
    grid = GRIDS["north"]
    boxes = [(0, 0, 40, 40), (30, 0, 70, 40), (80, 50, 100, 70)]
    corners = [(grid.affine * one[:2], grid.affine * one[2:]) for one in boxes]
    zones = [shapely.box(*start, *end) for start, end in corners]
    table = measure(grid, make_zones(32633, zones, ["west", "east", "far"]))
    area = PixelArea(grid).of(Window(row=0, col=0, height=90, width=110))
    inside = np.zeros((90, 110), bool)
    for left, top, right, bottom in boxes:
        inside[top:bottom, left:right] = True
    assert table.overlap_m2 == pytest.approx(area[:40, 30:40].sum(), rel=1e-9)
    assert table.outside_m2 == pytest.approx(area[~inside].sum(), rel=1e-9)
    assert table.notes == ("zones overlap, so that their sum exceeds the whole: west / east",)


@pytest.mark.parametrize("crowded", [False, True])
def test_a_crowd_of_zones_is_not_compared_pair_by_pair(monkeypatch: pytest.MonkeyPatch, crowded: bool) -> None:
    """Circles that nearly all overlap: what they count twice is their sum less their union; the pairs are bounded."""
    grid, rng = GRIDS["north"], np.random.default_rng(4)
    count, most = (120, 500) if crowded else (20, 190)
    centres = rng.uniform((400_400, 5_549_400), (400_700, 5_549_700), (count, 2))
    circles = [shapely.Point(centre).buffer(290) for centre in centres]
    intersection, compared = shapely.intersection, []

    def compare(first: Any, second: Any) -> Any:
        compared.append(np.size(second) if np.ndim(first) == 0 else 0)
        return intersection(first, second)

    def look_at_all_pairs(_: object) -> bool:
        assert not crowded
        return False

    monkeypatch.setattr(shapely, "intersection", compare)
    monkeypatch.setattr(shapely, "coverage_is_valid", look_at_all_pairs)
    monkeypatch.setattr("geoseg.vector.zones._MOST_LOOKED", 500, raising=False)
    table = measure(grid, make_zones(32633, circles))
    assert sum(compared) == most
    (joint,) = measure(grid, make_zones(32633, [shapely.union_all(circles)])).zones
    total = sum(one.footprint_m2 for one in table.zones)
    assert table.overlap_m2 == pytest.approx(total - joint.footprint_m2, rel=1e-9)
    (note,) = table.notes
    assert note.startswith("zones overlap, so that their sum exceeds the whole: ")
    assert note.endswith(" more, perhaps others" if crowded else " more")


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32601", Affine(500, 0, 100_000, 0, -500, 2_000_000)),
        ("EPSG:4326", Affine(0.005, 0, 179, 0, -0.005, 18)),
        ("EPSG:4326", Affine(0.005, 0, -181, 0, -0.005, 18)),
        ("EPSG:3857", Affine(500, 0, 19_930_000, 0, -500, 2_000_000)),
    ],
)
def test_zones_meet_at_the_antimeridian(crs: str, transform: Affine) -> None:
    """Two halves drawn on either side of it, and the whole drawn across it, counting on past 180."""
    grid = GeoBox((400, 420), transform, crs)
    zones = [shapely.box(179.3, 16.5, 180, 17.5), shapely.box(-180, 16.5, -179.7, 17.5)]
    halves = measure(grid, make_zones(4326, zones))
    (whole,) = measure(grid, make_zones(4326, [shapely.box(179.3, 16.5, 180.3, 17.5)])).zones
    expected = geodesic_m2(shapely.box(-0.7, 16.5, 0.3, 17.5))
    assert sum(one.area_m2[1] for one in halves.zones) == pytest.approx(expected, rel=1e-6)
    assert whole.area_m2[1] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("grid", "zone"),
    [
        (
            GeoBox((200, 400), Affine(0.005, 0, 179, 0, -0.005, 18), "EPSG:4326"),
            shapely.union(shapely.box(179, 17, 180, 18), shapely.box(-180, 17, -179, 18)),
        ),
        (
            GeoBox((200, 400), Affine(0.005, 0, -181, 0, -0.005, 18), "EPSG:4326"),
            shapely.union(shapely.box(179, 17, 180, 18), shapely.box(-180, 17, -179, 18)),
        ),
        (GeoBox((90, 180), Affine(2, 0, -180, 0, -2, 90), "EPSG:4326"), shapely.box(-180, -90, 180, 90)),
        (GeoBox((90, 180), Affine(2, 0, -180, 0, -2, 90), "EPSG:4326"), shapely.box(170, -10, 190, 10)),
        (GeoBox((90, 180), Affine(2, 0, 0, 0, -2, 90), "EPSG:4326"), shapely.box(-10, -10, 10, 10)),
        (GeoBox((90, 180), Affine(2, 0, 0, 0, -2, 90), "EPSG:4326"), shapely.box(-180, 80, 180, 90)),
        (GeoBox((300, 3600), Affine(0.1, 0, -180.1, 0, -0.1, 90), "EPSG:4326"), shapely.box(-180, 60, 180, 90)),
    ],
)
def test_a_zone_cut_at_the_antimeridian_is_whole(grid: GeoBox, zone: Any) -> None:
    """All of it is on the map, on one turn or on two: nothing is to be said, and it is as large as its pixels."""
    table = measure(grid, make_zones(4326, [zone]))
    assert table.notes == ()
    (found,) = table.zones
    assert found.zone_m2 == found.footprint_m2


def test_a_zone_cut_at_the_antimeridian_may_reach_beyond_the_map() -> None:
    grid = GeoBox((200, 400), Affine(0.005, 0, 179, 0, -0.005, 18), "EPSG:4326")
    zone = shapely.union(shapely.box(178, 17, 180, 18), shapely.box(-180, 17, -179, 18))
    table = measure(grid, make_zones(4326, [zone]))
    assert table.notes == ("1 of 1 zones only in part on the map, measured there: 0",)
    assert table.zones[0].zone_m2 == pytest.approx(1.5 * table.zones[0].footprint_m2, rel=1e-6)


def test_a_zone_drawn_across_the_antimeridian_the_wrong_way_is_said() -> None:
    grid = GeoBox((50, 50), Affine(500, 0, 300_000, 0, -500, 2_000_000), "EPSG:32601")
    zone = shapely.Polygon([(179, 17), (-179, 17), (-179, 18), (179, 18)])
    assert any("(cut it at the antimeridian): 0" in note for note in measure(grid, make_zones(4326, [zone])).notes)


def test_the_whole_earth_is_a_zone() -> None:
    """It reaches beyond any projection; its part on the map is the map."""
    grid = GRIDS["north"]
    earth, far = shapely.box(-180, -90, 180, 90), shapely.box(95, 10, 100, 20)
    table = measure(grid, make_zones(4326, [earth, far, shapely.box(0, 95, 2, 97)], ["Earth", "far", "nowhere"]))
    assert [one.name for one in table.zones] == ["Earth", "far"]
    assert table.zones[0].zone_m2 == pytest.approx(EARTH_M2, rel=1e-9)
    assert table.zones[0].footprint_m2 == pytest.approx(tally_of(grid, np.ones((90, 110), np.uint8)).area_m2())
    assert table.zones[1].footprint_m2 == 0
    assert table.zones[1].zone_m2 == pytest.approx(geodesic_m2(far), rel=1e-6)
    assert table.notes == (
        "1 of 3 zones only in part on the map, measured there: Earth",
        "1 of 3 zones wholly outside the map, measured as 0: far",
        "1 of 3 zones not on the Earth, left out: nowhere",
    )


@pytest.mark.parametrize("left", [-2.06e6, -1.15e6])
def test_a_zone_around_a_pole(left: float) -> None:
    """Drawn in degrees on a polar map: its ring is an edge along the pole, which may lie anywhere on the map."""
    grid = GeoBox((84, 84), Affine(50_000, 0, left, 0, -50_000, 2.06e6), "EPSG:3031")
    cap, quarter = shapely.box(-180, -90, 180, -80), shapely.box(0, -90, 90, -80)
    found, part = measure(grid, make_zones(4326, [cap, quarter])).zones
    expected = 4 * geodesic_m2(quarter)  # a ring around the pole has no inside for a geodesic
    # A pixel of 50 km that the border parts is as dense inside as outside.
    assert found.area_m2[1] == pytest.approx(expected, rel=3e-5)
    assert part.area_m2[1] == pytest.approx(expected / 4, rel=3e-5)


@pytest.mark.parametrize(
    ("crs", "zone", "why"),
    [
        (4326, (50, 13, 51, 14), "1 of 1 zones wholly outside the map, measured as 0: 0"),  # latitude first
        (32760, (4e5, 5e6, 5e5, 6e6), "1 of 1 zones wholly outside the map, measured as 0: 0"),
        (4326, (4e5, 5.54e6, 5e5, 5.55e6), "1 of 1 zones not on the Earth, left out: 0"),  # metres
    ],
)
def test_no_zone_on_the_map_is_refused(crs: int, zone: tuple[float, ...], why: str) -> None:
    with pytest.raises(InputError) as caught:
        measure(GRIDS["north"], make_zones(crs, [shapely.box(*zone)]))
    assert str(caught.value).startswith(f"no zone of zones.gpkg lies on the map ({why}): is its CRS (")


@settings(max_examples=15)
@given(
    block=st.integers(7, 130), heights=st.lists(st.integers(1, 60), min_size=30, max_size=30), seed=st.integers(0, 9)
)
def test_nothing_depends_on_how_the_map_was_cut(block: int, heights: list[int], seed: int) -> None:
    grid, rng = GRIDS["degrees"], np.random.default_rng(seed)
    labels = random_labels(grid, seed)
    polygons = [shapely.Point(rng.uniform((10, 59.1), (11.1, 60))).buffer(rng.uniform(0.01, 0.4)) for _ in range(5)]
    zones = make_zones(4326, polygons)
    stops = [0, *(one for one in np.cumsum(heights).tolist() if one < 90), 90]
    rows = [(start, labels[start:stop]) for start, stop in pairwise(stops)]
    whole, parts = measure(grid, zones, labels), measure_rows(rows, zones, PixelArea(grid), block=block)
    for one, other in zip(whole.zones, parts.zones, strict=True):
        assert other.area_m2 == pytest.approx(one.area_m2, rel=1e-9)
        assert other.footprint_m2 == pytest.approx(one.footprint_m2, rel=1e-10)
    assert parts.overlap_m2 == pytest.approx(whole.overlap_m2, rel=1e-9, abs=1e-3)


@pytest.mark.parametrize("fault", ["raises", "wrong"])
def test_exactextract_may_fail(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """It gives up on an outline, or its shares are not the polygon's: the figure is the same."""
    grid, zones = GRIDS["north"], make_zones(32633, [shapely.Point(400_300, 5_549_600).buffer(171.3)])
    labels = random_labels(grid)
    expected = measure(grid, zones, labels, block=40).zones[0].area_m2

    def fail(*_: object) -> list[dict[str, Any]]:
        if fault == "raises":
            raise RuntimeError("Never get here")
        return [{"properties": {"cell_id": np.array([0]), "coverage": np.array([0.5])}}]

    monkeypatch.setattr(coverage, "exact_extract", fail)
    assert measure(grid, zones, labels, block=40).zones[0].area_m2 == pytest.approx(expected, rel=1e-6)
