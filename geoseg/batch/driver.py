"""Who is to do what next: a state machine that is told events and gives orders; it knows no clock, file or Dask."""

import heapq
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from geoseg.batch.event import (
    Broke,
    Died,
    Event,
    Fetch,
    Finished,
    Interrupted,
    Offered,
    Order,
    Record,
    Restore,
    Returned,
    Staffed,
    Stop,
    Submit,
    Ticked,
    Ticket,
)
from geoseg.batch.policy import CANARIES, Pace, Policy, bounded, judge

FETCH = 1000
"""Pending scenes asked for at once."""


class Driver:
    """A batch in progress. Every scene offered ends once, or is pending or suspect when the batch stops.

    Scenes go out in packs, each to one worker; a window of packs keeps the workers busy and no more. Suspects, in
    which a worker has died, are kept to the end and then go out alone, so that a second death convicts the right one.
    """

    def __init__(self, policy: Policy, *, workers: int, suspects: Iterable[Ticket] = ()) -> None:
        self._policy = policy
        self._pace = Pace(policy)
        self._workers = self._expected = workers
        self._short_since: float | None = None
        self._deserted_since: float | None = None
        self._ready: deque[Ticket] = deque()
        self._later: list[tuple[float, int, Ticket]] = []
        self._suspects = list(suspects)
        self._out: dict[int, tuple[Ticket, int]] = {}
        self._packs: dict[int, int] = {}
        self._pack_number = 0
        self._cursor = 0
        self._fetching = self._exhausted = False
        self._canaries = 0
        self._streak: tuple[str, int] = ("", 0)
        self._stopping: Stop | None = None
        self.stopped: Stop | None = None
        """Set once; no order follows."""

    @property
    def out(self) -> int:
        """Scenes that workers have now."""
        return len(self._out)

    @property
    def draining(self) -> bool:
        """No scene goes out any more; those that are out may still end."""
        return self._stopping is not None

    @property
    def window(self) -> int:
        """Packs that may be out: every worker's, and half as many waiting beside them."""
        if self._canaries < CANARIES:
            return min(1, self._workers)
        return self._workers + math.ceil(self._workers / 2)

    @property
    def wake_at(self) -> float | None:
        """When it wants to be told `Ticked`, if nothing else happens."""
        times = []
        if not self._stopping:
            times += [self._later[0][0]] if self._later else []
            times += [min(one.not_before for one in self._suspects)] if self._suspects and not self._out else []
        if self._short_since is not None:
            times.append(self._short_since + self._policy.missing_s)
        if self._deserted_since is not None:
            times.append(self._deserted_since + self._policy.deserted_s)
        return min(times, default=None)

    def on(self, event: Event) -> list[Order]:
        """The orders that follow from an event, to be carried out in their order.

        Endings of scenes that are not out (a worker that was given up reports after all) change nothing.
        """
        if self.stopped:
            return []
        orders: list[Order] = []
        match event:
            case Offered():
                self._take(event)
            case Finished() | Broke() | Died() | Returned():
                orders += self._end(event)
            case Staffed():
                self._workers = event.workers
                self._expected = max(self._expected, event.workers)
            case Interrupted():
                self._stop(130, f"interrupted by {event.by}: the same command resumes")
            case Ticked():
                pass
        return orders + self._watch(event.at) + self._continue(event.at)

    def _take(self, event: Offered) -> None:
        self._fetching = False
        self._exhausted = not event.tickets
        for ticket in event.tickets:
            self._cursor = max(self._cursor, ticket.row)
            self._wait(bounded(ticket, event.at, self._policy), event.at)

    def _wait(self, ticket: Ticket, at: float) -> None:
        if ticket.not_before > at:
            heapq.heappush(self._later, (ticket.not_before, ticket.row, ticket))
        else:
            self._ready.append(ticket)

    def _end(self, event: Finished | Broke | Died | Returned) -> list[Order]:
        """An attempt is over: its place in the window is free, and the scene goes where the verdict sends it."""
        if event.row not in self._out:
            return []
        ticket, pack = self._out.pop(event.row)
        self._packs[pack] -= 1
        if not self._packs[pack]:
            del self._packs[pack]
        if isinstance(event, Finished):
            self._canaries = CANARIES
            self._pace.saw(event.seconds, ticket.size)
        else:
            self._canaries += 1
        verdict = judge(ticket, event, self._policy)
        if isinstance(event, Broke) and event.kind in {"disk", "job"}:
            self._stop(4, event.error)
        elif verdict.state == "suspect":
            self._suspects.append(verdict.ticket)
        elif verdict.state == "pending":
            self._wait(verdict.ticket, event.at)
        self._count(verdict)
        return [verdict]

    def _count(self, verdict: Record) -> None:
        """Too many failures of one class in a row are no accident of the scenes."""
        if verdict.outcome in {"done", "skipped"}:
            self._streak = ("", 0)
        elif verdict.outcome != "returned" and verdict.code:
            code, length = self._streak
            self._streak = (verdict.code, length + 1 if verdict.code == code else 1)
            if 0 < self._policy.breaker < self._streak[1]:
                self._stop(
                    4,
                    f"{self._streak[1]} failures in a row, all of class {verdict.code!r}, which looks systematic "
                    f"(last: {verdict.error}); mend it and run the same command again, with --retry failed "
                    "for those that failed of it",
                )

    def _stop(self, code: int, reason: str) -> None:
        """Lets what is out come home; the first reason is the one that counts."""
        self._stopping = self._stopping or Stop(code=code, reason=reason)

    def _watch(self, at: float) -> list[Order]:
        """Workers that stay away are started again; without any for long, the batch stops."""
        short, deserted = self._workers < self._expected, self._workers == 0
        self._short_since = (at if self._short_since is None else self._short_since) if short else None
        self._deserted_since = (at if self._deserted_since is None else self._deserted_since) if deserted else None
        if self._deserted_since is not None and at - self._deserted_since >= self._policy.deserted_s:
            seconds = at - self._deserted_since
            self._stop(4, f"no worker for {seconds:.0f} s: look into their logs, then run the same command again")
            return [self._halt()]
        if self._short_since is not None and at - self._short_since >= self._policy.missing_s:
            self._short_since = at
            return [Restore()]
        return []

    def _continue(self, at: float) -> list[Order]:
        if self.stopped:
            return []
        if self._stopping:
            return [] if self._out else [self._halt()]
        while self._later and self._later[0][0] <= at:
            self._ready.append(heapq.heappop(self._later)[2])
        if not self._exhausted and len(self._ready) < self.window * self._pace.pack:
            return self._fetch()
        orders: list[Order] = []
        while self._ready and len(self._packs) < self.window:
            orders += self._submit(self._next_pack(), at)
        if not self._exhausted or self._ready or self._later or self._out:
            return orders
        return orders + self._quarantine_lane(at)

    def _fetch(self) -> list[Order]:
        if self._fetching:
            return []
        self._fetching = True
        return [Fetch(after=self._cursor, count=FETCH)]

    def _next_pack(self) -> list[Ticket]:
        """Large enough to be worth an order, small enough that the last ones are shared between the workers."""
        share = math.ceil(len(self._ready) / max(1, 2 * self._workers))
        size = min(self._pace.pack, max(1, share)) if self._canaries >= CANARIES else 1
        return [self._ready.popleft() for _ in range(min(size, len(self._ready)))]

    def _submit(self, tickets: list[Ticket], at: float) -> list[Order]:
        self._pack_number += 1
        self._packs[self._pack_number] = len(tickets)
        begun = [replace(one, attempts=one.attempts + 1) for one in tickets]
        self._out |= {one.row: (one, self._pack_number) for one in begun}
        records = [Record(at=at, ticket=one, state="running", outcome="begun") for one in begun]
        return [*records, Submit(tickets=tuple(begun), timeout_s=self._pace.timeout_s(begun))]

    def _quarantine_lane(self, at: float) -> list[Order]:
        """One suspect alone, nothing else being out; when there is none left, the batch is over."""
        if not self._suspects:
            self._stop(0, "every scene has ended")
            return [self._halt()]
        first = min(self._suspects, key=lambda one: (one.not_before, one.row))
        if first.not_before > at or not self._workers:
            return []
        self._suspects.remove(first)
        return self._submit([first], at)

    def _halt(self) -> Stop:
        self.stopped = self._stopping or Stop(code=0, reason="every scene has ended")
        return self.stopped
