"""The folder of a batch: names in it, who works in it, what kind of file system it is on."""

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from geoseg.errors import FullDiskError, ProductError, ResourceError, SettingsError

SHARED_FILE_SYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "afs", "9p", "glusterfs", "virtiofs"}
)

_COUNT_TRIES: Final = 50
_COUNT_WAIT_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The part of a manifest that one driver works at: rows whose number leaves this remainder."""

    index: int = 0
    """From 0."""
    count: int = 1

    @staticmethod
    def parse(text: str) -> "Shard":
        """`3/8`, counted from 0.

        Raises:
            SettingsError: it is no such fraction.
        """
        index, slash, count = text.partition("/")
        if not slash or not index.isdecimal() or not count.isdecimal() or not 0 <= int(index) < int(count):
            raise SettingsError(f"--shard {text}: write I/N with I from 0 to N - 1, such as 0/8")
        return Shard(index=int(index), count=int(count))

    @property
    def name(self) -> str:
        """In file names; empty for the whole."""
        return "" if self.count == 1 else f"{self.index:05d}-of-{self.count:05d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the files of a batch are."""

    out: Path

    @property
    def job(self) -> Path:
        """The frozen settings; a folder without it is no batch."""
        return self.out / "batch.json"

    @property
    def manifest(self) -> Path:
        """The frozen list of scenes."""
        return self.out / "manifest.parquet"

    @property
    def shards(self) -> Path:
        """In how many shards the batch was begun."""
        return self.out / "shards"

    @property
    def signatures(self) -> Path:
        """The queries of signed addresses: secrets."""
        return self.out / "signatures.json"

    @property
    def lists(self) -> Path:
        """A list file for every scene of several files."""
        return self.out / "lists"

    @property
    def claims(self) -> Path:
        """What Dask workers are at."""
        return self.out / "running"

    @property
    def hangs(self) -> Path:
        """Tracebacks of workers that hung."""
        return self.out / "hangs"

    @property
    def scenes(self) -> Path:
        """The products."""
        return self.out / "scenes"

    def scene(self, scene: str) -> Path:
        """The folder of a scene's product; 256 folders share them, so that none gets too long.

        The id of a part, `<id of the scene>-<number>`, leads to the scene.
        """
        return self.scenes / scene[:2] / scene.partition("-")[0]

    def part(self, scene: str, index: int) -> Path:
        """The file of a part of a scene, as long as not all are there."""
        return self.out / "parts" / scene.partition("-")[0] / f"{index:05d}.zip"

    def ledger(self, shard: Shard) -> Path:
        """The ledger of a shard."""
        return self.out / "journal" / f"{shard.name}.sqlite" if shard.name else self.out / "journal.sqlite"

    def lock(self, shard: Shard) -> Path:
        """What the driver of a shard holds."""
        return self.out / "journal" / f"{shard.name}.lock" if shard.name else self.out / "batch.lock"

    def ledgers(self) -> list[Path]:
        """Every ledger that there is."""
        whole = self.out / "journal.sqlite"
        return [*([whole] if whole.exists() else []), *sorted((self.out / "journal").glob("*.sqlite"))]


def check_shard(place: Place, shard: Shard) -> None:
    """Whether the batch was begun in the same number of shards; where it was not begun, this one decides.

    Raises:
        ProductError: it was begun in another; their scenes would overlap.
        ResourceError: the number cannot be written.
    """
    ledgers = [int(ledger.stem.partition("-of-")[2] or 1) for ledger in place.ledgers()]
    for begun in ledgers or [_freeze_count(place, shard.count)]:
        if begun != shard.count:
            raise ProductError(
                f"{place.out} was begun in {begun} shards, not {shard.count}: go on with {begun}, or make the ledgers "
                "again in one piece with geoseg batch repair"
            )


def _freeze_count(place: Place, count: int) -> int:
    """The number of shards, from a file that only the first of them can make."""
    with _writing(place.shards):
        try:
            with place.shards.open("x", encoding="ascii") as stream:
                stream.write(str(count))
            return count
        except FileExistsError:
            pass
        except OSError:
            place.shards.unlink(missing_ok=True)
            raise
    for _ in range(_COUNT_TRIES):
        if (text := place.shards.read_text(encoding="ascii")).isdecimal():
            return int(text)
        time.sleep(_COUNT_WAIT_SECONDS)  # the first one is writing it
    raise ProductError(f"{place.shards} does not say in how many shards the batch was begun: remove it")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone at the file of this path, which says who that is. Where the file system cannot lock, it only says so.

    Raises:
        ProductError: another process is there.
    """
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ProductError(
                f"{path.parent} is being worked at by {_holder(descriptor)}: wait for it, stop it, or choose another "
                "folder or shard"
            ) from error
        except OSError:  # a file system without locks: the products have theirs, and a scene done twice is the same
            pass
        with _writing(path):
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_full(error: OSError) -> bool:
    """Whether a file could not be written because there is no space, or no more for this user."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise FullDiskError(f"{path} cannot be written ({error.strerror}): free space there") from error
        raise ResourceError(f"{path} cannot be written ({error.strerror}): choose another folder") from error


def is_shared(path: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Whether a path is on a network file system; unknown counts as not."""
    try:
        lines = [line.split() for line in mounts.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return False
    within = [
        (len(words[1]), words[2])
        for words in lines
        if len(words) > 2 and path.resolve().is_relative_to(words[1].replace("\\040", " "))
    ]
    kind = max(within, default=(0, ""))[1]
    return kind in SHARED_FILE_SYSTEMS or kind.startswith("fuse.")


def _holder(descriptor: int) -> str:
    try:
        content = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {int(content['pid'])} on {content['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
