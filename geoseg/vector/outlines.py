"""Polygons as flat arrays of coordinates, and as the WKB that files are written from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

Int64s = npt.NDArray[np.int64]

_POLYGON = 3
_LITTLE_ENDIAN = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlines:
    """Polygons of closed rings."""

    coordinates: npt.NDArray[np.float64]
    """(vertices, 2) x, y; the last vertex of a ring is its first."""
    ring_start: Int64s
    """(rings + 1,) where each ring starts in `coordinates`."""
    polygon_start: Int64s
    """(polygons + 1,) where each polygon starts in `ring_start`: its shell, then its holes."""

    def __len__(self) -> int:
        return len(self.polygon_start) - 1

    def to_shapely(self) -> npt.NDArray[Any]:
        """(polygons,) shapely Polygons."""
        parts = (self.ring_start, self.polygon_start)
        polygons: npt.NDArray[Any] = shapely.from_ragged_array(shapely.GeometryType.POLYGON, self.coordinates, parts)
        return polygons

    def to_wkb(self) -> pa.BinaryArray:
        """(polygons,) well-known binary (OGC 06-103r4, 8.2), without a detour over an object for each polygon.

        All but the byte order are words of four bytes: type, number of rings, and of each ring its number of
        vertices and their coordinates. Words are placed together, then the bytes before each polygon.
        """
        vertices = np.diff(self.ring_start)
        rings = np.diff(self.polygon_start)
        # Words before the coordinates of each ring: its count, and two more where a polygon begins.
        heads = np.ones(len(vertices), np.int64)
        heads[self.polygon_start[:-1]] += 2
        ring_end = np.cumsum(heads + 4 * vertices)
        count_at = ring_end - 4 * vertices - 1
        words = np.empty(int(ring_end[-1]) if len(vertices) else 0, np.dtype("<u4"))
        is_coordinate = np.ones(len(words), np.bool_)
        type_at = count_at[self.polygon_start[:-1]] - 2
        for place, value in ((count_at, vertices), (type_at, _POLYGON), (type_at + 1, rings)):
            words[place] = value
            is_coordinate[place] = False
        words[is_coordinate] = np.ascontiguousarray(self.coordinates, "<f8").view("<u4").ravel()
        starts = 4 * type_at
        data = np.insert(words.view(np.uint8), starts, _LITTLE_ENDIAN)
        offsets = np.append(starts, 4 * len(words)) + np.arange(len(self) + 1)
        return pa.BinaryArray.from_buffers(
            pa.binary(), len(self), [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
        )

    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of all of them; there is at least one."""
        x, y = self.coordinates.T  # numpy is many times slower along the long axis of both at once
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())
