"""Scenes one after another in a process of their own, without Dask; when it dies, the guilty scene is known exactly."""

import os
import pickle
import select
import signal
import subprocess
import sys
import time
from collections import deque
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Final

from geoseg.batch.event import Died, Ending, Returned, Submit, Ticket
from geoseg.batch.worker import HUNG, Assignment, has_hung, worker_name
from geoseg.errors import ResourceError

_STOP_SECONDS: Final = 5.0
_BROKEN_PIPE: Final = (EOFError, OSError, pickle.UnpicklingError)


class Here:
    """One child process; the scenes it is to do wait in this one, so that a death touches only one of them."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._queue: deque[tuple[Ticket, float]] = deque()
        self._current: Ticket | None = None
        self._endings: list[Ending] = []
        self._child: _Child | None = None
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)

    def __enter__(self) -> "Here":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.stop()
        os.close(self._wake_read)
        os.close(self._wake_write)

    @property
    def workers(self) -> int:
        """One, always: a child that died is started again with the next scene."""
        return 1

    def submit(self, order: Submit) -> None:
        """Queued behind what is there.

        Raises:
            ResourceError: a worker process cannot be started.
        """
        self._queue.extend((ticket, order.timeout_s) for ticket in order.tickets)
        self._feed()

    def wait(self, seconds: float) -> list[Ending]:
        """The endings of scenes, as they come.

        Raises:
            ResourceError: a worker process cannot be started.
        """
        if not self._endings:
            self._listen(seconds)
        endings, self._endings = self._endings, []
        return endings

    def wake(self) -> None:
        """Ends a `wait`."""
        os.write(self._wake_write, b"!")

    def recall(self) -> None:
        """The child has only one scene; the others wait here."""
        self._endings += [Returned(at=time.time(), row=ticket.row) for ticket, _ in self._queue]
        self._queue.clear()

    def restore(self) -> None:
        """Nothing to do: the next scene starts a child."""

    def _listen(self, seconds: float) -> None:
        pipe = self._child.pipe if self._child is not None and self._current is not None else None
        sources: list[int | _Pipe] = [self._wake_read] if pipe is None else [self._wake_read, pipe]
        ready, _, _ = select.select(sources, [], [], max(0.0, seconds))
        if self._wake_read in ready:
            os.read(self._wake_read, 1000)
        if pipe is None or pipe not in ready:
            return
        try:
            self._endings.append(pipe.recv())
            self._current = None
        except _BROKEN_PIPE:
            self._bury()
        self._feed()

    def _feed(self) -> None:
        """Gives the child its next scene when it has none."""
        while self._queue and self._current is None:
            self._child = self._child or _Child(self._assignment)
            try:
                self._child.pipe.send(self._queue[0])
            except OSError:  # it died while it had nothing to do: nobody is guilty
                self._child.stop()
                self._child = None
                continue
            self._current = self._queue.popleft()[0]

    def _bury(self) -> None:
        """The child is dead, and the scene it was at is guilty."""
        if self._child is None or self._current is None:
            return
        status = self._child.stop()
        hung = has_hung(Path(self._assignment.out), worker_name(self._child.pid))
        reason = HUNG if hung else f"its worker died ({status})"
        self._endings.append(Died(at=time.time(), row=self._current.row, reason=reason, hung=hung))
        self._child = self._current = None


class _Child:
    """The process, and the pipe to it."""

    def __init__(self, assignment: Assignment) -> None:
        from_child, to_parent = os.pipe()
        from_parent, to_child = os.pipe()
        command = [sys.executable, "-m", "geoseg.batch.child", str(from_parent), str(to_parent)]
        self._process = subprocess.Popen(command, pass_fds=(from_parent, to_parent), stdin=subprocess.DEVNULL)
        os.close(from_parent)
        os.close(to_parent)
        self.pid = self._process.pid
        self.pipe = _Pipe(from_child, to_child)
        try:
            self.pipe.send(assignment)
            self.pipe.recv()
        except _BROKEN_PIPE as error:
            raise ResourceError(
                f"a worker process cannot be started ({self.stop()}): see the lines above, and geoseg doctor"
            ) from error

    def stop(self) -> str:
        """Ends it; says how it ended."""
        self.pipe.close()
        try:
            code = self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


class _Pipe:
    """Two one-way connections as one."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = Connection(read, writable=False), Connection(write, readable=False)

    def fileno(self) -> int:
        """For select."""
        return self._read.fileno()

    def send(self, value: object) -> None:
        """Pickled."""
        self._write.send(value)

    def recv(self) -> "Ending":
        """Waits for the next."""
        found: Ending = self._read.recv()
        return found

    def close(self) -> None:
        """The other side sees the end."""
        self._read.close()
        self._write.close()
