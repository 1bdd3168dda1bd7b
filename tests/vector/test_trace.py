"""Law 3: raster = vector. The oracle is rasterio.features.shapes, another tracer in another language."""

import math
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer
from rasterio.features import shapes
from scipy import ndimage
from shapely.geometry import shape

from geoseg.core import components as components_module
from geoseg.core.area import PixelArea
from geoseg.core.components import ComponentIndex
from geoseg.core.tally import AreaTally, tally_labels
from geoseg.core.window import Window
from geoseg.errors import GeosegError, ProductError
from geoseg.vector import trace as trace_module
from geoseg.vector.trace import PolygonBatch, trace_polygons
from tests.vector.maps import LEGEND, Labels, label_maps, trace, utm_grid


def joined(batches: list[PolygonBatch], name: str) -> np.ndarray:
    return np.concatenate([np.zeros(0, object), *(getattr(batch, name) for batch in batches)])


def bare(geometries: np.ndarray) -> list[str]:
    """Normalised shapes without the vertices that lie on straight pieces, as sorted text."""
    return sorted(shapely.to_wkb(shapely.normalize(shapely.simplify(geometries, 0)), hex=True).tolist())


def oracle(labels: Labels, grid: GeoBox) -> dict[int, list[str]]:
    found: dict[int, list[shapely.Geometry]] = {}
    for geometry, value in shapes(labels, mask=labels < 200, connectivity=4, transform=grid.affine):
        found.setdefault(int(value), []).append(shape(geometry))
    return {value: bare(np.array(polygons, object)) for value, polygons in found.items()}


@settings(max_examples=400)
@given(labels=label_maps)
def test_polygons_are_those_of_rasterio(labels: Labels) -> None:
    batches = trace(labels)
    geometries, classes = joined(batches, "geometries"), joined(batches, "class_id")
    assert shapely.is_valid(geometries).all()
    assert {int(k): bare(geometries[classes == k]) for k in set(classes)} == oracle(labels, utm_grid(labels))


@settings(max_examples=200)
@given(labels=label_maps)
def test_pixels_and_area_are_those_of_the_map(labels: Labels) -> None:
    grid = utm_grid(labels)
    total = sum((batch.tally() for batch in trace(labels)), AreaTally.zero())
    window = Window(row=0, col=0, height=labels.shape[0], width=labels.shape[1])
    whole = tally_labels(labels, window, PixelArea(grid))
    assert total.pixels == {k: n for k, n in whole.pixels.items() if k < 200}
    assert total.units == {k: n for k, n in whole.units.items() if k < 200}
    for batch in trace(labels):
        assert shapely.area(batch.geometries) == pytest.approx(batch.pixels * 100.0)


@settings(max_examples=200)
@given(labels=label_maps, heights=st.lists(st.integers(1, 4), max_size=12))
def test_no_polygon_knows_the_row_blocks(labels: Labels, heights: list[int]) -> None:
    whole, cut = trace(labels), trace(labels, heights=heights)
    for name in ("class_id", "component_id", "pixels", "area_units", "perimeter_m"):
        assert joined(whole, name).tolist() == joined(cut, name).tolist()
    assert shapely.to_wkb(joined(whole, "geometries")).tolist() == shapely.to_wkb(joined(cut, "geometries")).tolist()


@settings(max_examples=200)
@given(labels=label_maps)
def test_order_and_starts_are_canonical(labels: Labels) -> None:
    """By last row, then by component; components numbered by first pixel; rings start at their top-left vertex."""
    grid = utm_grid(labels)
    batches = trace(labels)
    geometries, ids = joined(batches, "geometries"), joined(batches, "component_id")
    assert sorted(ids.tolist()) == list(range(1, len(ids) + 1))
    last_rows = [round((grid.affine.f - polygon.bounds[1]) / 10) for polygon in geometries]
    assert list(zip(last_rows, ids, strict=True)) == sorted(zip(last_rows, ids, strict=True))
    firsts = []
    for polygon in geometries[np.argsort(ids)]:
        for ring in (polygon.exterior, *polygon.interiors):
            x, y = np.array(ring.coords).T
            assert (-y[0], x[0]) == min(zip(-y, x, strict=True))
        holes = [(-hole.coords[0][1], hole.coords[0][0]) for hole in polygon.interiors]
        assert holes == sorted(holes)
        assert polygon.exterior.is_ccw
        assert not any(hole.is_ccw for hole in polygon.interiors)
        firsts.append((-polygon.exterior.coords[0][1], polygon.exterior.coords[0][0]))
    assert firsts == sorted(firsts)


@settings(max_examples=100)
@given(labels=label_maps)
def test_neighbours_share_every_vertex(labels: Labels) -> None:
    """An edge-matched coverage: what later simplification and reprojection need to leave no slivers."""
    geometries = joined(trace(labels), "geometries")
    assert shapely.coverage_is_valid(geometries)


def test_a_checkerboard_is_all_single_pixels() -> None:
    board = (np.indices((7, 8)).sum(axis=0) % 2).astype(np.uint8)
    (batch,) = trace(board)
    assert batch.pixels.tolist() == [1] * 56
    assert shapely.is_valid(batch.geometries).all()


def test_nested_holes() -> None:
    labels = np.zeros((9, 9), np.uint8)
    for inset, label in ((1, 1), (2, 0), (3, 1), (4, 255)):
        labels[inset : 9 - inset, inset : 9 - inset] = label
    (batch,) = trace(labels)
    assert shapely.get_num_interior_rings(batch.geometries).tolist() == [1, 1, 1, 1]
    assert batch.pixels.tolist() == [8, 16, 24, 32]  # by last row
    assert batch.component_id.tolist() == [4, 3, 2, 1]


def test_a_component_that_touches_itself_at_a_corner_is_valid() -> None:
    """The hole meets the shell in one point: two rings, not one that crosses itself."""
    labels = np.array([[1, 1, 1], [1, 255, 1], [1, 1, 255]], np.uint8)
    (batch,) = trace(labels)
    assert batch.pixels.tolist() == [7]
    assert shapely.get_num_interior_rings(batch.geometries).tolist() == [1]
    assert shapely.is_valid(batch.geometries).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_slender_maps(shape: tuple[int, int]) -> None:
    (batch,) = trace(np.ones(shape, np.uint8))
    assert batch.pixels.tolist() == [shape[0] * shape[1]]
    assert shapely.get_num_coordinates(batch.geometries).tolist() == [5]


def test_a_map_of_nodata_has_no_polygons() -> None:
    assert trace(np.full((5, 6), 255, np.uint8)) == []
    assert trace(np.array([[252, 253], [254, 255]], np.uint8)) == []


@pytest.mark.parametrize(
    "affine",
    [
        Affine(10, 0, 5e5, 0, 10, 5e6),
        Affine(8, 3, 5e5, 2, -9, 5e6),
        Affine(-10, 0, 5e5, 0, -10, 5e6),
    ],
)
def test_odd_grids_have_the_same_polygons_elsewhere(affine: Affine) -> None:
    labels = np.random.default_rng(3).choice(np.array([0, 1, 255], np.uint8), (40, 50))
    grid = GeoBox(labels.shape, affine, "EPSG:32632")
    (batch,) = trace(labels, grid=grid)
    assert shapely.is_valid(batch.geometries).all()
    assert all(polygon.exterior.is_ccw for polygon in batch.geometries)
    assert shapely.area(batch.geometries) == pytest.approx(batch.pixels * abs(affine.determinant))
    assert {int(k): bare(batch.geometries[batch.class_id == k]) for k in (0, 1)} == oracle(labels, grid)


def test_areas_of_a_geographic_map_are_exact() -> None:
    random = np.random.default_rng(5)
    labels = ndimage.median_filter(random.choice(np.array([0, 1, 3], np.uint8), (300, 200)), 5)
    grid = GeoBox(labels.shape, Affine(0.3, 0, -30, 0, -0.5, 80), "EPSG:4326")
    area = PixelArea(grid)
    total = sum((batch.tally() for batch in trace(labels, grid=grid, heights=[7] * 20)), AreaTally.zero())
    assert total == tally_labels(labels, Window(row=0, col=0, height=300, width=200), area)


@pytest.mark.parametrize(
    ("crs", "pixel"), [("EPSG:32632", 5e3), ("EPSG:3857", 5e3), ("EPSG:4326", 0.05), ("EPSG:4326", 0.01)]
)
def test_perimeter_is_geodesic(crs: str, pixel: float) -> None:
    """Against Karney over edges cut into pixels, holes included."""
    labels = np.ones((30, 40), np.uint8)
    labels[5:20, 7:30] = 255
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(10, 60)
    grid = GeoBox(labels.shape, Affine(pixel, 0, x, 0, -pixel, y), crs)
    (batch,) = trace(labels, grid=grid)
    polygon = shapely.segmentize(batch.geometries[0], pixel * 0.25)
    to_degrees = Transformer.from_crs(crs, 4326, always_xy=True)
    expected = math.fsum(
        Geod(ellps="WGS84").line_length(*to_degrees.transform(*np.array(ring.coords).T))
        for ring in (polygon.exterior, *polygon.interiors)
    )
    assert batch.perimeter_m[0] == pytest.approx(expected, rel=2e-7)


def test_many_batches_are_one_result(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(1).choice(np.array([0, 1, 3, 255], np.uint8), (60, 70))
    (whole,) = trace(labels)
    monkeypatch.setattr(trace_module, "_BATCH_VERTICES", 50)
    batches = trace(labels)
    assert len(batches) > 20
    assert shapely.equals_exact(joined(batches, "geometries"), whole.geometries).all()
    assert joined(batches, "perimeter_m").tolist() == whole.perimeter_m.tolist()


@pytest.mark.parametrize("pixels", [1, 200, 1000])
def test_bands_do_not_show(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(2).choice(np.array([0, 1, 255], np.uint8), (60, 70))
    (whole,) = trace(labels)
    monkeypatch.setattr(components_module, "_BAND_PIXELS", pixels)
    (again,) = trace(labels, heights=[23, 1, 30])
    assert again.component_id.tolist() == whole.component_id.tolist()
    assert again.area_units == whole.area_units
    assert shapely.to_wkb(again.geometries).tolist() == shapely.to_wkb(whole.geometries).tolist()


def test_a_label_outside_the_legend_is_refused() -> None:
    with pytest.raises(ProductError, match=r"labels \[9\].*legend"):
        trace(np.full((2, 2), 9, np.uint8))


@pytest.mark.parametrize("starts", [[1], [0, 3], [0]])
def test_rows_must_be_the_whole_map(starts: list[int]) -> None:
    labels = np.ones((6, 4), np.uint8)
    grid = utm_grid(labels)
    rows = [(start, labels[:2]) for start in starts]
    with pytest.raises(ProductError, match="row"):
        list(trace_polygons(lambda: rows, grid=grid, legend=LEGEND, pixel_area=PixelArea(grid)))


def test_a_polygon_that_lost_a_pixel_is_an_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of law 3 inside the tracer is awake."""
    true = components_module.ComponentIndex

    def lossy(**fields: Any) -> ComponentIndex:
        fields["pixels"][1] += 1
        return true(**fields)

    monkeypatch.setattr(components_module, "ComponentIndex", lossy)
    with pytest.raises(GeosegError, match=r"internal error.*component 1"):
        trace(np.ones((3, 3), np.uint8))
