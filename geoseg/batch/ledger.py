"""What became of every scene of a batch, in SQLite: one writer, rebuildable from the products; decides nothing."""

import json
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from geoseg.batch.event import Entry, Record, State, Ticket
from geoseg.batch.place import is_full
from geoseg.errors import FullDiskError, GeosegError, ProductError, ResourceError

STATES: Final[tuple[State, ...]] = ("pending", "running", "suspect", "done", "skipped", "failed", "quarantined")
FORMAT: Final = "geoseg ledger 1"
ABANDONED_SUSPECT: Final = 2
"""A scene that was out when the whole batch died, twice, is tried alone from then on."""
ABANDONED_QUARANTINED: Final = 4
"""… and after four times no more: it takes the batch with it, out of memory as a rule."""
BEGUN: Final = "-begun"
"""Ends the name of the file that is there while a driver works with a ledger; one that died leaves it behind."""
SUFFIXES: Final = ("-wal", "-shm", "-journal", BEGUN)
"""End the names of files that belong to a ledger."""
_FULL_BYTES: Final = 2**20
"""Less free space than this is a full disk."""
_BUSY_SECONDS: Final = 60.0
"""A reader may hold the file so long before the driver gives up."""
_TICKET: Final = "id, scene, uri, fingerprint, size, attempts, deaths, not_before"
_SCHEMA: Final = f"""
create table meta(key text primary key, value text not null);
create table scene(
  id integer primary key, scene text not null unique, uri text not null, fingerprint text not null, size integer,
  state text not null default 'pending' check(state in {STATES}),
  attempts integer not null default 0, deaths integer not null default 0, not_before real not null default 0,
  worker text, started real, finished real, seconds real, output text, job text,
  error_code text, error text, areas text);
create index scene_by_state on scene(state);
create table attempt(
  scene integer not null, n integer not null, finished real, worker text, outcome text not null, error text,
  primary key(scene, n)) without rowid;
create table event(at real not null, kind text not null, detail text);
"""


class Ledger:
    """An open ledger; a context manager, for one thread of one process."""

    def __init__(self, path: Path, *, shared: bool = False, read_only: bool = False) -> None:
        """Opens the ledger at `path`, which `create` has made.

        Args:
            path: the SQLite file.
            shared: on a network file system, where SQLite's quicker journal would need memory shared by one host.
            read_only: look at it while its driver may be writing.

        Raises:
            ProductError: there is none, or it is damaged.
        """
        if not path.is_file():
            raise ProductError(f"{path} is not there: run geoseg batch repair, which makes it from the products")
        self.path = path
        with _translated(path):
            if read_only:
                self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
            else:
                self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
                self._db.execute(f"pragma journal_mode={'truncate' if shared else 'wal'}")
                self._db.execute("pragma synchronous=normal")
            found = self._db.execute("select value from meta where key = 'format'").fetchone()
        if found != (FORMAT,):
            raise ProductError(f"{path} is of another version ({found}): use the geoseg that made it, or batch repair")

    @classmethod
    def create(cls, path: Path, scenes: Iterable[Entry], *, job: str, shared: bool = False) -> "Ledger":
        """A new ledger with all scenes pending; it appears at `path` whole or not at all.

        Raises:
            ResourceError: it cannot be written.
        """
        beside = path.with_name(f".{path.name}.tmp")
        with _translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.unlink(missing_ok=True)
            db = sqlite3.connect(beside, isolation_level=None)
            try:
                db.execute("pragma journal_mode=off")  # a file that is not yet there needs no way back
                db.executescript(_SCHEMA)
                db.execute("begin")
                db.executemany("insert into meta values(?, ?)", [("format", FORMAT), ("job", job)])
                db.executemany(
                    "insert into scene(scene, uri, fingerprint, size) values(?, ?, ?, ?)",
                    ((one.scene, one.uri, one.fingerprint, one.size) for one in scenes),
                )
                db.execute("commit")
            except BaseException:
                beside.unlink(missing_ok=True)
                raise
            finally:
                db.close()
            for suffix in SUFFIXES:
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            beside.replace(path)
        return cls(path, shared=shared)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    @property
    def job(self) -> str:
        """What the batch's frozen settings hash to."""
        ((found,),) = self._read("select value from meta where key = 'job'")
        return str(found)

    @property
    def marker(self) -> Path:
        """There while a driver works with this ledger, or has died."""
        return self.path.with_name(self.path.name + BEGUN)

    @contextmanager
    def session(self, at: float) -> Iterator[int]:
        """A driver's work with the ledger; gives how many scenes it took back from one before.

        Any orderly end, also for a full disk, removes the marker file, for which no space is needed: only where it
        is still there did the driver before die.

        Raises:
            ResourceError: the ledger or the marker cannot be written.
        """
        taken_back = self.resume(at, died=self.marker.exists())
        with _translated(self.path):
            self.marker.touch()
        try:
            yield taken_back
        finally:
            self.marker.unlink(missing_ok=True)

    def resume(self, at: float, *, died: bool = True) -> int:
        """Takes back what a driver had given out that died, or could not write what became of it; gives how many.

        A scene that was out several times when everything died is first tried alone, then no more.
        """
        with self._transaction():
            if died:
                self._db.execute(
                    "insert into attempt select id, 1 + (select count(*) from attempt where scene = scene.id), ?, "
                    "worker, 'abandoned', 'the batch died' from scene where state = 'running'",
                    (at,),
                )
            times = "(select count(*) from attempt where scene = scene.id and outcome = 'abandoned')"
            self._db.execute(
                f"update scene set state = 'quarantined', finished = ?, error_code = 'death', error = 'the whole batch "  # noqa: S608
                f"died {ABANDONED_QUARANTINED} times while it worked at this scene' "
                f"where state = 'running' and ? and {times} >= ?",
                (at, died, ABANDONED_QUARANTINED),
            )
            return self._db.execute(
                "update scene set attempts = max(attempts - 1, 0), state = case when deaths > 0 or "  # noqa: S608
                f"{times} >= ? then 'suspect' else 'pending' end where state = 'running'",
                (ABANDONED_SUSPECT,),
            ).rowcount

    def retry(self, states: Iterable[State]) -> int:
        """Makes scenes that ended in one of these states pending as if never tried; gives how many."""
        chosen = list(states)
        with self._transaction():
            self._db.executemany(
                "update attempt set outcome = 'forgiven' where outcome = 'abandoned' and scene in "
                "(select id from scene where state = ?)",
                ((one,) for one in chosen),
            )
            return sum(
                self._db.execute(
                    "update scene set state = 'pending', attempts = 0, deaths = 0, not_before = 0, finished = null, "
                    "error_code = null, error = null where state = ?",
                    (one,),
                ).rowcount
                for one in chosen
            )

    def reopen(self, rows: Iterable[int]) -> None:
        """Makes scenes that had ended pending."""
        with self._transaction():
            self._db.executemany("update scene set state = 'pending' where id = ?", ((row,) for row in rows))

    def pending(self, *, after: int, count: int) -> tuple[Ticket, ...]:
        """The next pending scenes by row."""
        rows = self._read(
            f"select {_TICKET} from scene where state = 'pending' and id > ? order by id limit ?",  # noqa: S608
            after,
            count,
        )
        return tuple(map(_ticket, rows))

    def suspects(self) -> tuple[Ticket, ...]:
        """Scenes in which a worker died, to be tried alone."""
        rows = self._read(f"select {_TICKET} from scene where state = 'suspect' order by id")  # noqa: S608
        return tuple(map(_ticket, rows))

    def write(self, records: Iterable[Record]) -> None:
        """All of them or, when the disk is full, none.

        Raises:
            ResourceError: the disk is full or the file cannot be written.
        """
        with self._transaction():
            for record in records:
                self._write(record)

    def _write(self, record: Record) -> None:
        ticket, result = record.ticket, record.result or {}
        counters = (record.state, ticket.attempts, ticket.deaths, ticket.not_before)
        if record.outcome == "begun":
            self._db.execute(
                "update scene set state = ?, attempts = ?, deaths = ?, not_before = ?, started = ? where id = ?",
                (*counters, record.at, ticket.row),
            )
            return
        ended = (record.at, record.seconds, record.code, record.error)
        found = [result.get(key) for key in ("worker", "output", "job")]
        areas = json.dumps(result["areas"], ensure_ascii=False) if "areas" in result else None
        self._db.execute(
            "update scene set state = ?, attempts = ?, deaths = ?, not_before = ?, finished = ?, seconds = ?, "
            "error_code = ?, error = ?, worker = ?, output = ?, job = ?, areas = ? where id = ?",
            (*counters, *ended, *found, areas, ticket.row),
        )
        if record.outcome not in {"done", "skipped"}:
            self._db.execute(
                "insert into attempt select ?1, 1 + count(*), ?2, ?3, ?4, ?5 from attempt where scene = ?1",
                (ticket.row, record.at, result.get("worker"), record.outcome, record.error),
            )

    def note(self, at: float, kind: str, detail: str) -> None:
        """One line of the batch's history: begun, resumed, interrupted, a worker lost."""
        with self._transaction():
            self._db.execute("insert into event values(?, ?, ?)", (at, kind, detail))

    def counts(self) -> dict[State, int]:
        """Scenes by state; every state is there."""
        found = dict(self._read("select state, count(*) from scene group by state"))
        return {state: found.get(state, 0) for state in STATES}

    def codes(self) -> dict[str, int]:
        """Failed and quarantined scenes by class of their error."""
        where = "where state in ('failed', 'quarantined')"
        return dict(
            self._read(f"select coalesce(error_code, 'unknown'), count(*) from scene {where} group by 1")  # noqa: S608
        )

    def median_seconds(self) -> float | None:
        """Of the scenes that were done."""
        done = "from scene where state = 'done' and seconds is not null"
        found = self._read(f"select seconds {done} order by seconds limit 1 offset (select count(*) / 2 {done})")
        return float(found[0][0]) if found else None

    def rows(self, *states: State) -> Iterator[dict[str, Any]]:
        """All columns of the scenes in these states (none named: of all), by row.

        Raises:
            ProductError: from here on it is damaged.
        """
        cursor = self._db.cursor()
        cursor.row_factory = sqlite3.Row
        marks = ", ".join("?" * len(states))
        where = f"where state in ({marks})" if states else ""
        with _translated(self.path):
            for row in cursor.execute(f"select * from scene {where} order by id", states):  # noqa: S608
                yield dict(row)

    def _read(self, query: str, *values: object) -> list[Any]:
        with _translated(self.path):
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _translated(self.path):
            self._db.execute("begin immediate")
            try:
                yield
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                raise


def _ticket(row: tuple[Any, ...]) -> Ticket:
    number, scene, uri, fingerprint, size, attempts, deaths, not_before = row
    return Ticket(
        row=number,
        scene=scene,
        uri=uri,
        fingerprint=fingerprint,
        size=size,
        attempts=attempts,
        deaths=deaths,
        not_before=not_before,
    )


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's errors, and those of the files beside it, in the house's words."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise GeosegError(f"{path}: two scenes have one id ({error}); please report it") from error
    except sqlite3.OperationalError as error:
        if "no such" in str(error) or "decode" in str(error):  # cut off, or never a ledger; or bytes that are no text
            raise _damaged(path, error) from error
        if "full" in str(error) or ("disk I/O" in str(error) and _is_full(path)):
            raise _full(path, error) from error
        raise ResourceError(f"{path} cannot be written ({error}): see who else uses it") from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if is_full(error):
            raise _full(path, error) from error
        raise ResourceError(f"{path} cannot be written ({error.strerror}): choose another folder") from error


def _is_full(path: Path) -> bool:
    return shutil.disk_usage(path.parent).free < _FULL_BYTES


def _full(path: Path, error: Exception) -> FullDiskError:
    return FullDiskError(f"{path} cannot be written ({error}): free space there and run the same command again")


def _damaged(path: Path, error: sqlite3.Error) -> ProductError:
    return ProductError(f"{path} is damaged ({error}): run geoseg batch repair, which makes it from the products")
