"""The figures of a change as people and programs read them: change.json, change.csv, a table. No pixel is seen here."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from geoseg.accuracy.change import ChangeTable, ClassChange
from geoseg.accuracy.change_codes import ChangeCodes
from geoseg.accuracy.comparability import MapFacts
from geoseg.core.area_report import AreaReport
from geoseg.core.legend import Legend
from geoseg.core.tally import AreaTally
from geoseg.core.zone_table import ZoneTable

SCHEMA: Final = "geoseg-change-1"
CSV_COLUMNS: Final = ("from_id", "from", "to_id", "to", "pixels", "area_m2", "area_ha", "ha_per_year")
UNOBSERVED: Final = "unobserved"
_WAYS: Final = ((True, False, "first_m2"), (False, True, "second_m2"), (True, True, "both_m2"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeReport:
    """What changed between two maps, and what must be known to believe it."""

    maps: tuple[MapFacts, MapFacts]
    table: ChangeTable
    codes: ChangeCodes
    target: int | None
    """Class whose loss and gain the change map shows; None: every transition."""
    areas: AreaReport
    """Of the change map."""
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    zones: ZoneTable | None = None
    """Of the change map."""

    @property
    def nominal(self) -> AreaReport:
        """The changed ground alone, for what pixel counting would make of it: the target's loss, else any change."""
        changed = self.codes.changed
        if self.target is not None and self.areas.tally.pixel_count(changed[0]):
            changed = changed[:1]
        one = next(one for one in self.codes.legend if one.id == (changed or self.codes.legend.ids)[0])
        tally = self.areas.tally
        return AreaReport.from_tally(
            AreaTally(
                pixels={one.id: tally.pixel_count(*changed)} if changed else {},
                units={one.id: sum(tally.units.get(k, 0) for k in changed)} if changed else {},
                unit_m2=tally.unit_m2,
            ),
            Legend(classes=(one,)),
            self.table_grid,
            self.pixel_area,
            scene="",
        )
