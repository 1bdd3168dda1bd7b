"""Where a raster file lies: CRS and transform it carries itself, or a world file's six numbers; nothing is guessed."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.errors import CRSError

from geoseg.core.grid import check_grid
from geoseg.errors import SceneError
from geoseg.raster.remote import Located
from geoseg.raster.safety import plain

_WORLD_SUFFIXES: Final = {
    "GTiff": (".tfw", ".tifw", ".tiffw", ".wld"),
    "JP2OpenJPEG": (".j2w", ".jp2w", ".wld"),
}
_MAX_WORLD_BYTES: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Georeference:
    """The checked grid of a file and what it came from."""

    grid: GeoBox
    world: Path | None = None
    notes: tuple[str, ...] = ()


def read_grid(dataset: Any, path: Located) -> Georeference:
    """The grid of an open dataset.

    Raises:
        SceneError: no CRS or transform, GCPs or RPCs only, or a grid that cannot carry an area.
    """
    name = plain(path.name)
    transform, world = dataset.transform, None
    if transform == Affine.identity():
        transform, world = _other_transform(dataset, path)
    crs = _crs(dataset, name)
    grid = check_grid(crs, transform, shape=(dataset.height, dataset.width), place=name)
    notes = (f"{name}: its transform is from world file {plain(world.name)}",) if world else ()
    return Georeference(grid=grid, world=world, notes=notes)


def read_world_file(path: Path) -> Affine:
    """The transform in a world file: A, D, B, E, then x and y of the centre of the first pixel.

    Raises:
        SceneError: not exactly six finite numbers.
    """
    remedy = "correct it or remove it"
    try:
        with path.open("rb") as file:
            words = file.read(_MAX_WORLD_BYTES).decode("ascii").split()
        a, d, b, e, x, y = (float(word) for word in words)
    except (ValueError, OSError) as error:
        raise SceneError(f"{plain(path.name)} does not hold six numbers: {remedy}") from error
    if not all(map(math.isfinite, (a, d, b, e, x, y))):
        raise SceneError(f"{plain(path.name)} holds numbers that are not finite: {remedy}")
    return Affine(a, b, x, d, e, y) * Affine.translation(-0.5, -0.5)


def _other_transform(dataset: Any, path: Located) -> tuple[Affine, Path]:
    """The transform of a world file, for a file here that has none itself."""
    name = plain(path.name)
    world = _find_world_file(path, dataset.driver) if isinstance(path, Path) else None
    if world is not None:
        return read_world_file(world), world.resolve()
    if dataset.gcps[0]:
        raise SceneError(
            f"{name} has only ground control points (GCPs): give it a grid with gdalwarp -t_srs EPSG:<code>"
        )
    if dataset.rpcs is not None:
        raise SceneError(f"{name} has only RPCs: orthorectify it with gdalwarp -rpc -t_srs EPSG:<code>")
    if dataset.crs:
        raise SceneError(f"{name} has no transform: set it with gdal_edit -a_ullr, or put a world file beside it")
    raise SceneError(f"{name} has no CRS and no transform: set them with gdal_edit -a_srs EPSG:<code> -a_ullr")


def _find_world_file(path: Path, driver: str) -> Path | None:
    suffixes = (form for suffix in _WORLD_SUFFIXES[driver] for form in (suffix, suffix.upper()))
    return next((world for suffix in suffixes if (world := path.with_suffix(suffix)).is_file()), None)


def _crs(dataset: Any, name: str) -> str:
    try:
        crs = dataset.crs
        text = crs.to_wkt(version="WKT2_2019") if crs else ""
    except CRSError as error:
        raise SceneError(f"{name}: its CRS cannot be understood: set one with gdal_edit -a_srs") from error
    if not text:
        raise SceneError(f"{name} has no CRS: set it with gdal_edit -a_srs EPSG:<code>")
    return str(text)
