"""What training takes: labelled images by name, and labelled scenes by window, from wherever they are kept."""

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from geoseg.core.window import Window

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


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPatch:
    """Pixels and labels of a scene under a window, which may reach beyond it on every side."""

    pixels: npt.NDArray[Any]
    """(bands, height, width) as stored; 0 beyond the scene."""
    valid: npt.NDArray[np.bool_]
    """(height, width); True = observed and usable. False beyond the scene."""
    labels: npt.NDArray[np.uint8]
    """(height, width) class ids; 255 where nothing is labelled, nothing was observed, and beyond the scene."""


class LabelledScene(Protocol):
    """A scene of any size with the classes of its pixels, read window by window. Pickles without what is open."""

    @property
    def name(self) -> str:
        """Unique among the scenes that are trained on together."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""

    def read(self, window: Window) -> LabelledPatch:
        """What lies under a window anywhere; the same whatever was read before."""

    def labels(self, window: Window) -> npt.NDArray[np.uint8]:
        """(height, width) class ids or 255 as they are drawn, whether or not a pixel was observed."""
