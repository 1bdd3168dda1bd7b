"""Which class the headline is about and what it may be called: forest only where something defines it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from geoseg.report.areas_document import Definition

_FOREST: Final = re.compile(r"\bforests?\b", re.IGNORECASE)
_TREES: Final = re.compile(r"\b(?:trees?|tree cover|treecover|woods?|woodlands?|canopy)\b", re.IGNORECASE)
_NEGATED: Final = re.compile(r"\b(?:non|no|not|other|without|un\w+)\b|^non", re.IGNORECASE)
_BACKGROUND: Final = re.compile(
    r"^(?:other\b.*|background|rest|none|unlabell?ed|no data|non.*|not?\b.*)$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The class or classes the headline is about."""

    ids: tuple[int, ...]
    term: str
    """What the page calls it, in the middle of a sentence."""
    remark: str
    """Why it is called so; empty where there is nothing to explain."""


def find_target(
    names: Mapping[int, str], definition: Definition | None = None, forest_definition: str | None = None
) -> Target | None:
    """The target among classes {id: name}; None where no class stands out.

    The classes the definition names, else those called forest, else those called trees, else the one class beside
    a background.
    """
    if definition is not None and (ids := tuple(k for k, name in names.items() if name in definition.classes)):
        return _defined(ids, definition)
    ids = tuple(k for k, name in names.items() if _FOREST.search(name) and not _NEGATED.search(name))
    if ids:
        return Target(ids=ids, term=_quoted(names, ids), remark=_forest_remark(forest_definition))
    ids = tuple(k for k, name in names.items() if _TREES.search(name) and not _NEGATED.search(name))
    if ids:
        remark = "Mapped tree cover is what the map shows; no definition was applied to it."
        return Target(ids=ids, term=f"mapped tree cover ({_quoted(names, ids)})", remark=remark)
    others = tuple(k for k, name in names.items() if not _BACKGROUND.match(name.strip()))
    if len(others) == 1 and len(names) > 1:
        return Target(ids=others, term=_quoted(names, others), remark="")
    return None


def _defined(ids: tuple[int, ...], definition: Definition) -> Target:
    term = definition.term.strip() or "mapped tree cover"
    remark = f"Here “{term}” is what the definition “{definition.name}” says: source, thresholds and limits are below."
    return Target(ids=ids, term=term, remark=remark)


def _forest_remark(forest_definition: str | None) -> str:
    if forest_definition:
        return f"“Forest” as the model bundle defines it: {forest_definition}"
    return "“Forest” is the name of a class of this map; no forest definition was applied to it."


def _quoted(names: Mapping[int, str], ids: tuple[int, ...]) -> str:
    words = ", ".join(f"“{names[k]}”" for k in ids)
    return f"class {words}" if len(ids) == 1 else f"classes {words}"
