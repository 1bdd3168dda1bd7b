"""What a worker is at: a file written scene by scene, read by the driver when the worker has died; no Dask."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final

from geoseg.batch.event import Broke, Died, Ending, Finished
from geoseg.batch.worker import worker_name

_KINDS: Final[dict[type[Finished | Broke | Died], str]] = {Finished: "finished", Broke: "broke", Died: "died"}
_TYPES: Final = {name: kind for kind, name in _KINDS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """How far a worker has come with a pack."""

    worker: str = ""
    """Its name; empty where none has begun."""
    begun: int | None = None
    """The row it is at, or was at when it died."""
    endings: dict[int, Ending] = field(default_factory=dict)
    """Of the rows it has done."""


class ClaimFile:
    """A claim being written; use as a context. Each line is with the operating system before the next step."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("a", encoding="utf-8")
        self._write({"worker": worker_name()})

    def __enter__(self) -> "ClaimFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def begin(self, row: int) -> None:
        """From now on a death of this process is of this scene."""
        self._write({"begin": row})

    def end(self, ending: Finished | Broke | Died) -> None:
        """This scene has ended; of one that killed the worker before, the next one says so."""
        self._write({_KINDS[type(ending)]: asdict(ending)})

    def _write(self, line: dict[str, object]) -> None:
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()


def read_claim(path: Path) -> Claim:
    """What a worker had written; a last line that was cut off does not count, and no file is an empty claim."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return Claim()
    worker, begun, endings = "", None, dict[int, Ending]()
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            break
        if "worker" in said:
            worker = said["worker"]
        elif "begin" in said:
            begun = said["begin"]
        else:
            ((kind, fields),) = said.items()
            ending = _TYPES[kind](**fields)
            endings[ending.row] = ending
            begun = None
    return Claim(worker=worker, begun=begun, endings=endings)
