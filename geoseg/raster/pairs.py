"""Folders of labelled GeoTIFF tiles: tiles.csv, images/ and masks/, as training and benchmarks read them."""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

from geoseg.core.patch_source import IGNORE, LabelledImage
from geoseg.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One row of tiles.csv that has labels."""

    name: str
    """The image's file name without its last suffix."""
    image: Path
    mask: Path
    longitude_deg: float
    latitude_deg: float


def list_pairs(folder: Path, *, split: str) -> tuple[Pair, ...]:
    """The labelled pairs of one split, in the order of their names.

    Raises:
        InputError: no tiles.csv, no such split, or a listed file is missing.
    """
    table = folder / "tiles.csv"
    if not table.is_file():
        raise InputError(f"{table} is not there; --data needs a folder with tiles.csv, images/ and masks/")
    with table.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == split]
    if not rows:
        raise InputError(f"{table} has no row whose split is {split!r}")
    pairs = [
        Pair(
            name=Path(row["file"]).stem,
            image=folder / "images" / row["file"],
            mask=folder / "masks" / f"{Path(row['file']).stem}.tif",
            longitude_deg=float(row["lon"]),
            latitude_deg=float(row["lat"]),
        )
        for row in rows
    ]
    missing = [str(path) for pair in pairs for path in (pair.image, pair.mask) if not path.is_file()]
    if missing:
        raise InputError(f"{table} lists files that are not there: {', '.join(missing)}")
    return tuple(sorted(pairs, key=lambda pair: pair.name))


def read_pair(pair: Pair) -> LabelledImage:
    """Pixels and labels of a pair; the mask's nodata becomes 255.

    Raises:
        InputError: the two differ in grid, or the image is not uint8.
    """
    with rasterio.open(pair.image, driver="GTiff") as image, rasterio.open(pair.mask, driver="GTiff") as mask:
        if image.shape != mask.shape or not image.transform.almost_equals(mask.transform, precision=1e-9):
            raise InputError(f"{pair.mask} is not on the grid of {pair.image}")
        if set(image.dtypes) != {"uint8"}:
            raise InputError(f"{pair.image} is {image.dtypes[0]}; training reads uint8 display values")
        pixels, labels, nodata = image.read(), mask.read(1), mask.nodata
    if nodata is not None:
        labels = np.where(labels == nodata, IGNORE, labels)
    return LabelledImage(name=pair.name, pixels=pixels, labels=labels.astype(np.uint8))


def file_digests(pairs: Sequence[Pair]) -> dict[str, str]:
    """sha256 of every image and mask file, by file name relative to the data folder."""
    paths = [path for pair in pairs for path in (pair.image, pair.mask)]
    return {f"{path.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
