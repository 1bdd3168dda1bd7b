"""How far the listing of a source is and what it leaves out; not where the scenes are."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

_SAY_SECONDS: Final = 30.0


def count_of(count: int, noun: str) -> str:
    """`1 scene`, `2,000 scenes`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@dataclass(slots=True)
class Listing:
    """Counts while a source is listed, and says every 30 s how far it is."""

    say: Callable[[str], None] = field(default=lambda text: None)
    scenes: int = 0
    documents: int = 0
    """STAC documents read."""
    results: int = 0
    """Folders with a product or a batch of geoseg; what is below them does not count again."""
    unnamed: int = 0
    """Files that no list or message can name."""
    example: str = ""
    """The first of those, escaped."""
    _said: float = field(default_factory=time.monotonic)

    def step(self, *, scenes: int = 0, documents: int = 0) -> None:
        """So many more."""
        self.scenes += scenes
        self.documents += documents
        if time.monotonic() - self._said >= _SAY_SECONDS:
            self._said = time.monotonic()
            read = f" in {count_of(self.documents, 'document')}" if self.documents else ""
            self.say(f"{count_of(self.scenes, 'scene')} found so far{read}")

    def leave_unnamed(self, name: str) -> None:
        """One more file whose name has control characters or is no text."""
        self.unnamed += 1
        self.example = self.example or ascii(name)

    def notes(self) -> Iterator[str]:
        """What was left out, a line each."""
        if self.results:
            yield f"folders left out because they hold results of geoseg: {self.results}"
        if self.unnamed:
            those = count_of(self.unnamed, "file")
            yield f"{those} left out because of control characters or broken text in the name: rename {self.example}"
