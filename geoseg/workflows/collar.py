"""A warning where a scene without any nodata seems to have a collar: nodata must never become a class in silence."""

import numpy as np

from geoseg.core.window import Window
from geoseg.raster.scene import Scene, SceneReader
from geoseg.raster.validity import describe_validity

_CORNERS = 2
"""Corners of one and the same fill value that make a collar likely."""


def suspect_collar(scene: Scene) -> str | None:
    """What to tell the user when two corners hold a fill value in every band and nothing marks nodata.

    Raises:
        SceneError: a corner cannot be read.
    """
    if describe_validity(scene.bands, scene.files, scene.validity):
        return None
    height, width = (int(side) for side in scene.grid.shape)
    corners = {(row, col) for row in (0, height - 1) for col in (0, width - 1)}
    dtype = np.dtype(scene.dtype)
    fills = (0, np.iinfo(dtype).max) if dtype.kind in "ui" else (0,)
    with SceneReader(scene) as reader:
        patches = [reader.read(Window(row=row, col=col, height=1, width=1)) for row, col in sorted(corners)]
    for fill in fills:
        if sum(bool((patch.pixels == fill).all()) for patch in patches) >= _CORNERS:
            return (
                f"{scene.name} marks no nodata, and its corners hold {fill} in every band: if that is outside the "
                f"scene, run it again with --set scene.collar={fill}, or it is mapped as land"
            )
    return None
