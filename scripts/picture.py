"""Draws a scene beside the map a run made of it: python scripts/picture.py SCENE RUN PICTURE.png

Left the scene as the product's true-colour image shows it, middle the classes, right the confidence.
"""

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import Resampling

HEIGHT = 420
GAP = 8
WHITE = 255


def scene_rgb(path: Path, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(3, height, width): uint8 as it is, uint16 reflectance DN by the fixed 0 … 3558 of a true-colour image."""
    with rasterio.open(path) as file:
        pixels = file.read([1, 2, 3], out_shape=(3, *shape), resampling=Resampling.average)
    if pixels.dtype == np.uint8:
        return np.asarray(pixels)
    return np.clip(pixels.astype(np.float32) * 255 / 3558, 0, 255).astype(np.uint8)


def class_rgb(path: Path, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(3, height, width) in the map's own colours; nodata white."""
    with rasterio.open(path) as file:
        labels = file.read(1, out_shape=shape, resampling=Resampling.mode)
        colormap = file.colormap(1)
    table = np.full((256, 3), WHITE, np.uint8)
    for value, color in colormap.items():
        if value != 255:
            table[value] = color[:3]
    return np.moveaxis(table[labels], -1, 0)


def confidence_rgb(path: Path, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(3, height, width): black = 50 % or less, bright = 100 %; nodata white."""
    with rasterio.open(path) as file:
        percent = file.read(1, out_shape=shape, resampling=Resampling.average).astype(np.float32)
    grey = np.where(percent > 100, WHITE, np.clip((percent - 50) * 4.6, 0, 230)).astype(np.uint8)
    return np.stack([grey] * 3)


def draw(scene: Path, run: Path, picture: Path) -> None:
    """Three panels of equal size, side by side, as a PNG."""
    with rasterio.open(run / "classes.tif") as file:
        shape = (HEIGHT, max(1, round(HEIGHT * file.width / file.height)))
    gap = np.full((3, HEIGHT, GAP), WHITE, np.uint8)
    panels = [
        scene_rgb(scene, shape),
        gap,
        class_rgb(run / "classes.tif", shape),
        gap,
        confidence_rgb(run / "confidence.tif", shape),
    ]
    image = np.concatenate(panels, axis=2)
    with rasterio.open(
        picture, "w", driver="PNG", height=image.shape[1], width=image.shape[2], count=3, dtype="uint8"
    ) as out:
        out.write(image)


if __name__ == "__main__":
    draw(*(Path(word) for word in sys.argv[1:4]))
