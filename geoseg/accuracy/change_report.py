"""The figures of a change as people and programs read them: change.json, change.csv, a table. No pixel is seen here."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from geoseg.accuracy.change import ChangeTable, ClassChange
from geoseg.accuracy.change_codes import ChangeCodes
from geoseg.accuracy.comparability import MapFacts
from geoseg.core.area_report import AreaReport
from geoseg.core.csv_text import inert
from geoseg.core.zone_table import ZoneTable

SCHEMA: Final = "geoseg-change-1"
CSV_COLUMNS: Final = ("from_id", "from", "to_id", "to", "pixels", "area_m2", "area_ha", "ha_per_year")
UNOBSERVED: Final = "unobserved"
_ZONES_SHOWN: Final = 20
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
    def subject(self) -> tuple[str, AreaReport] | None:
        """What the nominal figure is compared for: the target's loss (its gain where there is none), else any change.

        In words and areas; None where nothing changed.
        """
        tally, changed = self.areas.tally, self.codes.changed
        words = "what changed"
        if self.target is not None:
            changed = tuple(k for k in changed if tally.pixel_count(k))[:1]
            words = self.codes.legend.name_of(changed[0]) if changed else words
        part = replace(self.areas, classes=tuple(one for one in self.areas.classes if one.id in changed))
        return (words, part) if any(one.pixels for one in part.classes) else None

    @property
    def nominal_sentence(self) -> str:
        """What to say about pixel counting."""
        if self.subject is None:
            return "nothing changed on the ground that both maps observe"
        words, part = self.subject
        return f"{words} is {part.classified_m2 / 1e4:,.2f} ha; {part.nominal_sentence}"

    def to_json(self) -> dict[str, Any]:
        """change.json: stable keys; transitions and unobserved sum to the footprint."""
        table, first, second = self.table, *self.maps
        unobserved = {key: table.area_m2(table.unobserved(first=a, second=b)) for a, b, key in _WAYS}
        total = table.area_m2(key for a, b, _ in _WAYS for key in table.unobserved(first=a, second=b))
        return {
            "schema": SCHEMA,
            "map1": first.to_json(),
            "map2": second.to_json(),
            "years": table.years,
            "crs": self.areas.crs,
            "method": self.areas.method,
            "ellipsoid": self.areas.ellipsoid,
            "footprint_m2": table.footprint_m2,
            "target": None if self.target is None else _named(table, self.target),
            "transitions": list(self._transitions_json()),
            "unobserved": {**unobserved, "total_m2": total},
            "classes": [_class_json(one) for one in table.classes],
            "change_map": [
                {**one, "color": color.color}
                for one, color in zip(self.areas.to_json()["classes"], self.codes.legend, strict=True)
            ],
            "nominal": self._nominal_json(),
            "zones": self._zones_json(),
            **({} if self.zones is None else {"zones_summary": self.zones.to_json(self.codes.legend)["zones_summary"]}),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }

    def to_csv(self) -> str:
        """change.csv: a row for each transition, then what is not observed, then the footprint."""
        table = self.table
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        names = {one.id: inert(one.name) for one in table.legend}
        for one in table.transitions:
            row = (one.first, names[one.first], one.second, names[one.second])
            figures = self._figures(one.pixels, one.area_m2, annual=one.first != one.second)
            writer.writerow([*row, *figures])
        rest = {
            (UNOBSERVED, "observed"): table.unobserved(first=True, second=False),
            ("observed", UNOBSERVED): table.unobserved(first=False, second=True),
            (UNOBSERVED, UNOBSERVED): table.unobserved(first=True, second=True),
        }
        every = tuple(key for keys in rest.values() for key in keys)
        for (first, second), keys in {**rest, ("unobserved in either", ""): every}.items():
            pixels, area_m2 = table.pixels(keys), table.area_m2(keys)
            writer.writerow(["", first, "", second, *self._figures(pixels, area_m2, annual=False)])
        footprint = self._figures(table.pairs.pixel_count(), table.footprint_m2, annual=False)
        writer.writerow(["", "footprint", "", "", *footprint])
        return text.getvalue()

    def summary(self) -> str:
        """For the terminal: transitions, classes, sentences; the warnings are not in it."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        table, years = self.table, self.table.years
        names = {one.id: one.name for one in table.legend}
        wide = max(len("unobserved in either"), *(len(name) for name in names.values()))
        yield f"{'from':<{wide}}  {'to':<{wide}}  {'pixels':>14}  {'hectares':>16}  {'ha per year':>14}".rstrip()
        for one in table.transitions:
            if one.pixels:
                annual = "" if years is None or one.first == one.second else f"{one.area_m2 / 1e4 / years:,.2f}"
                words = f"{names[one.first]:<{wide}}  {names[one.second]:<{wide}}"
                yield f"{words}  {one.pixels:>14,}  {one.area_m2 / 1e4:>16,.2f}  {annual:>14}".rstrip()
        keys = tuple(key for a, b, _ in _WAYS for key in table.unobserved(first=a, second=b))
        for words, pixels, area_m2 in (
            ("unobserved in either", table.pixels(keys), table.area_m2(keys)),
            ("footprint", table.pairs.pixel_count(), table.footprint_m2),
        ):
            yield f"{words:<{wide}}  {'':<{wide}}  {pixels:>14,}  {area_m2 / 1e4:>16,.2f}"
        yield from map(_sentence, table.classes)
        yield from self._zone_lines()
        yield f"Area on the {self.areas.ellipsoid} ellipsoid ({self.areas.method}); {self.nominal_sentence}."

    def _zone_lines(self) -> Iterator[str]:
        if self.zones is None:
            return
        for zone in self.zones.zones[:_ZONES_SHOWN]:
            for one in self.codes.in_zone(self.table, zone):
                yield f"{zone.name}: {one.name} loss {one.loss_m2 / 1e4:,.2f} ha, gain {one.gain_m2 / 1e4:,.2f} ha"
        if len(self.zones.zones) > _ZONES_SHOWN:
            yield f"{len(self.zones.zones) - _ZONES_SHOWN} further zones are in change.json"
        yield from self.zones.notes

    def _figures(self, pixels: int, area_m2: float, *, annual: bool) -> tuple[int, str, str, str]:
        years = self.table.years
        each = "" if years is None or not annual else f"{area_m2 / 1e4 / years:.4f}"
        return pixels, f"{area_m2:.2f}", f"{area_m2 / 1e4:.4f}", each

    def _transitions_json(self) -> Iterator[dict[str, Any]]:
        name_of = self.table.legend.name_of
        for one in self.table.transitions:
            yield {
                "from": one.first,
                "from_name": name_of(one.first),
                "to": one.second,
                "to_name": name_of(one.second),
                "pixels": one.pixels,
                "area_m2": one.area_m2,
                "area_ha": one.area_m2 / 1e4,
            }

    def _nominal_json(self) -> dict[str, Any]:
        part = None if self.subject is None else self.subject[1]
        return {
            "pixel_m2": self.areas.nominal_pixel_m2,
            "subject": None if self.subject is None else self.subject[0],
            "total_m2": 0.0 if part is None else part.nominal_m2,
            "difference_percent": 0.0 if part is None else part.nominal_difference_percent,
            "sentence": self.nominal_sentence,
        }

    def _zones_json(self) -> list[dict[str, Any]]:
        if self.zones is None:
            return []
        legend = self.codes.legend
        return [
            {
                "zone": zone.name,
                "zone_m2": zone.zone_m2,
                "footprint_m2": zone.footprint_m2,
                "unobserved_m2": zone.footprint_m2 - zone.classified_m2(legend),
                "classes": [_class_json(one) for one in self.codes.in_zone(self.table, zone)],
            }
            for zone in self.zones.zones
        ]


def _class_json(one: ClassChange) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "area1_m2": one.area1_m2,
        "area2_m2": one.area2_m2,
        "gain_m2": one.gain_m2,
        "loss_m2": one.loss_m2,
        "net_m2": one.net_m2,
        "annual_gain_ha": one.annual_ha(one.gain_m2),
        "annual_loss_ha": one.annual_ha(one.loss_m2),
        "annual_net_ha": one.annual_ha(one.net_m2),
        "annual_rate_percent": one.annual_rate_percent,
    }


def _sentence(one: ClassChange) -> str:
    """One class in words."""
    text = (
        f"{one.name}: {one.area1_m2 / 1e4:,.2f} ha to {one.area2_m2 / 1e4:,.2f} ha where both maps observe; "
        f"loss {one.loss_m2 / 1e4:,.2f} ha, gain {one.gain_m2 / 1e4:,.2f} ha, net {one.net_m2 / 1e4:+,.2f} ha"
    )
    if one.years is None:
        return f"{text}."
    loss, net, rate = one.annual_ha(one.loss_m2), one.annual_ha(one.net_m2), one.annual_rate_percent
    compound = "" if rate is None else f", {rate:+.3f} % a year compound"
    return f"{text}; a year: loss {loss:,.2f} ha, net {net:+,.2f} ha{compound}."


def _named(table: ChangeTable, class_id: int) -> dict[str, Any]:
    return {"id": class_id, "name": table.legend.name_of(class_id)}
