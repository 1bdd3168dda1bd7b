"""A scene of an archive as its source names it, before it has an id."""

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from geoseg.raster.remote_files import Look

SUFFIXES: Final = (".tif", ".tiff", ".jp2", ".j2k")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A scene of an archive."""

    files: tuple[str, ...]
    """Absolute paths, or addresses without their queries: one raster or folder of bands, or the rasters of an item."""
    looks: tuple["Look | None", ...] = ()
    """Of each file what its server said, None where it refused or the file is here; () = nobody asked."""

    @property
    def identity(self) -> str:
        """What its id is made of."""
        return "\n".join(self.files)


def is_name(text: str) -> bool:
    """Whether a text can name a file in lists and messages: no control characters, ends of lines or broken text."""
    return not any(unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"} for one in text)
