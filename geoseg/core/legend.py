"""The classes of a map: id, name, colour."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from geoseg.core.patch import MAX_CLASSES


@dataclass(frozen=True, slots=True, kw_only=True)
class LandClass:
    """One class of a legend."""

    id: int
    """Value in the class map, 0 … 199."""
    name: str
    """What users read."""
    color: str
    """#rrggbb."""

    def __post_init__(self) -> None:
        if not 0 <= self.id < MAX_CLASSES:
            raise ValueError(f"class id {self.id} is not in 0 … {MAX_CLASSES - 1}")
        if not self.name.strip():
            raise ValueError(f"class {self.id} has no name")
        if not self.name.isprintable():
            raise ValueError(f"class {self.id}: name {self.name!r} holds control characters")
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", self.color):
            raise ValueError(f"class {self.name}: color {self.color!r} is not #rrggbb")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """(red, green, blue), 0 … 255."""
        value = int(self.color[1:], 16)
        return value >> 16, value >> 8 & 255, value & 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """The classes of a map, in the order of a network's output channels."""

    classes: tuple[LandClass, ...]

    def __post_init__(self) -> None:
        ids = [one.id for one in self.classes]
        names = [one.name for one in self.classes]
        if not ids:
            raise ValueError("a legend needs at least one class")
        if ids != sorted(set(ids)):
            raise ValueError(f"class ids {ids} must be unique and ascending")
        if len(set(names)) != len(names):
            raise ValueError(f"class names {names} are not unique")

    def __iter__(self) -> Iterator[LandClass]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def ids(self) -> tuple[int, ...]:
        """Class ids, ascending: channel k of the scores is class ids[k]."""
        return tuple(one.id for one in self.classes)

    def name_of(self, class_id: int) -> str:
        """The name of a class id.

        Raises:
            KeyError: the id is not in the legend.
        """
        for one in self.classes:
            if one.id == class_id:
                return one.name
        raise KeyError(class_id)
