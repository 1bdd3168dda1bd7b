"""An encoded image and where on a Mercator map it lies; how it is drawn belongs to `raster`, how shown to `report`."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MapBounds:
    """The edges of a north-up Mercator picture, degrees; east may be above 180, west below -180, never both."""

    south: float
    west: float
    north: float
    east: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image file in memory."""

    media_type: str
    """image/png, image/webp or image/jpeg."""
    content: bytes
    height: int
    width: int
    note: str = ""
    """What a viewer must know of how it was drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPicture:
    """A class map as a palette image: transparent where there is no class."""

    picture: Picture
    bounds: MapBounds
    colors: Sequence[tuple[int, str]]
    """(class id, #rrggbb as drawn), one per class and all different, so that a color tells its class."""
