"""Where patches and scores are left: a folder that is complete or not there; what is in it is `patch_contract`."""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from geoseg.errors import InputError, ProductError, ResourceError
from geoseg.raster.patches import INDEX, name_masked, name_patch, read_index
from geoseg.raster.safety import plain
from geoseg.workflows.product import uninterrupted


@contextmanager
def finished_folder(out: Path, *, overwrite: bool, reading: Sequence[Path]) -> Iterator[Path]:
    """A folder beside `out` that becomes it when the block ends well, and is removed when it does not.

    Args:
        out: is not there, is empty, or holds patches and nothing else, which may be overwritten.
        overwrite: replace the patches it holds.
        reading: files and folders that are read meanwhile, and so cannot be `out` or in it.

    Raises:
        ProductError: `out` holds something that would be lost.
        ResourceError: the disk is full, or refuses.
    """
    folder = out.parent / f".{out.name}.{secrets.token_hex(6)}.partial"
    try:
        _sweep(out)
        _check_place(out, overwrite=overwrite, reading=reading)
        out.parent.mkdir(parents=True, exist_ok=True)
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


def _check_place(out: Path, *, overwrite: bool, reading: Sequence[Path]) -> None:
    if out.name in {"", ".."}:
        raise ProductError(f"{out} says no name for a folder: give one")
    place = out.resolve()
    for one in (path.resolve() for path in reading):
        if one == place:
            raise ProductError(f"{out} is the folder that is read: give another one for the result")
        if one.is_relative_to(place):
            raise ProductError(f"{out} holds {plain(one.name)}, which is read: give another folder for the result")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ProductError(f"{out} is there and is no folder: give another name, it will not be replaced")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / INDEX).is_file():
        raise ProductError(f"{out} holds something else than patches: give another folder, it will not be replaced")
    if not overwrite:
        raise ProductError(f"{out} already holds patches: give another folder, or --overwrite")
    _check_all_ours(out)


def _check_all_ours(out: Path) -> None:
    """Refuses to replace a folder that holds anything else than an index and the files of its tiles."""
    remedy = "give another folder, it will not be replaced"
    try:
        windows = [entry.window for entry in read_index(out).entries]
        ours = {INDEX, *(name(window) for window in windows for name in (name_patch, name_masked))}
    except (InputError, ValueError, TypeError) as error:
        raise ProductError(f"{out} holds an {INDEX} that is no index of patches ({error}): {remedy}") from error
    for one in sorted(out.iterdir()):
        if one.name not in ours or not one.is_file():
            raise ProductError(f"{out} holds {plain(one.name)}, which is no patch of its {INDEX}: {remedy}")


def _move(folder: Path, out: Path) -> None:
    """`out` is the old folder, none, or the new one; at no time a mixture. A signal then comes too late."""
    old = folder.with_suffix(".old")
    with uninterrupted():
        if not out.exists():
            folder.rename(out)
            _flush(out.parent)
            return
        with _locked(out):  # while it has no name of its own, nobody may put it back
            out.rename(old)
            try:
                folder.rename(out)
            except OSError:
                old.rename(out)
                raise
            _flush(out.parent)
            (old / INDEX).unlink(missing_ok=True)  # first: what is half removed is not to be put back
            shutil.rmtree(old, ignore_errors=True)


def _sweep(out: Path) -> None:
    """Removes what killed runs left beside `out`, and puts back the old folder of one killed while it moved.

    A folder that a living run holds stays.
    """
    for end in ("old", "partial"):
        ours = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{12}}\.{end}")
        for stale in [one for one in out.parent.glob(f".*.{end}") if ours.fullmatch(one.name)]:
            with suppress(OSError), _locked(stale):
                if end == "old" and (stale / INDEX).is_file() and not os.path.lexists(out):
                    stale.rename(out)
                else:
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
