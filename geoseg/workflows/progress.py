"""How a workflow tells what it is doing; what a terminal makes of it belongs to `cli`."""

from typing import Protocol


class Progress(Protocol):
    """Listens to a workflow."""

    def begin(self, what: str, total: int) -> None:
        """A phase of `total` steps begins; the last one, if any, is over."""

    def advance(self, steps: int = 1) -> None:
        """Steps of the current phase are done."""

    def note(self, text: str) -> None:
        """Something the user should know, once, in one line."""

    def warn(self, text: str) -> None:
        """The same, of what may make the figures wrong: also told where notes are not."""


class Silent:
    """Tells nobody; keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self, what: str, total: int) -> None:
        """Nothing to show."""

    def advance(self, steps: int = 1) -> None:
        """Nothing to show."""

    def note(self, text: str) -> None:
        """Kept for the caller."""
        self.notes.append(text)

    def warn(self, text: str) -> None:
        """Kept for the caller."""
        self.notes.append(text)
