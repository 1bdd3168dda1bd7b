"""A run's folder: locked, staged, published whole or not at all, read back; what is in the files is made elsewhere."""

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

from geoseg.errors import BusyError, InterruptedRun, ProductError, ResourceError
from geoseg.outcome import ProductFile, RunRecord

RECORD: Final = "run.json"
"""Written last, removed first: a folder without it is no product."""
MARKER: Final = ".geoseg-run"
"""Says that the folder is geoseg's and who works in it; locked while a run does. It stays beside a product."""
OWNED: Final = (
    "classes.tif",
    "confidence.tif",
    "probabilities.tif",
    "change.tif",
    "change.json",
    "change.csv",
    "areas.csv",
    "areas.json",
    "polygons.gpkg",
    "polygons.parquet",
    "polygons.fgb",
    "polygons.geojson",
    "classes.qml",
    "item.json",
    "report.html",
    "report.pdf",
)
"""Names that geoseg gives to files of a run, in the order they are listed; others in the folder are never touched."""
VIEWS: Final = ("report.html", "report.pdf")
"""Made of the other files, at any time again (`geoseg report`): a record does not list them."""
_AGAIN: Final = "make it again with geoseg run --overwrite"
_STAGING: Final = re.compile(r"\.tmp-\d+-[0-9a-f]{8}")
_NO_LOCKS: Final = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What a file system that cannot lock says."""


class Staging:
    """Where the files of a run are made: a folder inside the run's folder, so that moving them is one rename."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out / f".tmp-{os.getpid()}-{secrets.token_hex(4)}"
        self.folder.mkdir()
        self._sealed: dict[str, ProductFile] = {}

    def seal(self) -> dict[str, ProductFile]:
        """Size and checksum of every staged file by name; each is brought to the disk, and no longer changed."""
        with _translated(self.out):
            for name in _in_order(one.name for one in self.folder.iterdir()):
                if name not in self._sealed:
                    self._sealed[name] = _seal(self.folder / name)
        return dict(self._sealed)

    def publish(self, record: RunRecord) -> RunRecord:
        """Move every staged file into the run's folder, run.json last; gives the record with the files in it.

        Files of OWNED names that this product does not make are removed, whatever an earlier run.json lists.
        Signals are ignored until it is over.

        Raises:
            ResourceError: a file could not be written or moved; the folder then holds the old product or none.
        """
        with _translated(self.out), uninterrupted():
            sealed = self.seal()
            staged = _in_order(set(sealed))
            record = record.with_products({name: sealed[name] for name in staged if name not in VIEWS})
            # Written before anything old is lost: a full disk is noticed here.
            (self.folder / RECORD).write_text(record.to_text(), encoding="utf-8")
            _sync(self.folder / RECORD)
            (self.out / RECORD).unlink(missing_ok=True)
            _sync(self.out)
            for name in _in_order(set(OWNED) - set(staged)):
                (self.out / name).unlink(missing_ok=True)
            for name in staged:
                os.replace(self.folder / name, self.out / name)
            _sync(self.out)
            os.replace(self.folder / RECORD, self.out / RECORD)
            _sync(self.out)
        return record


@contextmanager
def stage(out: Path, *, overwrite: bool) -> Iterator[Staging]:
    """A staging folder in `out`, which is locked and made if need be; what is not published is removed.

    Raises:
        ProductError: `out` holds something that would be lost, or another run works in it.
        ResourceError: the folder cannot be written.
    """
    check_output(out, overwrite=overwrite)
    with _translated(out):
        lock = _lock(out)
    try:
        check_output(out, overwrite=overwrite)
        with _translated(out):
            if lock.held:
                _sweep(out)
            staging = Staging(out)
        try:
            yield staging
        finally:
            shutil.rmtree(staging.folder, ignore_errors=True)
    finally:
        _leave(out, lock)


def check_output(out: Path, *, overwrite: bool, reading: str | None = None) -> None:
    """Whether a run may write into `out`; nothing is changed. What a killed run left may be written over.

    Args:
        out: the run's folder.
        overwrite: a product in it may be replaced.
        reading: what is read meanwhile; a folder of bands cannot also take the results, they would become bands.

    Raises:
        ProductError: `out` is a file, a product (without overwrite), is read, or holds files that are not geoseg's.
    """
    if reading is not None and out.exists() and out.resolve() == Path(reading).resolve():
        raise ProductError(f"{out} is the scene itself: name another folder for the results")
    if out.is_symlink() and not out.exists():
        raise ProductError(f"{out} is a link to nothing: remove it or choose another folder")
    if out.exists() and not out.is_dir():
        raise ProductError(f"{out} is a file; a run needs a folder: choose another name")
    if not out.exists():
        return
    is_ours = (out / MARKER).is_file() or _is_record(out / RECORD)
    foreign = [name for name in (*OWNED, RECORD) if os.path.lexists(out / name)]
    if foreign and not is_ours:
        raise ProductError(
            f"{out} holds {foreign[0]}, which no run of geoseg left there: move it away or choose another folder"
        )
    if (out / RECORD).exists() and not overwrite:
        raise ProductError(f"{out} already holds a product (run.json): give --overwrite or choose another folder")


def read_product(out: Path, *, checksums: bool = False) -> RunRecord:
    """The record of a complete product; every file it lists is there with its size, and with its sha256 if asked.

    Raises:
        ProductError: no product, or one that is incomplete or damaged.
    """
    try:
        text = (out / RECORD).read_bytes()
    except OSError as error:
        raise ProductError(f"{out} holds no finished product (no run.json that can be read): run it again") from error
    try:
        record = RunRecord.from_text(text)
    except ValueError as error:
        raise ProductError(f"{out / RECORD} is damaged or not from geoseg: {_AGAIN}") from error
    for name, product in record.products.items():
        path = out / name
        if not path.is_file():
            raise ProductError(f"{path} is missing from its product: {_AGAIN}")
        size = path.stat().st_size
        if size != product.bytes:
            raise ProductError(f"{path} has {size} bytes where run.json says {product.bytes}: {_AGAIN}")
    if checksums:
        check_bytes(out, record, record.products)
    return record


def check_bytes(out: Path, record: RunRecord, names: Iterable[str]) -> None:
    """Whether files of a product are as they were made; names that it does not have are passed over.

    Raises:
        ProductError: one has another sha256 than run.json says.
    """
    for name in names:
        if name in record.products and file_sha256(out / name) != record.products[name].sha256:
            raise ProductError(f"{out / name} has other bytes than when it was made (sha256): {_AGAIN}")


def file_sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT and SIGTERM raise InterruptedRun, so that staged files are removed; only in the main thread."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise InterruptedRun(f"stopped by {signal.Signals(number).name}: no product was left half made; run it again")

    with _handlers(stop):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """The moment of publishing is not interrupted: SIGINT and SIGTERM then come too late to matter, and are lost."""
    with _handlers(signal.SIG_IGN):
        yield


@contextmanager
def _handlers(handler: "signal._HANDLER") -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old if old is not None else signal.SIG_DFL)


class _Lock:
    """A descriptor of the marker; held = no other run can be at work in the folder, on any machine."""

    def __init__(self, descriptor: int, *, held: bool) -> None:
        self.descriptor = descriptor
        self.held = held


def _lock(out: Path) -> _Lock:
    """Lock the folder's marker. The kernel lets go of it when the process ends, however it ends."""
    while True:
        out.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(out / MARKER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:  # a run that failed has just removed its empty folder
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = True
        except BlockingIOError as error:
            who = _holder(descriptor)
            os.close(descriptor)
            raise BusyError(f"{out} is being written by {who}: wait for it or choose another folder") from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
            held = False
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(out / MARKER)):
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
                return _Lock(descriptor, held=held)
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    try:
        content = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {int(content['pid'])} on {content['host']}"
    except (ValueError, KeyError, TypeError):
        return "another run"


def _leave(out: Path, lock: _Lock) -> None:
    """Let go of the folder; one that holds nothing but the marker is removed."""
    with suppress(OSError):
        if os.listdir(out) == [MARKER]:
            os.unlink(out / MARKER)
            os.rmdir(out)
    os.close(lock.descriptor)


def _sweep(out: Path) -> None:
    """Remove what killed runs were making; the lock says that nobody makes it any more."""
    for one in out.iterdir():
        if _STAGING.fullmatch(one.name):
            shutil.rmtree(one, ignore_errors=True)


def _seal(path: Path) -> ProductFile:
    _sync(path)
    return ProductFile(sha256=file_sha256(path), bytes=path.stat().st_size)


def _sync(path: Path) -> None:
    """Bring a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _in_order(names: "Iterator[str] | set[str]") -> list[str]:
    rank = {name: k for k, name in enumerate(OWNED)}
    return sorted(names, key=lambda name: (rank.get(name, len(rank)), name))


def _is_record(path: Path) -> bool:
    try:
        RunRecord.from_text(path.read_bytes())
    except (OSError, ValueError):
        return False
    return True


@contextmanager
def _translated(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"{out} cannot be written ({error.strerror or error}): free space there or choose another folder"
        ) from error
