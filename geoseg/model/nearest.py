"""What is said of a name that is not known."""

import difflib
from collections.abc import Sequence


def unknown(kind: str, name: str, known: Sequence[str]) -> str:
    """One line: the name, and the nearest that are known."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"{kind} {name!r} is not known: nearest are {', '.join(near or sorted(known)[:8])}"
