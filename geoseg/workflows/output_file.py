"""One output file that is there whole or not at all; the folders of runs are `product`'s matter."""

import os
from collections.abc import Iterable
from pathlib import Path

from geoseg.errors import ProductError
from geoseg.workflows.product import OWNED, RECORD


def check_free(out: Path, *, overwrite: bool, reading: Iterable[str | Path | None] = ()) -> None:
    """Whether a file may be written to `out`; nothing is changed.

    Args:
        out: the file.
        overwrite: a file there may be replaced, unless it is read, or belongs to a product of a run.
        reading: what is read meanwhile.

    Raises:
        ProductError: there is no such folder, or something is there that may not be replaced.
    """
    if not out.parent.is_dir():
        raise ProductError(f"{out.parent} is no folder: make it first, or choose another place")
    if out.is_dir():
        raise ProductError(f"{out} is a folder; name a file")
    if out.exists() and not overwrite:
        raise ProductError(f"{out} already exists: specify --overwrite or another name")
    if out.exists() and any(one is not None and Path(one).exists() and out.samefile(one) for one in reading):
        raise ProductError(f"{out} is read to make it: name another file for the result")
    if (out.parent / RECORD).exists() and out.name in OWNED:
        raise ProductError(f"{out} is a file of the product in {out.parent}: name another place for the result")


def move(beside: Path, out: Path) -> None:
    """Moves a finished file into place, surviving a power cut on either side of it."""
    with beside.open("rb") as stream:
        os.fsync(stream.fileno())
    beside.replace(out)
