"""Outlines as WKB: byte for byte what shapely writes."""

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geoseg.vector.outlines import Outlines


def outlines_of(polygons: list[shapely.Polygon]) -> Outlines:
    _, coordinates, (rings, starts) = shapely.to_ragged_array(polygons)
    return Outlines(coordinates=coordinates, ring_start=rings, polygon_start=starts)


@given(st.lists(st.tuples(st.integers(3, 9), st.integers(0, 3)), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_wkb_is_shapelys(shapes: list[tuple[int, int]], seed: int) -> None:
    """Shells of any number of vertices with any number of holes."""
    rng = np.random.default_rng(seed)

    def ring(count: int) -> np.ndarray:
        return rng.normal(size=(count, 2)) * 1e6

    polygons = [shapely.Polygon(ring(count), [ring(3 + k) for k in range(holes)]) for count, holes in shapes]
    outlines = outlines_of(polygons)
    assert outlines.to_wkb().to_pylist() == [one.wkb for one in polygons]
    assert shapely.equals_exact(outlines.to_shapely(), polygons).all()
    x, y = outlines.coordinates.T
    assert outlines.bounds() == (min(x), min(y), max(x), max(y))


def test_no_polygons_have_no_bytes() -> None:
    none = Outlines(coordinates=np.zeros((0, 2)), ring_start=np.zeros(1, np.int64), polygon_start=np.zeros(1, np.int64))
    assert none.to_wkb().to_pylist() == []
    assert len(none) == 0
