"""The frozen list of an archive's scenes, manifest.parquet: what each is called and what it looked like."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from geoseg.batch.event import Entry
from geoseg.batch.found import SUFFIXES, Found
from geoseg.batch.place import Place, Shard
from geoseg.errors import GeosegError, ProductError, SettingsError

if TYPE_CHECKING:
    from geoseg.raster.remote_files import Look

_ROWS: Final = 10_000
"""Rows written or read at once; memory is bounded by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What was written."""

    scenes: int
    """Rows: scenes, and of those that are split the parts."""
    repeated: int
    """Named more than once; they are in once."""
    missing: int
    """Not there now; they will fail unless they come back."""
    sha256: str
    """Of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A scene, or one of the column strips it is split into."""

    uri: str
    """Of the scene."""
    index: int = 0
    count: int = 1

    @staticmethod
    def parse(uri: str) -> "Part":
        """What an entry's uri means: `scene.tif#part=2/8` is the third of eight."""
        found = re.fullmatch(r"(.*)#part=(\d+)/(\d+)", uri, flags=re.DOTALL)
        return Part(uri=found[1], index=int(found[2]), count=int(found[3])) if found else Part(uri=uri)


def freeze(found: Iterable[Found], place: Place, *, split: Callable[[str], int] = lambda uri: 1) -> Frozen:
    """Writes the manifest, and a list file for each scene of several files.

    Args:
        found: the scenes.
        place: of the batch.
        split: in how many parts the scene of a uri is done.

    Raises:
        SettingsError: the source has no scene.
    """
    import pyarrow
    import pyarrow.parquet

    place.out.mkdir(parents=True, exist_ok=True)
    beside = place.out / f".manifest.{os.getpid()}.tmp"
    tally = _Tally(seen={})
    schema = pyarrow.schema([("id", "string"), ("uri", "string"), ("fingerprint", "string"), ("size", "int64")])
    try:
        with beside.open("wb") as file, pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for rows in _batches(_in_parts(_entries(found, place, tally), split, tally)):
                columns = [[getattr(one, name) for one in rows] for name in ("scene", "uri", "fingerprint", "size")]
                writer.write_table(pyarrow.table(dict(zip(schema.names, columns, strict=True)), schema=schema))
        if not tally.seen:
            raise SettingsError(
                f"the source has no scene in it: rasters end in {', '.join(SUFFIXES)}, and results of geoseg are none"
            )
        beside.replace(place.manifest)
    finally:
        beside.unlink(missing_ok=True)
    return Frozen(scenes=tally.entries, repeated=tally.repeated, missing=tally.missing, sha256=_sha256(place.manifest))


def read_manifest(place: Place, shard: Shard | None = None, *, sha256: str | None = None) -> Iterator[Entry]:
    """The scenes in their order, or those of a shard.

    Args:
        place: of the batch.
        shard: None: all.
        sha256: of the file, as batch.json has it; None: it is not checked.

    Raises:
        ProductError: there is no manifest, it is damaged, or it is not that of the batch.
    """
    import pyarrow
    import pyarrow.parquet

    shard = shard or Shard()
    number = 0
    try:
        if sha256 is not None and _sha256(place.manifest) != sha256:
            raise ProductError(
                f"{place.manifest} is not the one that {place.job.name} was made with (sha256): put that back, or plan "
                "the batch again in a new folder"
            )
        table = pyarrow.parquet.ParquetFile(place.manifest)
        for batch in table.iter_batches(batch_size=_ROWS, columns=["id", "uri", "fingerprint", "size"]):
            columns = [batch.column(k).to_pylist() for k in range(4)]
            for scene, uri, fingerprint, size in zip(*columns, strict=True):
                if number % shard.count == shard.index:
                    yield Entry(scene=scene, uri=uri, fingerprint=fingerprint, size=size)
                number += 1
    except (pyarrow.ArrowException, OSError) as error:
        raise ProductError(f"{place.manifest} cannot be read ({_one_line(error)}): plan the batch again") from error


def identify(uri: str) -> str:
    """The id of a scene: 16 hexadecimal digits, the same wherever and however often it is listed."""
    return hashlib.sha256(uri.encode()).hexdigest()[:16]


def fingerprint(uri: str, looks: "Mapping[str, Look | None] | None" = None) -> tuple[str, int | None]:
    """(sha256 over the files of a scene, their bytes); empty if not there.

    Of each file count name, size and modification time, of a remote one its ETag.

    Args:
        uri: of the scene.
        looks: what servers said of its remote files; None: they are asked now.

    Raises:
        SceneError: a server refuses a file.
        NetworkError: a server does not answer.
    """
    try:
        states = [_state(one, looks) for one in _files(uri)]
    except (OSError, UnicodeDecodeError):
        return "", None
    return _digest("", states), sum(size for _, size, _ in states)


def scene_fingerprint(uri: str, known: str) -> str | None:
    """The fingerprint by which products tell a scene, if it can be known without opening it: of files here, all used.

    Args:
        uri: of the scene.
        known: its `fingerprint` in the manifest; None is given where it has another now.
    """
    try:
        files = _files(uri)
        states = [] if any("://" in one for one in files) else [_state(one, None) for one in files]
    except (OSError, UnicodeDecodeError):
        return None
    return _digest("scene\t", states) if states and _digest("", states) == known else None


def _digest(head: str, states: Iterable[tuple[str, int, str]]) -> str:
    text = "\n".join(f"{head}{name}\t{size}\t{state}" for name, size, state in states)
    return hashlib.sha256(text.encode()).hexdigest()


def _state(uri: str, looks: "Mapping[str, Look | None] | None") -> tuple[str, int, str]:
    """(name, bytes, what tells that it has changed) of a file."""
    if "://" not in uri:
        found = Path(uri).stat()
        return Path(uri).name, found.st_size, str(found.st_mtime_ns)
    from geoseg.raster.remote import Address
    from geoseg.raster.remote_files import remote_files

    address, _ = Address.parse(uri)
    look = remote_files().look(address) if looks is None else looks.get(uri)
    if look is None:
        raise FileNotFoundError(uri)
    return address.name, look.size, look.version


def _files(uri: str) -> list[str]:
    path = Path(uri)
    if "://" in uri:
        return [uri]
    if path.is_dir():
        found = (one for one in path.iterdir() if one.suffix.lower() in SUFFIXES and not one.name.startswith("."))
        return [str(one) for one in sorted(found)]
    if path.suffix.lower() == ".txt":
        names = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
        kept = (name for name in names if name and not name.startswith("#"))
        return [name if "://" in name else str(path.parent / name) for name in kept]
    return [uri]


@dataclass(slots=True)
class _Tally:
    seen: dict[str, str]
    repeated: int = 0
    missing: int = 0
    entries: int = 0


def _in_parts(entries: Iterable[Entry], split: Callable[[str], int], tally: _Tally) -> Iterator[Entry]:
    for one in entries:
        count = 1 if one.size is None else split(one.uri)
        tally.entries += count
        if count == 1:
            yield one
            continue
        for k in range(count):
            yield replace(one, scene=f"{one.scene}-{k:05d}", uri=f"{one.uri}#part={k}/{count}")


def _entries(found: Iterable[Found], place: Place, tally: _Tally) -> Iterator[Entry]:
    for one in found:
        scene = identify(one.identity)
        before = tally.seen.get(scene)
        if before == one.files[0]:
            tally.repeated += 1
            continue
        if before is not None:
            raise GeosegError(f"{before} and {one.files[0]} have one id, {scene}: rename one of them")
        tally.seen[scene] = one.files[0]
        uri = one.files[0] if len(one.files) == 1 else str(_write_list(place, scene, one.files))
        known, size = fingerprint(uri, dict(zip(one.files, one.looks, strict=False)))
        tally.missing += size is None
        yield Entry(scene=scene, uri=uri, fingerprint=known, size=size)


def _write_list(place: Place, scene: str, files: Iterable[str]) -> Path:
    folder = place.lists / scene[:2]
    folder.mkdir(parents=True, exist_ok=True)
    path = (folder / f"{scene}.txt").absolute()
    path.write_text("\n".join(files) + "\n", encoding="utf-8")
    return path


def _batches(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    rows: list[Entry] = []
    for one in entries:
        rows.append(one)
        if len(rows) == _ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
