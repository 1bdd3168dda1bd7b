"""What the driver of a batch is told and what it orders: plain values, no clock, no file, no Dask."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["pending", "running", "done", "skipped", "failed", "suspect", "quarantined"]
Kind = Literal["transient", "data", "internal", "disk", "job"]
"""Why a scene broke: worth another try; the scene itself; our bug; no disk left; a worker that cannot do this job."""
FINAL = frozenset({"done", "skipped", "failed", "quarantined"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A scene as the manifest has it."""

    scene: str
    """Its id: names its folder."""
    uri: str
    fingerprint: str
    """Of its files when the manifest was frozen; empty where they were not there."""
    size: int | None = None
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A scene as the ledger has it."""

    row: int
    """Its number in the ledger, from 1, in the order of the manifest."""
    scene: str
    """Its id: names its folder."""
    uri: str
    fingerprint: str
    size: int | None = None
    """Bytes."""
    attempts: int = 0
    """Times it was begun and not through another's fault stopped."""
    deaths: int = 0
    """Workers that died while they worked at it."""
    returns: int = 0
    """Times in this session that it came back untouched because its worker died of another scene."""
    not_before: float = 0.0
    """Time before which it is not tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """The ledger's answer to `Fetch`."""

    at: float
    tickets: tuple[Ticket, ...]
    """Pending scenes; none = there are no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A scene's products are complete."""

    at: float
    row: int
    seconds: float
    result: Mapping[str, Any] = field(default_factory=dict)
    """Small: where they are, areas by class. Its `skipped` is true where they were there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broke:
    """A scene ended with an error; nothing was left of it."""

    at: float
    row: int
    kind: Kind
    code: str
    """Class of the error, for counting: scene, bundle, disk, timeout …"""
    error: str
    """Value, place and remedy, one line."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Died:
    """A worker died while it worked at this scene."""

    at: float
    row: int
    reason: str = "its worker died"
    hung: bool = False
    """It was killed because it took too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """A scene came back untouched: its worker died of another one, or was taken away."""

    at: float
    row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Staffed:
    """So many workers are there now."""

    at: float
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """Somebody wants the batch to stop; it can be resumed."""

    at: float
    by: str = "SIGINT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked:
    """Time has passed."""

    at: float


Ending = Finished | Broke | Died | Returned
Event = Offered | Ending | Staffed | Interrupted | Ticked


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Offer this many pending scenes with a row above `after`."""

    after: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Have one worker do these scenes, one after another."""

    tickets: tuple[Ticket, ...]
    timeout_s: float
    """A scene that takes longer hangs: its worker is to die."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Write down what became of a scene."""

    at: float
    ticket: Ticket
    state: State
    outcome: Literal["begun", "done", "skipped", "broke", "died", "hung", "returned"]
    """Of this attempt."""
    code: str | None = None
    error: str | None = None
    seconds: float | None = None
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """Workers are missing: start them again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The batch is over, for now or for good."""

    code: int
    """Exit code: 0 all scenes have ended (which of them failed the ledger says), 4 by policy, 130 interrupted."""
    reason: str


Order = Fetch | Submit | Record | Restore | Stop
