"""A product exists if and only if it is complete: staging, publication and reading of run folders."""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

from pydantic import ValidationError

from geoseg.errors import InterruptedRun, ProductError
from geoseg.outcome import ProductFile, RunRecord

RECORD: Final = "run.json"
"""Written last: a folder without it is no product."""
MARKER: Final = ".geoseg-run"
"""Locked while a run is at work; left behind only by a run that was killed."""
OWNED: Final = (
    "classes.tif",
    "confidence.tif",
    "polygons.gpkg",
    "polygons.parquet",
    "polygons.fgb",
    "polygons.geojson",
    "areas.csv",
    "areas.json",
)
"""Names a run may leave, and so may replace."""
_STAGING: Final = ".tmp-"


class Staging:
    """A folder on the file system of `out` where files are made before they are published."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out / f"{_STAGING}{os.getpid()}-{secrets.token_hex(4)}"

    def publish(self, record: RunRecord) -> RunRecord:
        """Moves every staged file into place, run.json last; gives the record with its files.

        At no moment does the folder hold a run.json that does not describe what is beside it.
        """
        names = sorted(path.name for path in self.folder.iterdir())
        complete = record.model_copy(update={"products": {name: _describe(self.folder / name) for name in names}})
        for name in names:
            _sync(self.folder / name)
        with suppress(FileNotFoundError):
            os.unlink(self.out / RECORD)
            _sync(self.out)
        for name in set(OWNED) - set(names):
            with suppress(FileNotFoundError):
                os.unlink(self.out / name)
        for name in names:
            os.replace(self.folder / name, self.out / name)
        _sync(self.out)
        document = json.dumps(complete.to_json(), indent=2, ensure_ascii=False)
        (self.folder / RECORD).write_text(document + "\n", encoding="utf-8")
        _sync(self.folder / RECORD)
        os.replace(self.folder / RECORD, self.out / RECORD)
        _sync(self.out)
        return complete


@contextmanager
def stage(out: Path, *, overwrite: bool) -> Iterator[Staging]:
    """A staging folder inside `out`, locked against other runs; nothing of it is left when the block ends.

    Raises:
        ProductError: `out` holds something that would be lost, or another run is at work in it.
    """
    check_output(out, overwrite=overwrite)
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    out.mkdir(parents=True, exist_ok=True)
    staging = Staging(out)
    try:
        with _locked(out):
            for stale in out.glob(f"{_STAGING}*"):
                shutil.rmtree(stale, ignore_errors=True)
            staging.folder.mkdir()
            try:
                yield staging
            finally:
                shutil.rmtree(staging.folder, ignore_errors=True)
                if (out / RECORD).exists() or not any((out / name).exists() for name in OWNED):
                    with suppress(FileNotFoundError):
                        os.unlink(out / MARKER)
    finally:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()  # only what this run made and left empty


def check_output(out: Path, *, overwrite: bool) -> None:
    """Refuses a place where a run would lose something.

    Raises:
        ProductError: `out` is a file, holds a product and `overwrite` is False, or holds files that are named
            like a product's and that no run left.
    """
    if out.exists() and not out.is_dir():
        raise ProductError(f"{out} is a file: name a folder for the results")
    if overwrite or not out.is_dir():
        return
    if (out / RECORD).exists():
        raise ProductError(f"{out} already holds a product ({RECORD}): specify --overwrite or another folder")
    foreign = [name for name in OWNED if (out / name).exists()]
    if foreign and not (out / MARKER).exists():
        raise ProductError(
            f"{out} holds {foreign[0]}, which no unfinished run left: name another folder, or specify --overwrite"
        )


def read_product(out: Path, *, verify: bool = False) -> RunRecord:
    """The record of a complete product.

    Args:
        out: a run folder.
        verify: also hash every file.

    Raises:
        ProductError: there is no run.json, it is damaged, or a file differs from what it says.
    """
    path = out / RECORD
    try:
        record = RunRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ProductError(f"{out} holds no finished product (no {RECORD}): run geoseg run again") from error
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise ProductError(f"{path} cannot be read as the record of a run: run geoseg run again") from error
    for name, file in record.products.items():
        place = out / name
        if not place.is_file() or place.stat().st_size != file.bytes:
            raise ProductError(f"{place} is missing or not as {RECORD} says: run geoseg run again with --overwrite")
        if verify and _describe(place) != file:
            raise ProductError(f"{place} was changed after the run: its sha256 is not that of {RECORD}")
    return record


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT and SIGTERM become InterruptedRun inside the block, so that staging is cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise InterruptedRun(f"stopped by {signal.Signals(number).name}; nothing half made is left, run it again")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Holds the marker's lock; the kernel lets it go when the process dies."""
    with open(out / MARKER, "a+", encoding="ascii") as marker:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            marker.seek(0)
            raise ProductError(
                f"{out} is in use by another run (process {marker.read().strip() or 'unknown'}): "
                "wait for it, or name another folder"
            ) from error
        marker.seek(0)
        marker.truncate()
        marker.write(str(os.getpid()))
        marker.flush()
        yield


def _describe(path: Path) -> ProductFile:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return ProductFile(sha256=digest, bytes=path.stat().st_size)


def _sync(path: Path) -> None:
    """Flushes a file's bytes, or a folder's names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
