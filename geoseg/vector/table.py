"""A table of features as a file holds them, before anything is judged; reading is `read`'s and `geoparquet`'s."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy.typing as npt

NO_FIELD: Final = "fid"
"""What the column of names is called where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Features in the order of the file."""

    source: str
    """Name of the file, printable."""
    crs: Any | None
    """Whatever pyproj understands; None where the file states none."""
    columns: tuple[str, ...]
    """Every column of the file."""
    values: Mapping[str, list[Any]]
    """The columns that were read."""
    geometries: npt.NDArray[Any]
    """shapely geometries, None where there is none or it cannot be understood."""
    fids: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.fids)
