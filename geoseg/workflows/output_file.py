"""One output file that is there whole or not at all; the folders of runs are `product`'s matter."""

import os
from pathlib import Path

from geoseg.errors import ProductError


def check_free(out: Path, *, overwrite: bool) -> None:
    """Whether a file may be written to `out`; nothing is changed.

    Raises:
        ProductError: there is no such folder, or something is there that may not be replaced.
    """
    if not out.parent.is_dir():
        raise ProductError(f"{out.parent} is no folder: make it first, or choose another place")
    if out.is_dir():
        raise ProductError(f"{out} is a folder; name a file")
    if out.exists() and not overwrite:
        raise ProductError(f"{out} already exists: specify --overwrite or another name")


def move(beside: Path, out: Path) -> None:
    """Moves a finished file into place, surviving a power cut on either side of it."""
    with beside.open("rb") as stream:
        os.fsync(stream.fileno())
    beside.replace(out)
