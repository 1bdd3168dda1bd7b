"""The share of a pixel inside an outline, on the outlines that are hardest: on pixel edges and through corners."""

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from geoseg.core.window import Window
from geoseg.vector.coverage import pixel_shares
from geoseg.vector.read import polygons_of

WINDOW = Window(row=64, col=128, height=9, width=11)


@settings(max_examples=60)
@given(
    points=st.lists(st.tuples(st.integers(-2, 24), st.integers(-2, 20)), min_size=3, max_size=9, unique=True),
    per_pixel=st.sampled_from([1, 2, 3]),
    hole=st.tuples(st.integers(0, 9), st.integers(0, 7)),
)
def test_shares_are_the_cut_pixels(points: list[tuple[int, int]], per_pixel: int, hole: tuple[int, int]) -> None:
    drawn = shapely.Polygon(np.array(points) / per_pixel + (WINDOW.col, WINDOW.row))
    pierced = shapely.make_valid(drawn, method="structure").difference(
        shapely.box(WINDOW.col + hole[0], WINDOW.row + hole[1], WINDOW.col + hole[0] + 1.5, WINDOW.row + hole[1] + 2)
    )
    frame = shapely.box(WINDOW.col, WINDOW.row, WINDOW.col_stop, WINDOW.row_stop)
    part = polygons_of(shapely.intersection(pierced, frame))
    assume(part is not None and part.area > 0)
    ((pixel, share),) = pixel_shares(np.array([part], object), WINDOW)
    found = np.zeros(WINDOW.shape)
    np.add.at(found.ravel(), pixel, share)
    for row, col in np.ndindex(WINDOW.shape):
        left, top = WINDOW.col + col, WINDOW.row + row
        cut = shapely.intersection(shapely.box(left, top, left + 1, top + 1), part).area
        assert found[row, col] == pytest.approx(cut, abs=1e-6)
