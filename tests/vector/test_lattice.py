"""Vertices on a lattice: the same shape, no long edge, the same cuts for edges on one line."""

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geoseg.vector.lattice import add_vertices, edges


def one(geometry: shapely.Geometry, spacing: float) -> shapely.Geometry:
    (found,) = add_vertices(np.array([geometry], object), spacing)
    return found


@given(seed=st.integers(0, 999), spacing=st.sampled_from([0.37, 1.0, 4.0, 1000.0]))
def test_the_shape_stays(seed: int, spacing: float) -> None:
    rng = np.random.default_rng(seed)
    hull = shapely.convex_hull(shapely.multipoints(rng.uniform(-20, 20, (12, 2))))
    hole = hull.centroid.buffer(0.3 * hull.boundary.distance(hull.centroid), quad_segs=2)
    given_shape = shapely.MultiPolygon([hull.difference(hole), shapely.box(30, 30, 33, 31)])
    found = one(given_shape, spacing)
    assert found.is_valid
    assert shapely.get_num_interior_rings(shapely.get_geometry(found, 0)) == 1
    assert found.symmetric_difference(given_shape).area < 1e-9
    assert set(map(tuple, shapely.get_coordinates(given_shape))) <= set(map(tuple, shapely.get_coordinates(found)))
    start, end, _ = edges(np.array([found], object))
    assert np.abs(end - start).max() <= spacing * (1 + 1e-9)


def test_edges_on_one_line_are_cut_in_the_same_places() -> None:
    """A long edge, and two that meet on it, drawn the other way round."""
    whole = one(shapely.Polygon([(0, 0.1), (10, 3.1), (10, 9), (0, 9)]), 1.0)
    first = one(shapely.Polygon([(4.25, 1.375), (0, 0.1), (0, -5)]), 1.0)
    second = one(shapely.Polygon([(10, 3.1), (4.25, 1.375), (10, -5)]), 1.0)

    def on_line(geometry: shapely.Geometry) -> list[tuple[float, float]]:
        x, y = shapely.get_coordinates(geometry).T
        near = np.abs(y - 0.1 - 0.3 * x) < 1e-9
        return sorted({(round(a, 9), round(b, 9)) for a, b in zip(x[near], y[near], strict=True)})

    assert on_line(whole) == [(float(k), round(0.1 + 0.3 * k, 9)) for k in range(11)]
    assert sorted({*on_line(first), *on_line(second)}) == sorted({*on_line(whole), (4.25, 1.375)})
