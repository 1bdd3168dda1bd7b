"""The share of every pixel of a window that lies inside a polygon. What is made of the shares is `zones`' matter."""

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely
from exactextract import exact_extract
from exactextract.feature import Feature, FeatureSource
from exactextract.raster import NumPyRasterSource

from geoseg.core.window import Window
from geoseg.errors import InputError

Geometries = npt.NDArray[Any]
Shares = tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]
"""Flat indices of pixels of a window, and the share of each that is inside, > 0 … 1."""

_DOUBT: Final = 1e-6
"""Pixels, for each pixel of an outline, that shares may differ from the polygon's own area; they come as float32."""


def pixel_shares(parts: Geometries, window: Window) -> list[Shares]:
    """The shares of each of some valid polygons that lie within `window`, in pixel coordinates (x = col, y = row).

    By exactextract; where it gives up, or its shares do not add up to the polygon, pixel by pixel.

    Raises:
        InputError: a polygon that neither can measure.
    """
    found: list[Shares | None]
    try:
        found = list(_extract(parts, window))
    except RuntimeError:  # "Never get here"
        found = [None] * len(parts)
    return [
        one if one is not None and abs(one[1].sum() - part.area) <= _DOUBT * (1 + part.length) else _cut(part, window)
        for part, one in zip(parts, found, strict=True)
    ]


class _Outline(Feature):  # type: ignore[misc]  # untyped
    """A polygon as exactextract takes it."""

    def __init__(self, wkb: bytes) -> None:
        super().__init__()
        self._wkb = wkb

    def geometry(self) -> bytes:
        return self._wkb

    def set(self, name: str, value: object) -> None:
        """Results come from the writer."""

    def get(self, name: str) -> None:
        """There are no columns."""

    def fields(self) -> list[str]:
        return []


class _Outlines(FeatureSource):  # type: ignore[misc]
    """Polygons, in the order they are given."""

    def __init__(self, polygons: Geometries) -> None:
        super().__init__()
        self._wkb = shapely.to_wkb(polygons)

    def __iter__(self) -> Iterator[_Outline]:
        return iter([_Outline(one) for one in self._wkb])

    def count(self) -> int:
        return len(self._wkb)

    def srs_wkt(self) -> None:
        """Pixel coordinates have none."""


def _extract(parts: Geometries, window: Window) -> Iterator[Shares]:
    """By exactextract, whose first row is the one with the largest y; ours has the least."""
    values = np.zeros(window.shape, np.uint8)
    raster = NumPyRasterSource(values, window.col, window.row, window.col_stop, window.row_stop)
    for feature in exact_extract(raster, _Outlines(parts), ["cell_id", "coverage"]):
        cell, share = (np.asarray(feature["properties"][name]) for name in ("cell_id", "coverage"))
        row, col = np.divmod(cell.astype(np.intp), window.width)
        yield (window.height - 1 - row) * window.width + col, share.astype(np.float64)


def _cut(part: Any, window: Window) -> Shares:
    """By cutting out every pixel: slow, and hardly ever at a loss."""
    left, top, right, bottom = shapely.bounds(part)
    rows = np.arange(max(math.floor(top), window.row), min(math.ceil(bottom), window.row_stop))
    cols = np.arange(max(math.floor(left), window.col), min(math.ceil(right), window.col_stop))
    row, col = (one.ravel() for one in np.meshgrid(rows, cols, indexing="ij"))
    try:
        share = shapely.area(shapely.intersection(shapely.box(col, row, col + 1, row + 1), part))
    except shapely.errors.GEOSException as error:
        raise InputError(
            f"a zone's outline around row {top:.0f}, column {left:.0f} of the map cannot be measured: "
            "repair it in a GIS, or leave it out"
        ) from error
    return (row - window.row) * window.width + col - window.col, share
