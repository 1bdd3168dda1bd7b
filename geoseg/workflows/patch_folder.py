"""Where patches and scores are left: a folder that is complete or not there; what is in it is `patch_contract`."""

import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geoseg.errors import ProductError, ResourceError
from geoseg.raster.patches import INDEX


@contextmanager
def finished_folder(out: Path, *, overwrite: bool, reading: Path | None = None) -> Iterator[Path]:
    """A folder beside `out` that becomes it when the block ends well, and is removed when it does not.

    Args:
        out: is not there, is empty, or holds patches that may be overwritten.
        overwrite: replace the patches it holds.
        reading: a folder that is read meanwhile, and so cannot be `out`.

    Raises:
        ProductError: `out` holds something that would be lost.
        ResourceError: the disk is full, or refuses.
    """
    _check_place(out, overwrite=overwrite, reading=reading)
    folder = out.with_name(f".{out.name}.{secrets.token_hex(6)}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        folder.mkdir()
        with _locked(folder):
            yield folder
            _flush(folder)
            _move(folder, out)
    except OSError as error:
        raise ResourceError(
            f"{out.name} cannot be written ({error.strerror}): free some space, or write elsewhere"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_place(out: Path, *, overwrite: bool, reading: Path | None) -> None:
    if reading is not None and out.resolve() == reading.resolve():
        raise ProductError(f"{out} is the folder that is read: give another one for the result")
    holds_patches = (out / INDEX).is_file()
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ProductError(f"{out} is there and is no folder: give another name, it will not be replaced")
    if out.is_dir() and any(out.iterdir()) and not holds_patches:
        raise ProductError(f"{out} holds something else than patches: give another folder, it will not be replaced")
    if holds_patches and not overwrite:
        raise ProductError(f"{out} already holds patches: give another folder, or --overwrite")


def _move(folder: Path, out: Path) -> None:
    """`out` is the old folder, none, or the new one; at no time a mixture."""
    old = folder.with_suffix(".old")
    if out.exists():
        out.rename(old)
    folder.rename(out)
    _flush(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sweep(out: Path) -> None:
    """Removes what killed runs left beside `out`; a folder that a living run holds stays."""
    name = glob.escape(out.name)
    for stale in (*out.parent.glob(f".{name}.*.partial"), *out.parent.glob(f".{name}.*.old")):
        with suppress(OSError), _locked(stale):
            shutil.rmtree(stale, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder; the kernel lets it go when the process dies.

    Raises:
        OSError: another process holds it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _flush(folder: Path) -> None:
    """The names in a folder are on the disk when this returns."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
