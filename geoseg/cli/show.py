"""What a terminal shows: a progress bar with time left, notes, results."""

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.progress import TaskID

    from geoseg.workflows.progress import Progress

_SECONDS_BETWEEN_LINES = 30.0


class TerminalProgress:
    """A bar with the time left, on stderr; use as a context."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar: Bar = Bar(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def begin(self, what: str, total: int) -> None:
        """A new bar takes the place of the last."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(what, total=total)

    def advance(self, steps: int = 1) -> None:
        """Moves the bar."""
        if self._task is not None:
            self._bar.advance(self._task, steps)

    def note(self, text: str) -> None:
        """One line above the bar."""
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """The same."""
        self.note(text)


class LineProgress:
    """One line per 30 s on stderr, for logs; use as a context."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._what, self._total, self._done = "", 0, 0
        self._started = self._said = time.monotonic()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def begin(self, what: str, total: int) -> None:
        """Starts to count anew."""
        self._what, self._total, self._done = what, total, 0
        self._started = self._said = time.monotonic()

    def advance(self, steps: int = 1) -> None:
        """Counts, and says so when 30 s have passed."""
        self._done += steps
        now = time.monotonic()
        if not self._quiet and now - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = now
            left = (now - self._started) / self._done * (self._total - self._done)
            click.echo(f"{self._what}: {self._done} of {self._total}, about {left:.0f} s left", err=True)

    def note(self, text: str) -> None:
        """One line."""
        if not self._quiet:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        """One line, quiet or not."""
        click.echo(text, err=True)


def progress(*, quiet: bool = False) -> "TerminalProgress | LineProgress":
    """A bar on a terminal, lines elsewhere."""
    return TerminalProgress() if sys.stderr.isatty() and not quiet else LineProgress(quiet=quiet)


def print_json(document: dict[str, Any]) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
