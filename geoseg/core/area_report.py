"""The area figures of a run as people and programs read them: areas.json, areas.csv, a table. No pixel is seen here."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from odc.geo.geobox import GeoBox

from geoseg.core.area import PixelArea
from geoseg.core.csv_text import inert
from geoseg.core.legend import Legend
from geoseg.core.patch import MASKED, NODATA, NOT_PROCESSED, OUTSIDE_AOI
from geoseg.core.rule_effect import RuleEffect
from geoseg.core.tally import AreaTally
from geoseg.core.zone_table import ZoneArea, ZoneTable
from geoseg.errors import ProductError

SCHEMA: Final = "geoseg-areas-1"
CSV_COLUMNS: Final = ("zone", "class_id", "class", "pixels", "area_m2", "area_ha", "share")
_NOT_CLASSES: Final = {
    NODATA: "nodata",
    OUTSIDE_AOI: "outside aoi",
    MASKED: "masked",
    NOT_PROCESSED: "not processed",
}


_ZONES_SHOWN: Final = 30
_NAME_SHOWN: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassArea:
    """One row of the report."""

    id: int
    name: str
    pixels: int
    area_m2: float
    share: float
    """Of the classified area, 0 … 1; 0 where nothing is classified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaReport:
    """Where every square metre of the footprint went; planimetric, on the ellipsoid."""

    scene: str
    crs: str
    method: str
    ellipsoid: str
    nominal_pixel_m2: float
    classes: tuple[ClassArea, ...]
    """Every class of the legend, also one that does not occur."""
    legend: Legend
    tally: AreaTally
    """What the figures are rounded from."""
    zones: ZoneTable | None = None
    """The same areas by zone, if zones were given."""
    definition: Mapping[str, Any] | None = None
    """The definition the map was brought to, as a document."""
    rules: tuple[RuleEffect, ...] = field(default=())
    """What each rule of the definition did, in order."""

    @staticmethod
    def from_tally(tally: AreaTally, legend: Legend, grid: GeoBox, pixel_area: PixelArea, scene: str) -> "AreaReport":
        """The report of a whole scene.

        Raises:
            ProductError: a label of the tally is neither in the legend nor one of the four kept for no class.
        """
        known = {*legend.ids, *_NOT_CLASSES}
        for label in tally.pixels:
            if label not in known:
                raise ProductError(f"{scene}: label {label} is not in the legend {legend.ids}: name it in the legend")
        classified = tally.area_m2(*legend.ids)
        rows = (
            ClassArea(
                id=one.id,
                name=one.name,
                pixels=tally.pixel_count(one.id),
                area_m2=tally.area_m2(one.id),
                share=tally.area_m2(one.id) / classified if classified else 0.0,
            )
            for one in legend
        )
        return AreaReport(
            scene=scene,
            crs=_crs_text(grid),
            method=pixel_area.method,
            ellipsoid=pixel_area.ellipsoid,
            nominal_pixel_m2=pixel_area.nominal_pixel_m2(),
            classes=tuple(rows),
            legend=legend,
            tally=tally,
        )

    def with_zones(self, zones: ZoneTable | None) -> "AreaReport":
        """The report with areas by zone."""
        return replace(self, zones=zones)

    def with_definition(self, definition: Mapping[str, Any], rules: tuple[RuleEffect, ...]) -> "AreaReport":
        """The report of a map that was brought to a definition."""
        return replace(self, definition=definition, rules=rules)

    @property
    def footprint_m2(self) -> float:
        """The whole scene: classes, nodata, outside the AOI, masked and not processed together."""
        return self.tally.area_m2()

    @property
    def classified_m2(self) -> float:
        """The classes together."""
        return self.tally.area_m2(*(one.id for one in self.classes))

    @property
    def nominal_m2(self) -> float:
        """Pixel count of the classes x the nominal area of a pixel."""
        return sum(one.pixels for one in self.classes) * self.nominal_pixel_m2

    @property
    def nominal_difference_percent(self) -> float:
        """How much larger than the classified area the nominal figure is; 0 where nothing is classified."""
        return _percent_larger(self.nominal_m2, self.classified_m2)

    @property
    def nominal_sentence(self) -> str:
        """What to say about pixel counting."""
        percent = self.nominal_difference_percent
        figure = "the nominal figure (pixel count x nominal pixel area)"
        if abs(percent) < 1e-4:
            return f"{figure} is the same to 0.0001 %"
        size = abs(percent)
        digits = max(1, 1 - math.floor(math.log10(size)))
        return f"{figure} is {size:.{digits}f} % {'larger' if percent > 0 else 'smaller'}"

    def to_json(self) -> dict[str, Any]:
        """areas.json: stable keys; all parts sum to the footprint."""
        area = self.tally.area_m2
        return {
            "schema": SCHEMA,
            "scene": self.scene,
            "crs": self.crs,
            "method": self.method,
            "ellipsoid": self.ellipsoid,
            "footprint_m2": self.footprint_m2,
            "nodata_m2": area(NODATA),
            "outside_aoi_m2": area(OUTSIDE_AOI),
            "masked_m2": {"mask": area(MASKED)},
            "not_processed_m2": area(NOT_PROCESSED),
            "classes": [_class_json(one) for one in self.classes],
            "definition": None if self.definition is None else dict(self.definition),
            "rules": [one.to_json(self.legend) for one in self.rules],
            **({"zones": []} if self.zones is None else self.zones.to_json(self.legend)),
            "nominal": {
                "pixel_m2": self.nominal_pixel_m2,
                "total_m2": self.nominal_m2,
                "difference_percent": self.nominal_difference_percent,
                "sentence": self.nominal_sentence,
                "classes": [{"id": one.id, "difference_percent": self._nominal_of(one)} for one in self.classes],
            },
        }

    def to_csv(self, patches: Mapping[int, int] | None = None) -> str:
        """areas.csv: one row per class, then what is no class, then the footprint; only classes have a share.

        Rows of the whole map have no zone. Those of a zone have no pixels: a zone cuts through them.

        Args:
            patches: class id -> patches; adds a last column of them, empty for what is no class.
        """
        last = [] if patches is None else [""]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*CSV_COLUMNS, *(["patches"] if patches is not None else [])])
        for one in self.classes:
            share = f"{one.share:.9g}"
            count = [] if patches is None else [patches.get(one.id, 0)]
            writer.writerow(["", one.id, inert(one.name), one.pixels, *_m2_ha(one.area_m2), share, *count])
        for label, name in _NOT_CLASSES.items():
            writer.writerow(
                ["", "", name, self.tally.pixel_count(label), *_m2_ha(self.tally.area_m2(label)), "", *last]
            )
        writer.writerow(["", "", "footprint", self.tally.pixel_count(), *_m2_ha(self.footprint_m2), "", *last])
        for zone in () if self.zones is None else self.zones.zones:
            writer.writerows([*row, *last] for row in _zone_rows(zone, self.legend))
        return text.getvalue()

    def summary(self) -> str:
        """A plain table for the terminal, and the sentences that belong to it."""
        rows = [
            (one.name, one.pixels, one.area_m2, f"{one.share:8.2%}  {self._nominal_of(one):+9.2f} %")
            for one in self.classes
        ]
        for label, name in _NOT_CLASSES.items():
            if self.tally.pixel_count(label):
                rows.append((name, self.tally.pixel_count(label), self.tally.area_m2(label), ""))
        rows.append(("footprint", self.tally.pixel_count(), self.footprint_m2, ""))
        widest = max(len(name) for name, *_ in rows)
        lines = [f"{'class':<{widest}}  {'pixels':>14}  {'hectares':>16}  {'share':>8}  {'nominal':>11}"]
        for name, pixels, m2, rest in rows:
            lines.append(f"{name:<{widest}}  {pixels:>14,}  {m2 / 1e4:>16,.2f}  {rest}".rstrip())
        lines.append(f"Area on the {self.ellipsoid} ellipsoid ({self.method}; {_short(self.crs)}), no slope or height;")
        lines.append(f"{self.nominal_sentence}.")
        return "\n".join([*lines, *self._rule_lines(), *self._zone_lines()])

    def _rule_lines(self) -> Iterator[str]:
        """Hectares before and after each rule, of the classes it changed or could not decide."""
        if self.definition is not None:
            yield f"Definition: {self.definition.get('name', '')}."
        for rule in self.rules:
            yield f"{rule.rule.rstrip('.')}: {rule.changed:,} changed, {rule.undetermined:,} cut by an edge and kept."
            for one in self.legend:
                before, after = (areas.get(one.id, 0.0) / 1e4 for areas in (rule.before_m2, rule.after_m2))
                yield f"  {one.name}: {before:,.2f} ha before, {after:,.2f} ha after"

    def _zone_lines(self) -> Iterator[str]:
        """Hectares of each class by zone."""
        if self.zones is None:
            return
        shown = self.zones.zones[:_ZONES_SHOWN]
        widest = max([4, *(len(_cut(zone.name)) for zone in shown)])
        names = [one.name for one in self.legend]
        yield "".join([f"{'zone':<{widest}}", *(f"  {name + ' ha':>16}" for name in names), f"  {'observed':>8}"])
        for zone in shown:
            areas = (f"  {zone.area_m2.get(one.id, 0.0) / 1e4:>16,.2f}" for one in self.legend)
            share = zone.classified_m2(self.legend) / zone.zone_m2 if zone.zone_m2 else 0.0
            yield "".join([f"{_cut(zone.name):<{widest}}", *areas, f"  {share:>8.2%}"])
        if len(shown) < len(self.zones.zones):
            yield f"and {len(self.zones.zones) - len(shown):,} more zones: they are in areas.csv and areas.json"
        outside, overlap = self.zones.outside_m2 / 1e4, self.zones.overlap_m2 / 1e4
        yield f"In no zone: {outside:,.2f} ha; in more than one: {overlap:,.2f} ha."
        yield from self.zones.notes

    def _nominal_of(self, one: ClassArea) -> float:
        """How much larger, in percent, the nominal figure of one class is."""
        return _percent_larger(one.pixels * self.nominal_pixel_m2, one.area_m2)


def _class_json(one: ClassArea) -> Mapping[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "pixels": one.pixels,
        "area_m2": one.area_m2,
        "area_ha": one.area_m2 / 1e4,
        "share": one.share,
    }


def _zone_rows(zone: ZoneArea, legend: Legend) -> Iterator[list[object]]:
    """Rows of areas.csv for one zone: its classes, what was not observed of it, the whole of it."""
    classified = zone.classified_m2(legend)
    name = inert(zone.name)
    for one in legend:
        area_m2 = zone.area_m2.get(one.id, 0.0)
        share = area_m2 / classified if classified else 0.0
        yield [name, one.id, inert(one.name), "", *_m2_ha(area_m2), f"{share:.9g}"]
    yield [name, "", "not observed", "", *_m2_ha(zone.zone_m2 - classified), ""]
    yield [name, "", "zone", "", *_m2_ha(zone.zone_m2), ""]


def _m2_ha(area_m2: float) -> tuple[str, str]:
    """Square metres to the square decimetre, hectares to the square metre."""
    return f"{area_m2:.2f}", f"{area_m2 / 1e4:.4f}"


def _cut(name: str) -> str:
    """A name as a table on a terminal has room for."""
    return name if len(name) <= _NAME_SHOWN else name[: _NAME_SHOWN - 1] + "…"


def _percent_larger(nominal_m2: float, true_m2: float) -> float:
    return (nominal_m2 / true_m2 - 1) * 100 if true_m2 else 0.0


def _crs_text(grid: GeoBox) -> str:
    """EPSG:n where there is one, else WKT."""
    code = grid.crs.to_epsg() if grid.crs else None
    return f"EPSG:{code}" if code else str(grid.crs)


def _short(crs: str) -> str:
    """The name out of a WKT; an authority code as it is."""
    return crs.split('"')[1] if '"' in crs else crs
