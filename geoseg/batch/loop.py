"""A batch from the first scene to the last, top to bottom: the ledger's scenes, the driver's orders, the workers."""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Final, Protocol

from geoseg.batch.driver import Driver
from geoseg.batch.event import (
    Event,
    Fetch,
    Interrupted,
    Offered,
    Order,
    Record,
    Restore,
    Staffed,
    State,
    Stop,
    Submit,
    Ticked,
)
from geoseg.batch.executor import Executor
from geoseg.batch.ledger import Ledger
from geoseg.batch.policy import Policy, bounded
from geoseg.errors import FullDiskError

_WAIT_SECONDS: Final = 1.0
"""Longest wait: workers that came or went are noticed by then."""


class Listener(Protocol):
    """Is told how a batch goes on."""

    def begin(self, counts: dict[State, int], workers: int) -> None:
        """It starts, with so many scenes by state."""

    def ended(self, record: Record) -> None:
        """An attempt at a scene is over."""

    def say(self, text: str) -> None:
        """Something the user should know, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How a batch, or its shard, stands when it stops."""

    stop: Stop
    counts: dict[State, int]

    @staticmethod
    def of_finished(counts: dict[State, int]) -> "Summary":
        """Of a batch in which nothing was left to do."""
        return Summary(stop=Stop(code=0, reason="every scene had ended before"), counts=counts)

    @property
    def exit_code(self) -> int:
        """0 all done, 3 some scenes failed or are quarantined, 4 stopped by policy, 130 interrupted."""
        failed = self.counts["failed"] + self.counts["quarantined"]
        return self.stop.code or (3 if failed else 0)


def drive(ledger: Ledger, executor: Executor, policy: Policy, listener: Listener) -> Summary:
    """Works at a ledger's scenes until all have ended or the driver stops.

    The first SIGINT or SIGTERM lets the scenes that are out come home; the second ends the process at once. Either
    way the same ledger resumes.

    Raises:
        ResourceError: the ledger cannot be written, for another reason than a full disk.
    """
    try:
        stop = _resume(ledger, executor, policy, listener)
        ledger.note(time.time(), "stop", stop.reason)
    except FullDiskError as error:
        stop = Stop(code=4, reason=str(error))
    return Summary(stop=stop, counts=ledger.counts())


def _resume(ledger: Ledger, executor: Executor, policy: Policy, listener: Listener) -> Stop:
    clock = _even_clock()
    with ledger.session(clock()) as taken_back:
        ledger.note(clock(), "begin", f"{executor.workers} workers, {taken_back} scenes taken back")
        suspects = [bounded(one, clock(), policy) for one in ledger.suspects()]
        driver = Driver(policy, workers=executor.workers, suspects=suspects)
        listener.begin(ledger.counts(), executor.workers)
        with _interruptions(executor, ledger.marker) as interruptions:
            return _until_it_stops(_Hands(driver, ledger, executor, listener, clock), interruptions)


def _even_clock() -> Callable[[], float]:
    """The time of day, which no correction of the clock moves while the batch runs: waits are as long as they say."""
    begin = time.time() - time.monotonic()
    return lambda: begin + time.monotonic()


def _until_it_stops(hands: "_Hands", interruptions: "deque[str]") -> Stop:
    """Events in, orders out; by the clock of this machine, whatever that of a worker says."""
    driver, executor, clock = hands.driver, hands.executor, hands.clock
    workers, recalled = executor.workers, False
    hands.carry_out([Ticked(at=clock())])
    while driver.stopped is None:
        wake = driver.wake_at
        wait = _WAIT_SECONDS if wake is None else min(_WAIT_SECONDS, max(0.0, wake - clock()))
        endings = executor.wait(wait)
        now = clock()
        events: list[Event] = [replace(one, at=now) for one in endings]
        while interruptions:
            by = interruptions.popleft()
            hands.listener.say(f"{by}: scenes that were begun are finished; once more to stop at once")
            events.append(Interrupted(at=now, by=by))
        if executor.workers != workers:
            workers = executor.workers
            events.append(Staffed(at=now, workers=workers))
        hands.carry_out([*events, Ticked(at=now)])
        if driver.draining and not recalled:
            recalled = True
            executor.recall()
    return driver.stopped


@dataclass(frozen=True, slots=True)
class _Hands:
    """What carries the driver's orders out."""

    driver: Driver
    ledger: Ledger
    executor: Executor
    listener: Listener
    clock: Callable[[], float]

    def carry_out(self, events: Iterable[Event]) -> None:
        """All orders that follow; what is to be written is written in one go, before any scene goes out."""
        orders = list(self._orders(events))
        records = [order for order in orders if isinstance(order, Record)]
        if records:
            self.ledger.write(records)
        for record in records:
            if record.outcome != "begun":
                self.listener.ended(record)
        for order in orders:
            if isinstance(order, Submit):
                self.executor.submit(order)
            elif isinstance(order, Restore):
                self.listener.say("workers are missing: they are started again")
                self.executor.restore()

    def _orders(self, events: Iterable[Event]) -> Iterator[Order]:
        """What follows from events; the ledger's answers are events too."""
        waiting = deque(events)
        while waiting:
            for order in self.driver.on(waiting.popleft()):
                if isinstance(order, Fetch):
                    tickets = self.ledger.pending(after=order.after, count=order.count)
                    waiting.append(Offered(at=self.clock(), tickets=tickets))
                else:
                    yield order


@contextmanager
def _interruptions(executor: Executor, marker: Path) -> Iterator["deque[str]"]:
    """The names of the stop signals that came; the second one ends the process, as wanted: no scene is to blame.

    Only in the main thread.
    """
    came: deque[str] = deque()
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    seen: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        if len(seen) > 1:
            with suppress(OSError):
                marker.unlink(missing_ok=True)
            os._exit(130)
        came.append(signal.Signals(number).name)
        executor.wake()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, old in before.items():
            signal.signal(number, old if old is not None else signal.SIG_DFL)
