"""union.json: the ground of an archive counted once; how it is counted is not this module's matter."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from geoseg.report.document import Document, read_document

UNION: str = "union.json"


class UnionClass(Document):
    """A class."""

    id: int
    name: str
    pixels: int | None = None
    area_m2: float = Field(ge=0)


class Union(Document):
    """Areas of scenes that overlap, each piece of ground counted for one of them."""

    kind: Literal["geoseg/batch-union/1"] = Field(alias="schema")
    rule: str
    rule_text: str
    scenes: int
    classes: tuple[UnionClass, ...]
    nodata_m2: float = Field(ge=0)
    footprint_m2: float = Field(ge=0)
    """Ground that at least one scene shows."""
    sum_of_footprints_m2: float = Field(ge=0)
    overlap_m2: float
    notes: tuple[str, ...] = ()

    def area_of(self, class_id: int) -> float | None:
        """Square metres; None of a class that is not in it."""
        return next((one.area_m2 for one in self.classes if one.id == class_id), None)


def read_union(out: Path) -> tuple[Union, Any] | None:
    """The union of a batch's folder and its JSON as it is; None where none was made.

    Raises:
        ProductError: it is damaged.
    """
    path = out / UNION
    return read_document(Union, path, made_by="batch report --union") if path.exists() else None
