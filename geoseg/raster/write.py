"""Writing plain rasters that geoseg makes itself: the demo's scene. Class maps are written by `classmap`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from geoseg.errors import ResourceError
from geoseg.raster.safety import first_cause


def write_raster(
    path: Path,
    pixels: npt.NDArray[Any],
    *,
    grid: GeoBox,
    nodata: float | None = None,
    names: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
) -> None:
    """A tiled, compressed GeoTIFF of `pixels` (bands, height, width), with band descriptions `names`.

    Raises:
        ResourceError: the disk is full, or refuses.
    """
    try:
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            dtype=pixels.dtype,
            count=pixels.shape[0],
            height=pixels.shape[1],
            width=pixels.shape[2],
            crs=grid.crs.to_wkt() if grid.crs else None,
            transform=grid.affine,
            nodata=nodata,
            tiled=True,
            blockxsize=512,
            blockysize=512,
            compress="deflate",
            predictor=2,
        ) as out:
            out.write(pixels)
            for index, name in enumerate(names, 1):
                out.set_band_description(index, name)
            out.update_tags(**(tags or {}))
    except (RasterioError, OSError) as error:
        raise ResourceError(f"{path} cannot be written ({first_cause(error)}): free space there") from error
