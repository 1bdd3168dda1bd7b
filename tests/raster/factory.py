"""One maker of test rasters: CRS x dtype x kind of nodata x rotation x block layout, at run time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine

NodataKind = Literal["none", "value", "nan", "mask", "alpha", "msk"]
Layout = Literal["tiled", "strips", "one strip", "tall strips"]
Orientation = Literal["north", "south", "mirrored", "rotated", "oblong"]

ORIGINS = {"EPSG:32633": (500_000.0, 5_400_000.0, 10.0), "EPSG:4326": (14.0, 48.5, 0.0001)}
ORIENTATIONS: dict[Orientation, Affine] = {
    "north": Affine.scale(1, -1),
    "south": Affine.identity(),
    "mirrored": Affine.scale(-1, -1),
    "rotated": Affine.rotation(30) * Affine.scale(1, -1),
    "oblong": Affine.scale(1, -1.5),
}
LAYOUTS: dict[Layout, dict[str, Any]] = {
    "tiled": {"tiled": True, "blockxsize": 32, "blockysize": 16},
    "strips": {"blockysize": 3},
    "tall strips": {"blockysize": 48},
    "one strip": {"blockysize": 10_000},
}


@dataclass(frozen=True, kw_only=True)
class Made:
    """A raster that was written, and what reading it must give."""

    path: Path
    pixels: npt.NDArray[Any]
    """(bands, height, width) as stored, alpha left out."""
    valid: npt.NDArray[np.bool_]
    """(height, width), True = observed."""
    transform: Affine
    crs: str


def make_pixels(shape: tuple[int, int], *, bands: int = 3, dtype: str = "uint16", seed: int = 0) -> npt.NDArray[Any]:
    """(bands, height, width) of random stored values from 1 to 200: 0 stays free to mark nodata."""
    return np.random.default_rng(seed).integers(1, 200, (bands, *shape)).astype(dtype)


def make_raster(
    path: Path,
    shape: tuple[int, int] = (90, 70),
    *,
    bands: int = 3,
    dtype: str = "uint16",
    crs: str = "EPSG:32633",
    transform: Affine | None = None,
    orientation: Orientation = "north",
    nodata: NodataKind = "none",
    layout: Layout = "tiled",
    descriptions: Sequence[str] = (),
    pixels: npt.NDArray[Any] | None = None,
    seed: int = 0,
    **creation: Any,
) -> Made:
    """Writes a GeoTIFF of random pixels and says what a reader must find in it.

    Args:
        path: file to write.
        shape: (height, width), unless `pixels` are given.
        bands: data bands; alpha comes on top.
        dtype: of the pixels.
        crs: any; a transform is needed where it is not in ORIGINS.
        transform: None: by CRS and orientation.
        orientation: how the grid lies.
        nodata: how a fifth of the pixels is marked as not observed.
        layout: blocks in the file.
        descriptions: of the bands.
        pixels: instead of random ones; give shape and dtype.
        seed: of the pixels and of what is observed.
        creation: further options of rasterio.open.
    """
    if transform is None:
        x, y, side = ORIGINS[crs]
        transform = Affine.translation(x, y) * ORIENTATIONS[orientation] * Affine.scale(side)
    stored = make_pixels(shape, bands=bands, dtype=dtype, seed=seed) if pixels is None else pixels.copy()
    shape = (stored.shape[1], stored.shape[2])
    valid = np.random.default_rng(seed + 1).random(shape) > 0.2 if nodata != "none" else np.ones(shape, bool)
    profile: dict[str, Any] = {
        "driver": "GTiff", "height": shape[0], "width": shape[1], "count": len(stored) + (nodata == "alpha"),
        "dtype": stored.dtype, "crs": crs, "transform": transform, "compress": "deflate", **LAYOUTS[layout],
    }  # fmt: skip
    if nodata == "value":
        profile["nodata"] = 0
    _mark_unobserved(stored, valid, nodata=nodata, seed=seed)
    if nodata == "alpha":
        profile |= {"photometric": "RGB" if len(stored) == 3 else "MINISBLACK", "alpha": "YES"}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=nodata == "mask"),
        rasterio.open(path, "w", **(profile | creation)) as out,
    ):
        _write(out, stored, valid, nodata=nodata, descriptions=descriptions)
    return Made(path=path, pixels=stored, valid=valid, transform=transform, crs=crs)


def _write(
    out: Any, stored: npt.NDArray[Any], valid: npt.NDArray[np.bool_], *, nodata: NodataKind, descriptions: Sequence[str]
) -> None:
    """Pixels, band descriptions, and alpha or mask into an open dataset."""
    out.write(stored, range(1, len(stored) + 1))
    for k, text in enumerate(descriptions, start=1):
        out.set_band_description(k, text)
    if nodata == "alpha":
        out.write(np.where(valid, 255, 0).astype(stored.dtype), len(stored) + 1)
        out.colorinterp = [*out.colorinterp[:-1], rasterio.enums.ColorInterp.alpha]
    if nodata in ("mask", "msk"):
        out.write_mask(valid)


def _mark_unobserved(stored: npt.NDArray[Any], valid: npt.NDArray[np.bool_], *, nodata: NodataKind, seed: int) -> None:
    """Gives the pixels that are not observed the value that says so; one band at nodata is enough."""
    if nodata == "value":
        band = np.random.default_rng(seed + 2).integers(0, len(stored), valid.shape)
        for k in range(len(stored)):
            stored[k][~valid & (band == k)] = 0
    if nodata == "nan":
        stored[0][~valid] = np.nan


VRT = """<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>EPSG:32633</SRS>
<GeoTransform>500000, 10, 0, 5400000, 0, -10</GeoTransform>
<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">
<SourceFilename relativeToVRT="0">{secret}</SourceFilename>
<ImageOffset>0</ImageOffset><PixelOffset>1</PixelOffset><LineOffset>{width}</LineOffset>
</VRTRasterBand></VRTDataset>"""


def write_leaking_vrt(path: Path, secret: Path, shape: tuple[int, int]) -> None:
    """A VRT whose pixels are the bytes of another file."""
    path.write_text(VRT.format(height=shape[0], width=shape[1], secret=secret))
