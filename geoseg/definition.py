"""What an area figure means by its term, as a YAML value: the rules of a definition. Applying them is `workflows`."""

import difflib
import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, StrictInt, StrictStr, field_validator, model_validator

from geoseg.errors import SettingsError
from geoseg.section import Section

if TYPE_CHECKING:
    from geoseg.core.legend import Legend

ClassNames = tuple[StrictInt | StrictStr, ...]


class PatchRule(Section):
    """A minimum mapping unit of single classes, whatever the definition's own classes are."""

    classes: ClassNames = Field(min_length=1, description="class names or ids; a patch is of one class")
    min_area_m2: float = Field(gt=0, allow_inf_nan=False, description="ground area below which a patch is merged away")
    connectivity: Literal[4, 8] = Field(default=4, description="4: over sides; 8: over sides and corners")


class Definition(Section):
    """What belongs to the defined cover, as far as a map can show it. A threshold of 0 is no rule."""

    name: str = Field(min_length=1, description="the name users choose it by")
    term: str = Field(min_length=1, description="what a report may call the defined cover, e.g. forest")
    source: str = Field(min_length=1, description="where the definition comes from")
    note: str = Field(default="", description="what of the definition the map cannot show, and other caveats")
    classes: ClassNames = Field(
        min_length=1, description="class names or ids that are the defined cover; several of them count as one"
    )
    min_width_m: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="parts of the cover narrower than this are taken off"
    )
    min_area_m2: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="ground area below which a patch of the cover is taken off"
    )
    min_gap_area_m2: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="ground area below which a gap in the cover is filled"
    )
    connectivity: Literal[4, 8] = Field(
        default=4, description="of patches: 4 over sides, 8 over corners too; gaps have the other one"
    )
    canopy_threshold_percent: float | None = Field(
        default=None, ge=0, le=100, description="canopy cover from which a pixel was mapped as the cover"
    )
    canopy_source: str | None = Field(default=None, description="where that canopy threshold comes from")
    patches: tuple[PatchRule, ...] = Field(
        default=(), description="minimum mapping units of single classes, applied in this order before all else"
    )

    @field_validator("name", "term", "source", "note", "canopy_source")
    @classmethod
    def _is_readable(cls, value: str | None) -> str | None:
        if value is not None and not value.replace("\n", " ").isprintable():
            raise ValueError("holds control characters")
        return value

    @model_validator(mode="after")
    def _canopy_has_a_source(self) -> "Definition":
        if self.canopy_threshold_percent is not None and not (self.canopy_source or "").strip():
            raise ValueError("canopy_threshold_percent needs canopy_source: say where the threshold comes from")
        return self

    def digest(self) -> str:
        """sha256 of everything that may change a pixel or an area: names, texts and thresholds are all in it."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def to_json(self, legend: "Legend") -> dict[str, Any]:
        """The entry "definition" of areas.json.

        Raises:
            SettingsError: the legend has not the classes.
        """
        content = self.model_dump(mode="json")
        for rule, stored in zip(self.patches, content["patches"], strict=True):
            stored["classes"] = [legend.name_of(one) for one in find_classes(rule.classes, legend, place=self.name)]
        names = [legend.name_of(one) for one in find_classes(self.classes, legend, place=self.name)]
        return {**content, "classes": names, "sha256": self.digest()}


def find_classes(classes: Sequence[int | str], legend: "Legend", *, place: str) -> tuple[int, ...]:
    """The ids of classes given by id or by name (small and capital letters are the same), ascending.

    Raises:
        SettingsError: the legend has no such class; `place` names the definition.
    """
    by_name = {one.name.casefold(): one.id for one in legend}
    found = set()
    for one in classes:
        if isinstance(one, str) and one.casefold() in by_name:
            found.add(by_name[one.casefold()])
        elif isinstance(one, int) and one in legend.ids:
            found.add(one)
        else:
            known = [entry.name for entry in legend]
            near = difflib.get_close_matches(str(one).casefold(), by_name, n=1)
            hint = f"did you mean {legend.name_of(by_name[near[0]])}?" if near else f"it has {', '.join(known)}"
            raise SettingsError(
                f"definition {place}: class {one!r} is not in the map's legend: {hint} "
                "(name the map's own classes in a copy of the definition)"
            )
    return tuple(sorted(found))
