"""Vertices where edges cross the lines of a lattice: how a straight edge is made ready to be bent. No CRS is here.

Edges are not cut into equal pieces: two that lie on one line are cut in the same places, however long each is, so
that neighbours whose corners do not meet still share their border after it is bent.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

Geometries = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


def add_vertices(geometries: Geometries, spacing: float) -> Geometries:
    """Polygons as MultiPolygons with a vertex wherever an edge crosses a line of the lattice.

    The lines are x = k · spacing, for edges that are rather upright y = k · spacing.
    """
    parts, of_part = shapely.get_parts(geometries, return_index=True)
    rings, of_ring = shapely.get_rings(parts, return_index=True)
    points, of_point = shapely.get_coordinates(rings, return_index=True)
    points, counts = _laced(points, np.diff(of_point, append=-1) == 0, spacing)
    rings = shapely.linearrings(points, indices=np.repeat(of_point, 1 + counts))
    return np.asarray(shapely.multipolygons(shapely.polygons(rings, indices=of_ring), indices=of_part))


def edges(geometries: Geometries) -> tuple[Floats, Floats, Indices]:
    """Starts and ends of all edges, both (n, 2), and the index of the geometry of each."""
    parts, of_part = shapely.get_parts(geometries, return_index=True)
    rings, of_ring = shapely.get_rings(parts, return_index=True)
    points, of_point = shapely.get_coordinates(rings, return_index=True)
    first = np.flatnonzero(of_point[1:] == of_point[:-1])
    return points[first], points[first + 1], of_part[of_ring[of_point[first]]]


def _laced(points: Floats, has_next: npt.NDArray[np.bool_], spacing: float) -> tuple[Floats, Indices]:
    """The points with those on the lattice between them, and how many follow each.

    Args:
        points: (n, 2), ring after ring.
        has_next: False for the last point of a ring.
        spacing: of the lattice.
    """
    step = np.diff(points, axis=0, append=points[-1:]) * has_next[:, None]
    axis = (np.abs(step[:, 1]) > np.abs(step[:, 0])).astype(np.intp)
    every = np.arange(len(points))
    start, length = points[every, axis], step[every, axis]
    first = np.floor(np.minimum(start, start + length) / spacing) + 1
    last = np.ceil(np.maximum(start, start + length) / spacing) - 1
    counts = np.maximum(last - first + 1, 0).astype(np.intp) * has_next
    edge = np.repeat(every, counts)
    number = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    line = np.where(length[edge] > 0, first[edge] + number, last[edge] - number) * spacing
    added = points[edge] + ((line - start[edge]) / length[edge])[:, None] * step[edge]
    added[np.arange(len(edge)), axis[edge]] = line
    laced = np.empty((len(points) + len(edge), 2))
    place = every + np.cumsum(counts) - counts
    laced[place] = points
    laced[place[edge] + 1 + number] = added
    return laced, counts
