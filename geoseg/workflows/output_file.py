"""One output file that is there whole or not at all; the folders of runs are `product`'s matter."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geoseg.errors import ProductError, ResourceError
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


@contextmanager
def writing(out: Path) -> Iterator[Path]:
    """Gives the path to write to, beside `out`; what is there in the end is moved into place, what failed is removed.

    Raises:
        ResourceError: the disk is full, a quota is met, or the folder cannot be written.
    """
    beside = out.with_name(f".{out.stem}.{os.getpid()}.tmp{out.suffix}")
    try:
        yield beside
        move(beside, out)
    except ResourceError as error:
        raise ResourceError(str(error).replace(str(beside), str(out))) from error
    except OSError as error:
        if error.errno is None:  # GDAL's, of something that was read
            raise
        raise ResourceError(
            f"{out} cannot be written ({error.strerror or error}): free space there or choose another place"
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def move(beside: Path, out: Path) -> None:
    """Moves a finished file into place, surviving a power cut on either side of it."""
    with beside.open("rb") as stream:
        os.fsync(stream.fileno())
    beside.replace(out)
