"""Packs of scenes on Dask workers: what is submitted, what came back, who is guilty of a worker's death."""

import os
import queue
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType

from distributed import Client, Future, KilledWorker, get_worker

from geoseg.batch.claim import Claim, ClaimFile, read_claim
from geoseg.batch.cluster import Cluster
from geoseg.batch.event import Broke, Died, Ending, Returned, Submit
from geoseg.batch.place import Place
from geoseg.batch.worker import HUNG, Assignment, explain, has_hung, try_scene


class OverDask:
    """Workers of a Dask scheduler. Pixels never reach it: a pack is a few kB on the way out and back."""

    def __init__(self, assignment: Assignment, cluster: Cluster, *, session: str) -> None:
        """Uses workers that are there, or come.

        Args:
            assignment: what is the same for all scenes.
            cluster: where they work.
            session: names this driver's packs; no other driver of the folder has the same.
        """
        self._assignment, self._cluster, self._session = assignment, cluster, session
        self._claims = Place(out=Path(assignment.out)).claims
        self._claims.mkdir(parents=True, exist_ok=True)
        self._recall = self._claims / f"{session}-recall"
        self._packs: dict[str, tuple[Submit, Future]] = {}
        self._arrived: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._number = 0
        self._client: Client | None = None

    def __enter__(self) -> "OverDask":
        try:
            self._client = self._cluster.open()
        except BaseException:
            self._cluster.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cluster.close()
        self._recall.unlink(missing_ok=True)

    @property
    def workers(self) -> int:
        """Processes that are registered with the scheduler."""
        return self._cluster.workers

    def submit(self, order: Submit) -> None:
        """One task for the whole pack."""
        if self._client is None:
            raise RuntimeError("the executor is used as a context")
        self._number += 1
        key = f"{self._session}-{self._number}"
        future = self._client.submit(
            do_pack,
            self._assignment,
            order,
            claim=str(self._claims / key),
            recall=str(self._recall),
            key=key,
            pure=False,
            retries=0,
        )
        self._packs[key] = (order, future)
        future.add_done_callback(partial(_arrive, self._arrived, key))

    def wait(self, seconds: float) -> list[Ending]:
        """The endings of packs that came home."""
        endings: list[Ending] = []
        try:
            key = self._arrived.get(timeout=max(0.0, seconds))
            while True:
                if key is not None and key in self._packs:
                    endings += self._collect(key)
                key = self._arrived.get_nowait()
        except queue.Empty:
            return endings

    def wake(self) -> None:
        """Ends a `wait`; a SimpleQueue may be used in a signal handler."""
        self._arrived.put(None)

    def recall(self) -> None:
        """A file tells the workers, wherever they are; where the disk is full, they stop of themselves."""
        with suppress(OSError):
            self._recall.touch()

    def restore(self) -> None:
        """Asks the cluster for what is missing."""
        self._cluster.restore()

    def _collect(self, key: str) -> list[Ending]:
        """What became of the scenes of a pack; its future is let go, so that Dask forgets it."""
        order, future = self._packs.pop(key)
        path = self._claims / key
        try:
            found: list[Ending] = future.result(timeout=60)
            return found
        except (KilledWorker, CancelledError, TimeoutError, OSError):
            return self._judge(order, read_claim(path))
        except Exception as error:  # the task could not even be begun there: no geoseg, another version
            text = f"a worker cannot do its task ({type(error).__name__}: {' '.join(str(error).split())[:300]})"
            now = time.time()
            return [Broke(at=now, row=one.row, kind="job", code="worker", error=text) for one in order.tickets]
        finally:
            future.release()
            path.unlink(missing_ok=True)

    def _judge(self, order: Submit, claim: Claim) -> list[Ending]:
        """The scene that the dead worker had begun is guilty; those before it have ended, those after are untouched."""
        endings: list[Ending] = []
        for ticket in order.tickets:
            if ticket.row in claim.endings:
                endings.append(claim.endings[ticket.row])
            elif ticket.row == claim.begun:
                endings.append(_died(self._assignment, ticket.row, claim.worker))
            else:
                endings.append(Returned(at=time.time(), row=ticket.row))
        return endings


def do_pack(assignment: Assignment, order: Submit, *, claim: str, recall: str) -> list[Ending]:
    """Inside a worker: the scenes of a pack one after another, each claimed in a file before it is begun.

    A claim that is there already is of a worker that died at this pack, where a scheduler not ours sent it again.
    When a scene breaks of what is no fault of its own, or the file `recall` appears, the rest comes back untouched.
    """
    threads = get_worker().state.nthreads
    if threads != 1:  # the hang guard is one for a process
        text = f"a Dask worker has {threads} threads where one is needed: start the workers with --nthreads 1"
        return [Broke(at=time.time(), row=one.row, kind="job", code="worker", error=text) for one in order.tickets]
    endings: list[Ending] = []
    try:
        for ending in _endings(assignment, order, Path(claim), recall):
            endings.append(ending)
    except OSError as error:  # the claim cannot be written, and without one nothing is begun
        kind, code, text = explain(error)
        ended = {one.row for one in endings}
        left = [one.row for one in order.tickets if one.row not in ended]
        endings += [Broke(at=time.time(), row=row, kind=kind, code=code, error=text) for row in left]
    return endings


def _endings(assignment: Assignment, order: Submit, claim: Path, recall: str) -> Iterator[Ending]:
    before, stop = read_claim(claim), False
    with ClaimFile(claim) as file:
        for ticket in order.tickets:
            if ticket.row in before.endings:
                yield before.endings[ticket.row]
            elif ticket.row == before.begun:
                died = _died(assignment, ticket.row, before.worker)
                file.end(died)
                yield died
            elif stop or os.path.exists(recall):
                yield Returned(at=time.time(), row=ticket.row)
            else:
                file.begin(ticket.row)
                ending = try_scene(assignment, ticket, timeout_s=order.timeout_s)
                stop = isinstance(ending, Broke) and ending.kind in {"disk", "job"}
                yield ending
                file.end(ending)


def _died(assignment: Assignment, row: int, worker: str) -> Died:
    hung = has_hung(Path(assignment.out), worker)
    reason = HUNG if hung else "its worker died"
    return Died(at=time.time(), row=row, reason=reason, hung=hung)


def _arrive(arrived: "queue.SimpleQueue[str | None]", key: str, future: Future) -> None:
    """Called by Dask in a thread of its own."""
    arrived.put(key)
