"""Texts as they may stand in a CSV file that a spreadsheet opens."""

from typing import Final

_FORMULA: Final = ("=", "+", "-", "@")


def inert(text: str) -> str:
    """A text that a spreadsheet will not run as a formula; leading blanks and tabs do not hide one."""
    return f"'{text}" if text.lstrip().startswith(_FORMULA) or text.startswith(("\t", "\r", "\n")) else text
