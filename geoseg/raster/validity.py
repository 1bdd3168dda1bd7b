"""Which pixels were observed: nodata values, alpha, masks, NaN, collar. How they are read is `reader`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geoseg.raster.source import BandSource, SourceFile

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """What is declared from outside the files about pixels that were not observed.

    A pixel is observed if it is so in every selected band: no band at its nodata value, NaN or infinite, none
    masked by alpha, an internal mask, a .msk sidecar or a block missing from a sparse file, and it is neither
    collar nor excluded by the external mask.
    """

    collar: float | None = None
    """Not observed where ALL selected bands have this value (one band may have it by chance)."""
    mask: SourceFile | None = None
    """External mask, brought to the scene's grid by nearest neighbour; 0, nodata and beyond its edge = excluded."""
    mask_band: BandSource | None = None


def describe_validity(bands: Sequence[BandSource], files: Sequence[SourceFile], validity: Validity) -> list[str]:
    """What marks pixels as not observed in a scene, one line each."""
    found = []
    values = sorted({str(band.nodata) for band in bands if band.nodata is not None})
    if values:
        found.append(f"nodata {', '.join(values)}")
    if any(file.alpha for file in files):
        found.append("alpha band")
    if any(file.internal_mask for file in files):
        found.append("internal mask")
    if any(file.mask for file in files):
        found.append(".msk sidecar")
    if any(np.dtype(band.dtype).kind == "f" for band in bands):
        found.append("NaN and infinity")
    if validity.collar is not None:
        found.append(f"collar {validity.collar:g}")
    if validity.mask is not None:
        found.append(f"external mask {validity.mask.name}")
    return found


def observed(pixels: npt.NDArray[Any], nodata: Sequence[float | int | None]) -> Bools:
    """(height, width) of pixels (bands, height, width): True where no band is nodata, NaN or infinite."""
    valid: Bools = np.ones(pixels.shape[1:], bool)
    for band, value in zip(pixels, nodata, strict=True):
        if band.dtype.kind == "f":
            valid &= np.isfinite(band)
        if value is not None and np.isfinite(value):
            valid &= ~_equals(band, value)
    return valid


def not_collar(pixels: npt.NDArray[Any], collar: float) -> Bools:
    """(height, width): True where any band of (bands, height, width) differs from the collar value."""
    different: Bools = (pixels != collar).any(axis=0)
    return different


def _equals(band: npt.NDArray[Any], value: float | int) -> Bools:
    """Equality with a nodata value; floats to two units in the last place, as it went through decimal text."""
    if band.dtype.kind != "f":
        same: Bools = band == band.dtype.type(value)
        return same
    limits = np.finfo(band.dtype)
    wanted = band.dtype.type(min(max(value, float(limits.min)), float(limits.max)))
    near: Bools = np.abs(band - wanted) <= 2 * np.spacing(np.abs(wanted)) if wanted else band == 0
    return near
