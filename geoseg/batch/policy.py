"""What is done with a scene that did not finish, and how long one may take; who is asked to do what is `driver`'s."""

import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

from geoseg.batch.event import Broke, Died, Finished, Record, Returned, Ticket
from geoseg.errors import SettingsError

MAX_DEATHS = 2
"""The second worker's death in the same scene, alone on its worker, is no coincidence."""
MAX_RETURNS = 20
"""A scene that loses its worker to others this often is not given another: something else is wrong."""
CANARIES = 5
"""Scenes tried one at a time before all workers get some, unless one finishes earlier."""
_MOST_JITTER = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The limits of a batch. Times are seconds."""

    attempts: int = 3
    """Tries of a scene whose errors may pass."""
    backoff_s: float = 2.0
    """Wait before the second try; doubled for each further one."""
    backoff_most_s: float = 300.0
    breaker: int = 20
    """More failures in a row than this, all of one class, stop the batch; 0 = never."""
    hang_factor: float = 20.0
    """A scene hangs when it takes this many times the median, or what the median is for its size."""
    hang_min_s: float = 600.0
    """… but no earlier than this."""
    pack_s: float = 2.0
    """Scenes are packed so that a worker's order takes about this long."""
    pack_most: int = 200
    missing_s: float = 60.0
    """Workers missing for so long are started again."""
    deserted_s: float = 300.0
    """No worker at all for so long stops the batch."""

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.breaker < 0 or self.pack_most < 1 or self.hang_min_s <= 0:
            raise SettingsError(f"{self}: attempts and pack_most are at least 1, breaker 0, hang_min_s above 0")


class Pace:
    """How long scenes take, from the last hundred that finished."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._seconds: deque[float] = deque(maxlen=101)
        self._per_byte: deque[float] = deque(maxlen=101)
        self._medians: tuple[float, float] | None = None

    def saw(self, seconds: float, size: int | None = None) -> None:
        """A scene of so many bytes finished."""
        self._seconds.append(seconds)
        if size:
            self._per_byte.append(seconds / size)
        self._medians = None

    def timeout_s(self, tickets: Iterable[Ticket]) -> float:
        """When one of these scenes is taken to hang: by the typical scene, or by its size, whichever is longer.

        Generous while nothing is known.
        """
        least = self._policy.hang_min_s
        if not self._seconds:
            return 6 * least
        typical, per_byte = self._typical
        longest = max((per_byte * (ticket.size or 0) for ticket in tickets), default=0.0)
        return max(least, self._policy.hang_factor * max(typical, longest))

    @property
    def pack(self) -> int:
        """Scenes in one order."""
        if not self._seconds:
            return 1
        return max(1, min(self._policy.pack_most, int(self._policy.pack_s / max(self._typical[0], 1e-6))))

    @property
    def _typical(self) -> tuple[float, float]:
        """Medians of (seconds, seconds per byte)."""
        if self._medians is None:
            self._medians = median(self._seconds), median(self._per_byte) if self._per_byte else 0.0
        return self._medians


def bounded(ticket: Ticket, at: float, policy: Policy) -> Ticket:
    """Waits from now on no longer than any wait is: the clock by which it was put off may have been ahead."""
    return replace(ticket, not_before=min(ticket.not_before, at + _MOST_JITTER * policy.backoff_most_s))


def judge(ticket: Ticket, event: Finished | Broke | Died | Returned, policy: Policy) -> Record:
    """What becomes of a scene after this ending of its attempt."""
    match event:
        case Finished():
            skipped = bool(event.result.get("skipped"))
            return Record(
                at=event.at,
                ticket=ticket,
                state="skipped" if skipped else "done",
                outcome="skipped" if skipped else "done",
                seconds=event.seconds,
                result=event.result,
            )
        case Broke():
            return _judge_broken(ticket, event, policy)
        case Died():
            return _judge_dead(ticket, event)
        case Returned():
            return _judge_returned(ticket, event)


def _judge_broken(ticket: Ticket, event: Broke, policy: Policy) -> Record:
    if event.kind in {"disk", "job"}:  # not the scene's fault: the batch stops
        return Record(
            at=event.at,
            ticket=_refunded(ticket),
            state=_waiting(ticket),
            outcome="broke",
            code=event.code,
            error=event.error,
        )
    if event.kind == "transient" and ticket.attempts < policy.attempts:
        wait = min(policy.backoff_s * 2 ** (ticket.attempts - 1), policy.backoff_most_s) * _jitter(ticket)
        later = replace(ticket, not_before=event.at + wait)
        return Record(
            at=event.at, ticket=later, state=_waiting(later), outcome="broke", code=event.code, error=event.error
        )
    return Record(
        at=event.at,
        ticket=ticket,
        state="failed",
        outcome="broke",
        code=event.code,
        error=event.error,
        seconds=event.seconds,
    )


def _judge_dead(ticket: Ticket, event: Died) -> Record:
    dead = replace(ticket, deaths=ticket.deaths + 1)
    final = dead.deaths >= MAX_DEATHS
    return Record(
        at=event.at,
        ticket=dead,
        state="quarantined" if final else "suspect",
        outcome="hung" if event.hung else "died",
        code="hang" if event.hung else "death",
        error=event.reason,
    )


def _judge_returned(ticket: Ticket, event: Returned) -> Record:
    back = replace(_refunded(ticket), returns=ticket.returns + 1)
    if back.returns > MAX_RETURNS:
        error = f"lost its worker {back.returns} times without being begun; see the workers' logs"
        return Record(at=event.at, ticket=back, state="failed", outcome="returned", code="lost", error=error)
    return Record(at=event.at, ticket=back, state=_waiting(back), outcome="returned")


def _waiting(ticket: Ticket) -> Literal["pending", "suspect"]:
    """A scene in which a worker has died stays a suspect."""
    return "suspect" if ticket.deaths else "pending"


def _refunded(ticket: Ticket) -> Ticket:
    return replace(ticket, attempts=ticket.attempts - 1)


def _jitter(ticket: Ticket) -> float:
    """0.5 to 1.5, the same for the same attempt, so that scenes which broke together do not return together."""
    return _MOST_JITTER - 1 + zlib.crc32(f"{ticket.scene}-{ticket.attempts}".encode()) / 2**32
