"""Area by zone and class, as values; how it is measured is `vector`'s and `workflows`' matter."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from geoseg.core.legend import Legend


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneArea:
    """What one zone holds of a class map."""

    name: str
    area_m2: Mapping[int, float]
    """Label -> ground area inside the zone, partial pixels exact; labels that are no class (255 …) included."""
    zone_m2: float
    """Ground area of the whole zone, also where it reaches beyond the map."""

    @property
    def footprint_m2(self) -> float:
        """The part of the zone that lies on the map's grid."""
        return sum(self.area_m2.values())

    def classified_m2(self, legend: Legend) -> float:
        """The part that has a class."""
        return sum(self.area_m2.get(k, 0.0) for k in legend.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneTable:
    """Zone x class, and what does not add up to the whole map, said."""

    source: str
    """Name of the file the zones are from."""
    field: str
    """Its column that names the zones."""
    zones: tuple[ZoneArea, ...]
    overlap_m2: float
    """Ground area that lies in more than one zone, counted once for each further zone; 0 for a partition."""
    outside_m2: float
    """Ground area of the map's footprint that lies in no zone."""
    notes: tuple[str, ...] = ()
    """What the user must know: overlapping, repaired, empty or far-away zones; one line each."""

    def to_json(self, legend: Legend) -> dict[str, Any]:
        """{"zones": […], "zones_summary": {…}} of areas.json."""
        return {
            "zones": [_zone_json(one, legend) for one in self.zones],
            "zones_summary": {
                "source": self.source,
                "field": self.field,
                "overlap_m2": self.overlap_m2,
                "outside_m2": self.outside_m2,
                "notes": list(self.notes),
            },
        }


def _zone_json(zone: ZoneArea, legend: Legend) -> dict[str, Any]:
    classified = zone.classified_m2(legend)
    areas = {one.id: zone.area_m2.get(one.id, 0.0) for one in legend}
    return {
        "zone": zone.name,
        "zone_m2": zone.zone_m2,
        "footprint_m2": zone.footprint_m2,
        "coverage_share": classified / zone.zone_m2 if zone.zone_m2 else 0.0,
        "not_observed_m2": zone.zone_m2 - classified,
        "classes": [
            {
                "id": one.id,
                "name": one.name,
                "area_m2": areas[one.id],
                "area_ha": areas[one.id] / 1e4,
                "share": areas[one.id] / classified if classified else 0.0,
            }
            for one in legend
        ],
    }
