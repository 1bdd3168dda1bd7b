"""Random label maps on several grids, with what their pixels are on the ground."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.core.area import PixelArea
from geoseg.core.pixel_sides import PixelSides
from geoseg.core.window import Window
from tests.core.brute_force import Ground

Labels = npt.NDArray[np.uint8]
GRIDS = {
    "utm": (Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32632"),
    "degrees": (Affine(2e-4, 0, 14, 0, -1e-4, 60.5), "EPSG:4326"),
    "rotated": (Affine.translation(5e5, 5e6) * Affine.rotation(25) * Affine.scale(10, -7), "EPSG:32632"),
    "mercator": (Affine(40, 0, 1e6, 0, -40, 8.4e6), "EPSG:3857"),
}


def random_map(seed: int, *, classes: Sequence[int] = (0, 1, 1, 4, 7, 199)) -> tuple[Labels, GeoBox]:
    """A map of patches of all sizes, of some classes (often named ones are frequent) and none.

    Every tenth is thin, half have a frame.
    """
    random = np.random.default_rng(seed)
    height, width = (int(one) for one in random.integers(6, 16, 2))
    if seed % 10 == 0:
        height, width = (int(one) for one in random.integers(1, 4, 2))
    grain = int(random.choice([1, 1, 2, 3]))
    values = random.choice(classes, (-(-height // grain), -(-width // grain)))
    labels = np.kron(values, np.ones((grain, grain))).astype(np.uint8)[:height, :width]
    speckle = random.random(labels.shape)
    labels[speckle < random.choice([0, 0.2])] = random.choice([0, 1, 7])
    labels[speckle > random.choice([0.97, 1.0, 1.0])] = random.choice([255, 253])
    if seed // 2 % 2:  # a frame: nothing but it is at the edge
        labels[[0, -1]] = labels[:, [0, -1]] = classes[0]
    transform, crs = GRIDS[list(GRIDS)[seed % len(GRIDS)]]
    return labels, GeoBox(labels.shape, transform, crs)


def ground_of(grid: GeoBox) -> Ground:
    height, width = grid.shape
    window = Window(row=0, col=0, height=height, width=width)
    upper, left = PixelSides(grid).millimetres(window)
    return Ground(
        units=np.broadcast_to(PixelArea(grid).units_of(window), grid.shape),
        upper_mm=np.broadcast_to(upper, grid.shape),
        left_mm=np.broadcast_to(left, grid.shape),
    )


def in_blocks(labels: Labels, height: int) -> Iterator[tuple[int, Labels]]:
    """(first row, rows) of that many rows each."""
    for row in range(0, len(labels), height):
        yield row, labels[row : row + height]
