"""Which pixels of a grid are asked for: those with their centre in the area of interest. Its file is `workflows`'."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.features import rasterize

from geoseg.core.patch import NODATA, OUTSIDE_AOI, LabelRows
from geoseg.core.window import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaOfInterest:
    """An area on a grid; picklable."""

    name: str
    """Of its file."""
    sha256: str
    """Of what was read of the file: a part of the job."""
    shapes: tuple[tuple[tuple[float, float, float, float], Mapping[str, Any]], ...]
    """(left, top, right, bottom) and the GeoJSON geometry of each piece; x = column, y = row of the grid."""
    notes: tuple[str, ...] = ()
    """One line each, for the user and for run.json."""

    def inside(self, window: Window) -> npt.NDArray[np.bool_]:
        """(height, width) True where the centre of a pixel lies in the area; the window may reach beyond the grid."""
        shapes = [
            shape
            for (left, top, right, bottom), shape in self.shapes
            if left < window.col_stop and right > window.col and top < window.row_stop and bottom > window.row
        ]
        if not shapes:
            return np.zeros(window.shape, np.bool_)
        transform = Affine.translation(window.col, window.row)
        found = rasterize(shapes, out_shape=window.shape, transform=transform, dtype="uint8")
        return np.asarray(found != 0)

    def touches(self, window: Window) -> bool:
        """Whether a pixel of the window is asked for: a tile without one need not go through the network."""
        return bool(self.inside(window).any())

    def mark(self, rows: LabelRows) -> None:
        """Labels outside become OUTSIDE_AOI, whatever they were, and lose their confidence."""
        outside = ~self.inside(rows.window)
        rows.labels[outside] = OUTSIDE_AOI
        rows.confidence[outside] = NODATA
