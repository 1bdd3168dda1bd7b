"""Signatures of a batch's addresses, kept apart from everything that is shown: signatures.json, for its owner alone."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from geoseg.batch.job import BatchJob
from geoseg.batch.place import Place
from geoseg.config import Config
from geoseg.errors import ProductError
from geoseg.raster.remote import RemoteAccess
from geoseg.raster.remote_files import remote_access


def write_signatures(place: Place, queries: Mapping[str, str]) -> None:
    """Takes in the queries of signed addresses, by uri; newer ones replace older ones.

    Raises:
        ProductError: what is there is damaged.
    """
    if not queries:
        return
    known = {**_read(place.signatures), **queries}
    beside = place.out / f".signatures.{os.getpid()}.tmp"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        json.dump(known, stream)
    beside.replace(place.signatures)


@contextmanager
def remote_scenes(place: Place, job: BatchJob, config: Config) -> Iterator[None]:
    """Within it the remote scenes of a batch are read, as its plan allows and with its latest signatures."""
    if not job.allow_remote:
        yield
        return
    path = place.signatures
    written = path.stat().st_mtime_ns if path.exists() else 0
    with remote_access(RemoteAccess.of(job.allow_remote, config.remote), _latest(path, written)):
        yield


@lru_cache(maxsize=2)
def _latest(path: Path, written: int) -> Mapping[str, str]:
    """Read once per process; `written` tells a file that was replaced."""
    return _read(path)


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_bytes())
        return {str(uri): str(query) for uri, query in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ProductError(f"{path} is damaged: remove it, and give the source with newly signed addresses") from error
