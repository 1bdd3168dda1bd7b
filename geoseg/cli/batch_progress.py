"""What a terminal, a log or a machine is shown of a batch that runs, and of how it ended."""

import json
import time
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geoseg.batch.listing import count_of
from geoseg.cli.show import LineProgress, TerminalProgress, print_json
from geoseg.cli.show import progress as progress_of

if TYPE_CHECKING:
    from geoseg.batch.event import Record, State
    from geoseg.batch.loop import Listener, Summary

_ENDED = ("done", "skipped", "failed", "quarantined")


class Shown:
    """A bar on a terminal, a line per 30 s elsewhere; a line for each scene that ends badly."""

    def __init__(self, progress: LineProgress | TerminalProgress) -> None:
        self._progress = progress

    def __enter__(self) -> "Listener":
        self._progress.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.__exit__(*exception)

    def begin(self, counts: "dict[State, int]", workers: int) -> None:
        """What there is to do."""
        left = sum(count for state, count in counts.items() if state not in _ENDED)
        self._progress.note(f"{count_of(sum(counts.values()), 'scene')}, {left:,} to do, {count_of(workers, 'worker')}")
        self._progress.begin("scenes", left)

    def ended(self, record: "Record") -> None:
        """Steps on when a scene has ended for good."""
        if record.state in _ENDED:
            self._progress.advance()
        if record.error:
            self._progress.note(f"{record.state}: {record.ticket.uri}: {record.error}")

    def say(self, text: str) -> None:
        """One line."""
        self._progress.note(text)


class JsonLines:
    """One JSON object per event on stderr."""

    def __init__(self) -> None:
        self._states: Counter[str] = Counter()
        self._total, self._begun, self._ended = 0, time.monotonic(), 0

    def begin(self, counts: "dict[State, int]", workers: int) -> None:
        """event: begin."""
        self._states.update({state: count for state, count in counts.items() if state in _ENDED})
        self._total, self._begun = sum(counts.values()), time.monotonic()
        self._write("begin", workers=workers)

    def ended(self, record: "Record") -> None:
        """event: scene. `eta_s` is null until a scene has ended."""
        if record.state in _ENDED:
            self._states[record.state] += 1
            self._ended += 1
        self._write("scene", scene=record.ticket.scene, state=record.state, outcome=record.outcome, error=record.error)

    def say(self, text: str) -> None:
        """event: note."""
        self._write("note", text=text)

    def _write(self, event: str, **facts: object) -> None:
        ended = self._states.total()
        pace = (time.monotonic() - self._begun) / self._ended if self._ended else None
        eta = None if pace is None else round(pace * (self._total - ended), 1)
        counted = {"ended": ended, "total": self._total, "failed": self._states["failed"], "eta_s": eta}
        click.echo(json.dumps({"event": event, **counted, **facts}, ensure_ascii=False), err=True)


def listener_of(kind: str) -> "AbstractContextManager[Listener]":
    """The listener of a --progress choice."""
    if kind == "json":
        return nullcontext(JsonLines())
    if kind in {"auto", "bar"}:
        return Shown(progress_of() if kind == "auto" else TerminalProgress())
    return Shown(LineProgress(quiet=kind == "none"))


def tell_summary(summary: "Summary", out: Path, *, as_json: bool) -> int:
    """Says how the batch ended; gives the exit code."""
    if as_json:
        stop = {"exit_code": summary.exit_code, "reason": summary.stop.reason}
        print_json({"schema": "geoseg/batch-run/1", "out": str(out), **stop, "counts": dict(summary.counts)})
        return summary.exit_code
    counted = ", ".join(f"{count:,} {state}" for state, count in summary.counts.items() if count)
    click.echo(f"{summary.stop.reason} ({counted})", err=True)
    if summary.exit_code == 3:
        click.echo(f"what failed: geoseg batch failures {out}", err=True)
    click.echo(str(out))
    return summary.exit_code
