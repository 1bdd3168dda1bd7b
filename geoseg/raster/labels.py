"""Where the classes of training pixels come from: a raster on any grid, or polygons burnt into the scene's."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize

from geoseg.core.grid import same_grid
from geoseg.core.patch_source import IGNORE
from geoseg.core.window import Window
from geoseg.errors import InputError
from geoseg.raster.openfile import OpenFile
from geoseg.raster.resample import Resampled
from geoseg.raster.safety import find_local_file
from geoseg.raster.source import BandSource, SourceFile, inspect_file

Labels = npt.NDArray[np.uint8]
Shape = tuple[tuple[float, float, float, float], Mapping[str, Any]]
"""(left, top, right, bottom) and a GeoJSON geometry; x = column, y = row of the scene's grid."""
_MANY: Final = 1000


class LabelSource(Protocol):
    """Class ids on a scene's grid. Picklable, with nothing open in it."""

    def read(self, window: Window, stack: ExitStack) -> Labels:
        """(height, width) class ids or 255 under a window of whole blocks inside the scene; files go on the stack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterLabels:
    """A band of class values on a grid of its own; a pixel gets the value its centre lies in."""

    file: SourceFile
    band: BandSource
    grid: GeoBox
    """Of the scene."""
    ids: Mapping[int, int]
    """Stored value -> class id; what is not in it is ignored."""
    refuse_others: bool = False
    """True: a value that is in neither `ids` nor `ignored` is an error."""
    ignored: frozenset[int] = frozenset()

    def read(self, window: Window, stack: ExitStack) -> Labels:
        """See `LabelSource`.

        Raises:
            InputError: a value that nobody gave a class.
        """
        opened = stack.enter_context(OpenFile(self.file, [self.band]))
        source = opened if self.band.on_grid else Resampled(opened, self.grid)
        (values,), seen = source.read(window)
        labels = np.full(window.shape, IGNORE, np.uint8)
        for value in np.unique(values[seen]):
            known = self.ids.get(int(value))
            if known is not None and value == int(value):
                labels[seen & (values == value)] = known
            elif self.refuse_others and value not in self.ignored:
                raise InputError(
                    f"{self.file.name} holds the value {value:g}, which is no class: give it one (remap), or ignore it"
                )
        return labels


@dataclass(frozen=True, slots=True, kw_only=True)
class PolygonLabels:
    """Polygons by class; a pixel belongs to the polygon its centre lies in, to none where two classes claim it."""

    shapes: Mapping[int, tuple[Shape, ...]]
    """Class id -> its polygons in pixel coordinates, cut into pieces that are quickly burnt."""

    def read(self, window: Window, stack: ExitStack) -> Labels:
        """See `LabelSource`."""
        return self.burn(window)[0]

    def burn(self, window: Window) -> tuple[Labels, npt.NDArray[np.bool_]]:
        """Class ids or 255 under a window, and True where several classes claim a pixel."""
        labels = np.full(window.shape, IGNORE, np.uint8)
        claimed, twice = np.zeros(window.shape, bool), np.zeros(window.shape, bool)
        transform = Affine.translation(window.col, window.row)
        for class_id, shapes in self.shapes.items():
            near = [
                shape
                for (left, top, right, bottom), shape in shapes
                if left < window.col_stop and right > window.col and top < window.row_stop and bottom > window.row
            ]
            if not near:
                continue
            inside = rasterize(near, out_shape=window.shape, transform=transform, dtype="uint8") != 0
            twice |= claimed & inside
            claimed |= inside
            labels[inside] = class_id
        labels[twice] = IGNORE
        return labels, twice


def open_label_raster(
    path: Path, grid: GeoBox, *, remap: Mapping[int, int], ignore: frozenset[int] = frozenset(), classes: int = IGNORE
) -> RasterLabels:
    """Labels in a raster with one band of whole numbers; its nodata and the ignored values have no class.

    Args:
        path: a local GeoTIFF or JPEG 2000 in any CRS.
        grid: of the scene.
        remap: stored value -> class id, others are ignored; empty: values are class ids, others are refused.
        ignore: stored values without a class.
        classes: number of class ids, for an empty `remap`.

    Raises:
        InputError: it has several bands, or fractions.
        SceneError: it cannot be opened.
    """
    file, bands, _ = inspect_file(find_local_file(str(path)), allow_large=False)
    if len(bands) != 1 or np.dtype(bands[0].dtype).kind not in "iu":
        kinds = ", ".join(sorted({band.dtype for band in bands}))
        raise InputError(f"{file.name} has {len(bands)} bands of {kinds}: labels are one band of whole numbers")
    band = replace(bands[0], resampling="nearest", on_grid=same_grid(file.grid, grid))
    ids = dict(remap) or {value: value for value in range(classes)}
    for value in ignore:
        ids.pop(value, None)
    return RasterLabels(file=file, band=band, grid=grid, ids=ids, refuse_others=not remap, ignored=ignore)


def values_in(labels: RasterLabels) -> tuple[int, ...]:
    """Every value that a label raster holds where it is observed, ascending; the whole file is read once.

    Raises:
        InputError: too many to be classes.
    """
    height, width = labels.file.grid.shape
    rows = max(labels.file.block[0], 256)
    found: set[int] = set()
    with OpenFile(labels.file, [labels.band]) as opened:
        for row in range(0, height, rows):
            values, seen = opened.read(Window(row=row, col=0, height=min(rows, height - row), width=int(width)))
            found |= {int(one) for one in np.unique(values[0][seen])}
            if len(found) > _MANY:
                raise InputError(f"{labels.file.name} holds over {_MANY} values: that is no raster of classes")
    return tuple(sorted(found))
