"""What training takes: labelled images by name, from wherever they are kept."""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

IGNORE: Final = 255
"""Label of a pixel that neither the losses nor the metrics may count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImage:
    """An image with the class of each of its pixels."""

    name: str
    """Unique within its source; the manifest of training inputs names it."""
    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]
    """(bands, height, width), physical units (display values 0-255 of a display image)."""
    labels: npt.NDArray[np.uint8]
    """(height, width) class ids; 255 = ignored."""

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[1:] != self.labels.shape:
            raise ValueError(
                f"{self.name}: pixels {self.pixels.shape} and labels {self.labels.shape} do not fit; "
                "expected (bands, height, width) and (height, width)"
            )


class PatchSource(Protocol):
    """Labelled images by name."""

    def names(self) -> tuple[str, ...]:
        """The names, in an order that never changes."""

    def image_of(self, name: str) -> LabelledImage:
        """The image of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySource:
    """A source of images that are already in memory."""

    images: tuple[LabelledImage, ...]

    def __post_init__(self) -> None:
        names = [image.name for image in self.images]
        if len(set(names)) != len(names):
            raise ValueError(f"image names {names} are not unique")

    def names(self) -> tuple[str, ...]:
        """The names, in the order given."""
        return tuple(image.name for image in self.images)

    def image_of(self, name: str) -> LabelledImage:
        """The image of that name.

        Raises:
            KeyError: no image has that name.
        """
        for image in self.images:
            if image.name == name:
                return image
        raise KeyError(name)
