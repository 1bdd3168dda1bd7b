"""The areas of overlapping maps counted once, as people and programs read them: union.json, union.csv, lines."""

import csv
import io
import math
from dataclasses import dataclass, field
from typing import Any, Final

from geoseg.core.claimed import RULE_TEXTS, Rule
from geoseg.core.csv_text import inert
from geoseg.core.legend import Legend

SCHEMA: Final = "geoseg/batch-union/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnionArea:
    """What maps cover together."""

    rule: Rule
    legend: Legend
    maps: int
    pixels: dict[int, int]
    """By class, each of the grid it was counted on."""
    area_m2: dict[int, float]
    nodata_pixels: int
    """That maps cover and none has a class for."""
    footprint_m2: float
    """Ground that at least one map covers."""
    sum_of_footprints_m2: float
    notes: tuple[str, ...] = field(default=())

    @property
    def nodata_m2(self) -> float:
        """Ground that maps cover and none has a class for."""
        return max(0.0, self.footprint_m2 - math.fsum(self.area_m2.values())) if self.nodata_pixels else 0.0

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "schema": SCHEMA,
            "rule": self.rule,
            "rule_text": RULE_TEXTS[self.rule],
            "scenes": self.maps,
            "classes": [
                {
                    "id": one.id,
                    "name": one.name,
                    "pixels": self.pixels[one.id],
                    "area_m2": self.area_m2[one.id],
                    "area_ha": self.area_m2[one.id] / 1e4,
                }
                for one in self.legend
            ],
            "nodata_m2": self.nodata_m2,
            "footprint_m2": self.footprint_m2,
            "sum_of_footprints_m2": self.sum_of_footprints_m2,
            "overlap_m2": max(0.0, self.sum_of_footprints_m2 - self.footprint_m2),
            "notes": list(self.notes),
        }

    def to_csv(self) -> str:
        """One row per class, then what has none, then the whole."""
        stream = io.StringIO()
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["rule", "class_id", "class", "pixels", "area_m2", "area_ha"])
        for one in self.legend:
            area = self.area_m2[one.id]
            table.writerow([self.rule, one.id, inert(one.name), self.pixels[one.id], area, area / 1e4])
        for name, area in (("nodata", self.nodata_m2), ("footprint", self.footprint_m2)):
            table.writerow([self.rule, "", name, "", area, area / 1e4])
        return stream.getvalue()

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"{one.name}: {self.area_m2[one.id] / 1e4:,.2f} ha, ground counted once" for one in self.legend]
        return [*lines, RULE_TEXTS[self.rule], *self.notes]
