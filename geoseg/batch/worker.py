"""What happens inside a worker: one scene is tried under a hang guard, its ending told as a value; no Dask."""

import atexit
import errno
import faulthandler
import importlib
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TextIO

from geoseg.batch.event import Broke, Finished, Kind, Ticket
from geoseg.batch.place import Place
from geoseg.config import Config
from geoseg.errors import (
    BundleError,
    BusyError,
    GeosegError,
    InputError,
    NetworkError,
    ProductError,
    ResourceError,
    SceneError,
    SettingsError,
)

SceneWork = Callable[[Path, Ticket, Config], Mapping[str, Any]]
"""Does one scene: (folder of the batch, the scene, how to run here) -> what `Finished.result` holds."""
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}

HUNG: Final = "it took too long: where it was is in the folder hangs; if it needs longer, raise cluster.hang_min_s"


class JobError(GeosegError):
    """This worker cannot do this job at all: its bundle or its scenes are not those of the batch."""


_VERDICTS: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], Kind, str], ...]] = (
    (JobError, "job", "job"),
    (BusyError, "transient", "busy"),
    (SceneError, "data", "scene"),
    (BundleError, "data", "bundle"),
    (SettingsError, "data", "settings"),
    (ProductError, "data", "product"),
    (InputError, "data", "input"),
    (NetworkError, "transient", "network"),
    (ResourceError, "transient", "resource"),
    (MemoryError, "transient", "memory"),
    ((FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError), "data", "file"),
    (OSError, "transient", "io"),
)
"""The first that fits."""
_LESS_MEMORY: Final = "give --set-config panel_width=1024 or fewer workers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What is the same for all scenes that a worker gets; picklable, small."""

    out: str
    work: str
    """`module:function` of a `SceneWork`."""
    config: Config


def try_scene(assignment: Assignment, ticket: Ticket, *, timeout_s: float) -> Finished | Broke:
    """Does a scene and says how it ended; errors become values. A scene that hangs ends the process.

    The times in the ending are this process's.
    """
    begin = time.perf_counter()
    out = Path(assignment.out)
    try:
        faulthandler.dump_traceback_later(timeout_s, exit=True, file=_hang_file(out))
        result = _load(assignment.work)(out, ticket, assignment.config)
        seconds = time.perf_counter() - begin
        return Finished(at=time.time(), row=ticket.row, seconds=seconds, result={"worker": worker_name(), **result})
    except Exception as error:
        kind, code, text = explain(error)
        seconds = time.perf_counter() - begin
        return Broke(at=time.time(), row=ticket.row, kind=kind, code=code, error=text, seconds=seconds)
    finally:
        faulthandler.cancel_dump_traceback_later()


def explain(error: Exception) -> tuple[Kind, str, str]:
    """(kind, code, one line) of what a scene broke with."""
    shown = "".join(one if one.isprintable() else " " for one in str(error))
    text = " ".join(shown.split()) or type(error).__name__
    if _is_disk_full(error):
        return "disk", "disk", f"disk full ({text}): free space and run the same command again"
    for kinds, kind, code in _VERDICTS:
        if isinstance(error, kinds):
            return kind, code, text if not isinstance(error, MemoryError) else f"out of memory {text}: {_LESS_MEMORY}"
    return "internal", type(error).__name__, f"internal error, {type(error).__name__}: {text}; please report it"


def _is_disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def prepare_worker() -> None:
    """A worker is stopped by its driver, not by the terminal's Ctrl-C or the job's SIGTERM, which reach it as well."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def worker_name(pid: int | None = None) -> str:
    """Of this process, or of another one on this host."""
    return f"{socket.gethostname()}-{pid or os.getpid()}"


def has_hung(out: Path, worker: str) -> bool:
    """Whether a worker that is gone was ended because it hung; its traceback is then in the folder `hangs`."""
    path = Place(out=out).hangs / f"{worker}.txt"
    _remove_if_empty(path)
    return path.exists()


@cache
def _load(work: str) -> SceneWork:
    module, _, name = work.partition(":")
    found: SceneWork = getattr(importlib.import_module(module), name)
    return found


@cache
def _hang_file(out: Path) -> TextIO:
    """Open as long as the process lives: the guard writes to its descriptor when Python itself is stuck."""
    folder = Place(out=out).hangs
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{worker_name()}.txt"
    atexit.register(_remove_if_empty, path)
    return path.open("w", encoding="utf-8")


def _remove_if_empty(path: Path) -> None:
    with suppress(OSError):
        if path.stat().st_size == 0:
            path.unlink()
