"""Label maps and tracing them, for the tests of this room."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from affine import Affine
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from odc.geo.geobox import GeoBox

from geoseg.core.area import PixelArea
from geoseg.core.legend import LandClass, Legend
from geoseg.vector.trace import PolygonBatch, trace_polygons

Labels = npt.NDArray[np.uint8]

LEGEND = Legend(
    classes=tuple(
        LandClass(id=number, name=name, color=color)
        for number, name, color in [
            (0, "other", "#cccccc"),
            (1, "forest", "#006400"),
            (3, 'water & "ice" <open>', "#0000ff"),
            (199, "town", "#ff0000"),
        ]
    )
)

label_maps = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.sampled_from([0, 1, 1, 3, 199, 255, 252]),
)
"""Small maps full of holes, pinches and nodata."""


def utm_grid(labels: Labels, *, south_up: bool = False) -> GeoBox:
    return GeoBox(labels.shape, Affine(10, 0, 5e5, 0, 10 if south_up else -10, 5e6), "EPSG:32632")


def blocks_of(labels: Labels, heights: list[int]) -> Iterator[tuple[int, Labels]]:
    """Row blocks of the given heights; the last takes what is left."""
    row = 0
    for height in [*heights, len(labels)]:
        if row < len(labels):
            yield row, labels[row : row + height]
            row += height


def trace(labels: Labels, *, grid: GeoBox | None = None, heights: list[int] | None = None) -> list[PolygonBatch]:
    grid = grid or utm_grid(labels)
    return list(
        trace_polygons(lambda: blocks_of(labels, heights or []), grid=grid, legend=LEGEND, pixel_area=PixelArea(grid))
    )
