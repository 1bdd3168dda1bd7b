"""What the templates show beside the documents themselves: cautions, rows, shares; words of page 1 are `headline`'s."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from geoseg.report.areas_document import Areas, ZoneRow
from geoseg.report.assessment_document import AssessedClass, Assessment, Estimate
from geoseg.report.change_document import UNASSESSED, Change
from geoseg.report.content import ReportContent
from geoseg.report.numbers import plain_number

_GREY: Final = "#8a9691"


def cautions(content: ReportContent) -> list[str]:
    """What must be known on page 1 though no document calls it a warning."""
    areas = content.areas
    found: list[str] = []
    if areas is None:
        return found
    wanted = areas.footprint_m2 - areas.outside_aoi_m2
    if wanted > 0 and areas.classified_m2 < 0.9 * wanted:
        missing = 100 * (1 - areas.classified_m2 / wanted)
        found.append(f"{missing:.1f} % of the ground was not observed: the figures leave it out.")
    if areas.not_processed_m2 > 0:
        found.append("A part of the scene was not processed: the figures leave it out.")
    if areas.zones_summary is not None and areas.zones_summary.overlap_m2 > 0:
        found.append("Zones overlap: ground in more than one zone is counted in each.")
    undetermined = sum(rule.undetermined for rule in areas.rules)
    if undetermined:
        found.append(
            f"{plain_number(undetermined)} patches, gaps or narrow parts are undetermined: below a threshold of the "
            "definition, but cut by an edge or by ground that was not observed, so kept as they are."
        )
    return found


def warnings(content: ReportContent) -> list[str]:
    """What a comparison warns of, but for what an assessment has settled."""
    if content.change is None:
        return []
    return [one for one in content.change.warnings if content.assessment is None or one != UNASSESSED]


def area_views(areas: Areas, colors: dict[int, str]) -> dict[str, Any]:
    """Rows without a class, and how zones are drawn and summed."""
    no_class = [
        ("not observed (nodata)", areas.nodata_m2),
        ("outside the area of interest", areas.outside_aoi_m2),
        *((f"masked ({reason})", area) for reason, area in areas.masked_m2.items()),
        ("not processed", areas.not_processed_m2),
    ]

    def zone_parts(zone: ZoneRow) -> list[tuple[float, str]]:
        total = zone.zone_m2 or zone.footprint_m2 or zone.classified_m2
        return [(one.area_m2 / total if total else 0.0, colors.get(one.id, _GREY)) for one in zone.classes]

    return {
        "no_class": [(name, area) for name, area in no_class if area > 0],
        "zone_parts": zone_parts,
        "zone_total": lambda k: sum(zone.area_of(k) for zone in areas.zones),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """A map class of the error matrix."""

    name: str
    cells: tuple[tuple[int, float | None, bool], ...]
    """(points, part of the area, map class = reference class)."""
    total: int


def accuracy_views(found: Assessment) -> dict[str, Any]:
    """Names, intervals and their places on a scale that all classes share."""
    names = {one.id: one.name for one in found.classes}
    strata = {one.id: one.name for one in found.design.strata if not found.matrix.map_classes}
    intervals = {one.id: _shown_interval(one) for one in found.classes}
    largest = max((one.high or one.value for one in intervals.values()), default=0.0) or 1.0

    def interval_parts(one: AssessedClass) -> tuple[float | None, float, float | None]:
        shown = intervals[one.id]
        low = None if shown.low is None else max(0.0, shown.low) / largest
        return low, max(0.0, shown.value) / largest, None if shown.high is None else shown.high / largest

    return {
        "class_name": lambda k: names.get(k, f"class {k}"),
        "matrix": list(_matrix_rows(found, {**names, **strata})),
        "interval_parts": interval_parts,
        "intervals": intervals,
        "design_words": _design_words(found),
    }


def _shown_interval(one: AssessedClass) -> Estimate:
    """The area with the interval that may be trusted; none where there is none."""
    if one.trusts_wald:
        return one.area_m2
    limits = one.area_score_m2
    low, high = (None, None) if limits is None else (limits.low, limits.high)
    return Estimate(value=one.area_m2.value, low=low, high=high)


def _matrix_rows(found: Assessment, names: dict[int, str]) -> Iterator[MatrixRow]:
    for k, (stratum, counts) in enumerate(zip(found.matrix.row_ids, found.matrix.counts, strict=False)):
        shares = found.matrix.proportions[k] if k < len(found.matrix.proportions) else ()
        cells = tuple(
            (count, shares[j] if j < len(shares) else None, stratum == reference)
            for j, (reference, count) in enumerate(zip(found.matrix.reference_classes, counts, strict=False))
        )
        yield MatrixRow(name=names.get(stratum, f"class {stratum}"), cells=cells, total=sum(counts))


def _design_words(found: Assessment) -> str:
    design, reference = found.design, found.reference
    parts = [design.method or "stratified random sample"]
    if isinstance(design.allocation, str):
        parts.append(f"{design.allocation} allocation")
    if design.seed is not None:
        parts.append(f"seed {design.seed}")
    if reference.interpreters:
        parts.append(f"interpreted by {', '.join(reference.interpreters)}")
    if reference.agreement is not None:
        parts.append(f"interpreters agree on {100 * reference.agreement:.1f} % of the points they share")
    parts += [f"{area / 1e4:,.2f} ha excluded: {reason}" for reason, area in design.excluded_m2.items() if area]
    return "; ".join(parts) + "."


def change_views(change: Change) -> dict[str, Any]:
    """Square metres by (from, to), by first and by second class; 0 where nothing moved."""
    moved: defaultdict[tuple[int, int], float] = defaultdict(float)
    row_totals: defaultdict[int, float] = defaultdict(float)
    column_totals: defaultdict[int, float] = defaultdict(float)
    for one in change.transitions:
        moved[one.from_id, one.to] += one.area_m2
        row_totals[one.from_id] += one.area_m2
        column_totals[one.to] += one.area_m2
    return {"moved": moved, "row_totals": row_totals, "column_totals": column_totals}
