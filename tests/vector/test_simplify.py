"""Simplified outlines: a valid coverage still, the same pixels and areas, and no sight of blocks or batches."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from scipy import ndimage

from geoseg.core import components as components_module
from geoseg.core.area import PixelArea
from geoseg.errors import SettingsError
from geoseg.vector import simplify as simplify_module
from geoseg.vector.trace import PolygonBatch, trace_polygons
from geoseg.vector.write import write_polygons
from tests.vector.maps import LEGEND, Labels, blocks_of, label_maps, utm_grid


def simplified(
    labels: Labels, metres: float, *, grid: GeoBox | None = None, heights: list[int] | None = None
) -> list[PolygonBatch]:
    def read() -> Iterator[tuple[int, Labels]]:
        return blocks_of(labels, heights or [])

    grid = grid or utm_grid(labels)
    return list(trace_polygons(read, grid=grid, legend=LEGEND, pixel_area=PixelArea(grid), simplify_m=metres))


def joined(batches: list[PolygonBatch], name: str) -> np.ndarray:
    return np.concatenate([np.zeros(0, object), *(getattr(batch, name) for batch in batches)])


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simplify_module, "TILE", 5)


def smooth_map(size: tuple[int, int], seed: int, *, sigma: float = 3.0) -> Labels:
    """Four classes and a nodata class with curved borders."""
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.standard_normal(size), sigma) for _ in range(5)]
    labels: Labels = np.array([0, 1, 3, 199, 255], np.uint8)[np.argmax(fields, axis=0)]
    return labels


def nothing_twice(geometries: np.ndarray) -> bool:
    area = shapely.area(geometries).sum()
    return bool(abs(shapely.union_all(geometries).area - area) < 1e-6 * area + 1e-6)


@pytest.mark.usefixtures("small_tiles")
@settings(max_examples=120)
@given(labels=label_maps, metres=st.sampled_from([5.0, 10.0, 20.0, 100.0]))
def test_any_map_stays_a_valid_coverage(labels: Labels, metres: float) -> None:
    batches = simplified(labels, metres)
    geometries = joined(batches, "geometries")
    assert shapely.is_valid(geometries).all()
    assert shapely.coverage_is_valid(geometries)
    assert all(one.geom_type == "Polygon" and one.area > 0 for one in geometries)
    assert nothing_twice(geometries)


@pytest.mark.usefixtures("small_tiles")
@settings(max_examples=60)
@given(labels=label_maps, heights=st.lists(st.integers(1, 4), max_size=12), band=st.sampled_from([1, 20, 1 << 19]))
def test_blocks_do_not_show(labels: Labels, heights: list[int], band: int) -> None:
    whole = simplified(labels, 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(components_module, "_BAND_PIXELS", band)
        cut = simplified(labels, 20, heights=heights)
    assert joined(whole, "component_id").tolist() == joined(cut, "component_id").tolist()
    assert shapely.to_wkb(joined(whole, "geometries")).tolist() == shapely.to_wkb(joined(cut, "geometries")).tolist()


@pytest.mark.usefixtures("small_tiles")
@settings(max_examples=60)
@given(labels=label_maps)
def test_only_outlines_change(labels: Labels) -> None:
    """Class, id, pixels, area and perimeter are those of the map; vertices are some of those there were."""
    exact, simple = simplified(labels, 0), simplified(labels, 20)
    for name in ("component_id", "class_id", "pixels", "area_units", "perimeter_m"):
        assert joined(exact, name).tolist() == joined(simple, name).tolist()
    assert (joined(exact, "outline_pixels") == joined(exact, "pixels")).all()
    corners = {tuple(place) for place in shapely.get_coordinates(joined(exact, "geometries")).tolist()}
    frame = {5e5 + 50 * k for k in range(4)} | {5e6 - 50 * k for k in range(4)}
    for x, y in shapely.get_coordinates(joined(simple, "geometries")).tolist():
        assert (x, y) in corners or x in frame or y in frame  # edges of tiles have vertices of their own
    for batch in simple:
        assert shapely.area(batch.geometries) == pytest.approx(batch.outline_pixels * 100)


@pytest.mark.usefixtures("small_tiles")
@settings(max_examples=60)
@given(labels=label_maps)
def test_rings_are_canonical(labels: Labels) -> None:
    for polygon in joined(simplified(labels, 20), "geometries"):
        assert polygon.exterior.is_ccw
        assert not any(hole.is_ccw for hole in polygon.interiors)
        for ring in (polygon.exterior, *polygon.interiors):
            x, y = np.array(ring.coords).T
            assert (-y[0], x[0]) == min(zip(-y, x, strict=True))


@pytest.mark.parametrize("tile", [16, 64, 512])
def test_a_smooth_map_has_fewer_vertices_and_nearly_its_areas(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simplify_module, "TILE", tile)
    labels = smooth_map((150, 170), 4)
    exact, simple = (joined(simplified(labels, metres), "geometries") for metres in (0, 20))
    assert shapely.coverage_is_valid(simple)
    assert shapely.get_num_coordinates(simple).sum() < 0.6 * shapely.get_num_coordinates(exact).sum()
    assert shapely.area(simple).sum() == pytest.approx(shapely.area(exact).sum(), rel=2e-3)


def test_outlines_against_nodata_are_simplified_too() -> None:
    """A disc of a class in nodata: a staircase all around."""
    row, col = np.indices((60, 60)) - 30
    labels = np.where(row**2 + col**2 < 25**2, 1, 255).astype(np.uint8)
    (exact,), (simple,) = simplified(labels, 0), simplified(labels, 20)
    assert shapely.get_num_coordinates(simple.geometries)[0] < 0.5 * shapely.get_num_coordinates(exact.geometries)[0]


def test_a_line_that_would_hit_a_vertex_is_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the lattice GEOS leaves such polygons: they are taken out, and the rest is simplified again."""
    taken: list[int] = []
    true = shapely.coverage_simplify

    def counted(polygons: np.ndarray, *args: float, **options: bool) -> np.ndarray:
        taken.append(len(polygons))
        simple: np.ndarray = true(polygons, *args, **options)
        return simple

    monkeypatch.setattr(shapely, "coverage_simplify", counted)
    for seed in (0, 10):
        taken.clear()
        geometries = joined(simplified(smooth_map((100, 100), seed, sigma=1.2), 20), "geometries")
        assert len(taken) > 1
        assert taken == sorted(taken, reverse=True)
        assert shapely.is_valid(geometries).all()
        assert shapely.coverage_is_valid(geometries)


@pytest.mark.parametrize("affine", [Affine(10, 0, 5e5, 0, 10, 5e6), Affine(8, 3, 5e5, 2, -9, 5e6)])
def test_other_grids(affine: Affine) -> None:
    labels = smooth_map((90, 70), 5)
    geometries = joined(simplified(labels, 15, grid=GeoBox(labels.shape, affine, "EPSG:32632")), "geometries")
    assert shapely.is_valid(geometries).all()
    assert shapely.coverage_is_valid(geometries)
    assert all(polygon.exterior.is_ccw for polygon in geometries)


def test_metres_are_metres_on_the_ground() -> None:
    """At 60 degrees north a degree of longitude is half one of latitude: outlines there match those of a UTM map."""
    labels = smooth_map((120, 120), 6)
    degrees = GeoBox(labels.shape, Affine(2e-4, 0, 10, 0, -1e-4, 60.006), "EPSG:4326")  # 11.1 m, nearly square
    here, there = simplified(labels, 20, grid=degrees), simplified(labels, 18)
    vertices = [shapely.get_num_coordinates(joined(one, "geometries")).sum() for one in (here, there)]
    assert vertices[0] == pytest.approx(vertices[1], rel=0.03)


def test_the_drift_is_told_by_class(tmp_path: Path) -> None:
    labels = smooth_map((150, 170), 4)
    batches = simplified(labels, 30)
    summary = write_polygons(tmp_path / "p.fgb", batches, crs="EPSG:32632", legend=LEGEND)
    table = shapely.area(joined(batches, "geometries")) / 100
    for one in LEGEND:
        of_class = joined(batches, "class_id") == one.id
        expected = table[of_class].sum() / joined(batches, "pixels")[of_class].sum() - 1
        assert summary.drift[one.name] == pytest.approx(float(expected), abs=1e-12)
    assert any(summary.drift.values())
    exact = write_polygons(tmp_path / "q.fgb", simplified(labels, 0), crs="EPSG:32632", legend=LEGEND)
    assert set(exact.drift.values()) == {0.0}


@pytest.mark.parametrize("metres", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_is_a_length(metres: float) -> None:
    with pytest.raises(SettingsError, match="metres"):
        simplified(np.ones((2, 2), np.uint8), metres)
