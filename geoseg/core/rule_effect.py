"""What one rule of a definition did to a map, as a value; the rules themselves are `mapping_unit` and `width`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from geoseg.core.legend import Legend


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEffect:
    """The areas before and after a rule."""

    rule: str
    """The rule in one plain sentence, with its threshold, connectivity and class."""
    before_m2: Mapping[int, float]
    """Class id -> ground area on the map the rule was given."""
    after_m2: Mapping[int, float]
    """Class id -> ground area on the map it gives."""
    changed: int
    """Patches (or gaps, or narrow parts) that got another class."""
    undetermined: int
    """Patches below the threshold that an edge or unobserved pixels cut: kept as they are."""
    undetermined_m2: Mapping[int, float]
    """Class id -> ground area of those."""

    def to_json(self, legend: Legend) -> dict[str, Any]:
        """One entry of "rules" in areas.json."""
        return {
            "rule": self.rule,
            "changed": self.changed,
            "undetermined": self.undetermined,
            "classes": [
                {
                    "id": one.id,
                    "name": one.name,
                    "before_m2": self.before_m2.get(one.id, 0.0),
                    "after_m2": self.after_m2.get(one.id, 0.0),
                    "undetermined_m2": self.undetermined_m2.get(one.id, 0.0),
                }
                for one in legend
            ],
        }
