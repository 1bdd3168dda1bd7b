"""The first thing a reader sees: the figure, its uncertainty where there is one, and what must be known with it."""

from dataclasses import dataclass
from typing import Final

from geoseg.report.areas_document import Areas
from geoseg.report.assessment_document import AssessedClass, Assessment, Estimate
from geoseg.report.change_document import Change
from geoseg.report.content import ReportContent
from geoseg.report.numbers import M2_PER_HA, estimate_ha, hectares, interval_ha, plain_number, rounded_ha, signed
from geoseg.report.target import Target, find_target

NO_SAMPLE: Final = (
    "No reference sample was assessed with this map, so no uncertainty can be stated. The mapped area is a count of "
    "pixels; errors of the map make it too large or too small by an unknown amount."
)
BIASED: Final = (
    "Count of the map's pixels on the ellipsoid. It carries the errors of the map and is no estimate with an "
    "uncertainty."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One big number."""

    label: str
    value: str
    unit: str
    detail: str
    estimated: bool = False
    """From a reference sample, so with an interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """Figures side by side, the best founded first, and the sentences that belong to them."""

    figures: tuple[Figure, ...]
    sentences: tuple[str, ...]
    paired: bool = False
    """Figures come in twos: estimated, mapped."""


def make_headline(content: ReportContent) -> Headline:
    """The headline of a run or of a change."""
    if content.change is not None:
        return _change_headline(content.change, content.assessment)
    if content.areas is None:
        raise ValueError("a report without areas has no headline")
    record = content.record
    target = find_target(
        {one.id: one.name for one in content.areas.classes},
        content.areas.definition,
        record.forest_definition if record else None,
    )
    return _run_headline(content.areas, content.assessment, target)


def _run_headline(areas: Areas, assessment: Assessment | None, target: Target | None) -> Headline:
    if target is None:
        total = Figure(
            label=f"Mapped area of all {len(areas.classes)} classes",
            value=hectares(areas.classified_m2),
            unit="ha",
            detail="The table below has each class.",
        )
        return Headline(figures=(total,), sentences=_accuracy_sentences(assessment))
    mapped_m2 = sum(one.area_m2 for one in areas.classes if one.id in target.ids)
    share = mapped_m2 / areas.classified_m2 if areas.classified_m2 else 0.0
    prefix = "Area of " if target.term.startswith("mapped") else "Mapped area of "
    mapped = Figure(
        label=f"{prefix}{target.term}",
        value=hectares(mapped_m2),
        unit="ha",
        detail=f"{100 * share:.2f} % of the classified area. {BIASED if assessment else ''}".strip(),
    )
    remarks = (target.remark,) if target.remark else ()
    found = _single(assessment, target)
    if assessment is None or found is None:
        return Headline(figures=(mapped,), sentences=(*remarks, *_accuracy_sentences(assessment)))
    label = f"Error-adjusted area of {target.term.removeprefix('mapped ')}"
    sentences = (*remarks, *_accuracy_sentences(assessment))
    if not _is_whole(found, mapped_m2):
        part = _estimated(found, assessment, f"{label}, in the sampled part alone")
        return Headline(figures=(mapped, part), sentences=(_partial_sentence(found, mapped_m2), *sentences))
    return Headline(figures=(_estimated(found, assessment, label), mapped), sentences=sentences)


def _is_whole(found: AssessedClass, mapped_m2: float) -> bool:
    """Whether the sample was drawn from all of the class that is mapped; else its estimate is of a part."""
    return abs(found.mapped_m2 - mapped_m2) <= 1e-6 * mapped_m2


def _partial_sentence(found: AssessedClass, mapped_m2: float) -> str:
    return (
        f"The reference sample was drawn from a part of the map that holds {hectares(found.mapped_m2)} of the "
        f"{hectares(mapped_m2)} ha mapped as {found.name}: its estimate says nothing of the rest, and is no figure for "
        "the whole."
    )


def _estimated(found: AssessedClass, assessment: Assessment, label: str) -> Figure:
    """With ± where that can be trusted, else with the limits that hold for rare classes."""
    level = f"{100 * assessment.confidence_level:g} %"
    limits = found.area_score_m2
    value = hectares(found.area_m2.value)
    if found.trusts_wald:
        value = estimate_ha(found.area_m2).removesuffix(" ha")
    elif limits is not None:
        value = rounded_ha(found.area_m2.value, limits.low, limits.high)
    return Figure(
        label=label,
        value=value,
        unit="ha",
        detail=f"{area_interval(found)} ({level} confidence, approximate), from {_sample(assessment)}.",
        estimated=True,
    )


def area_interval(found: AssessedClass) -> str:
    """The confidence interval of a class's area, in words."""
    if found.trusts_wald:
        return f"Interval {interval_ha(found.area_m2)}"
    limits = found.area_score_m2
    if limits is None:
        return "No interval can be given"
    between = Estimate(value=found.area_m2.value, low=limits.low, high=limits.high)
    return f"Score interval {interval_ha(between)}, as few points disagree with the map"


def _single(assessment: Assessment | None, target: Target) -> AssessedClass | None:
    """The estimate of a single class; of several together no interval can be given from theirs."""
    return assessment.of(target.ids[0]) if assessment is not None and len(target.ids) == 1 else None


def _sample(assessment: Assessment) -> str:
    used = assessment.reference.used
    size = f"{plain_number(used)} reference points" if used is not None else "a reference sample"
    return f"{size} ({assessment.reference.name})" if assessment.reference.name else size


def _accuracy_sentences(assessment: Assessment | None) -> tuple[str, ...]:
    if assessment is None:
        return (NO_SAMPLE,)
    flags = [f"{one.name}: {flag}" for one in assessment.classes for flag in one.flags]
    return (*flags[:3], *(("More is said under Accuracy.",) if len(flags) > 3 else ()))


def _change_headline(change: Change, assessment: Assessment | None) -> Headline:
    target = _change_target(change)
    if target is None:
        moved = sum(one.area_m2 for one in change.transitions if one.from_id != one.to)
        label = f"Mapped change {_period(change)}"
        figure = Figure(label=label, value=hectares(moved), unit="ha", detail="From any class to another.")
        return Headline(figures=(figure,), sentences=_change_sentences(assessment))
    one = next(one for one in change.classes if one.id == target.ids[0])
    term = target.term.removeprefix("mapped ")
    mapped = {
        "loss": _measured(f"Mapped loss of {term} {_period(change)}", hectares(one.loss_m2), one.annual_loss_ha),
        "gain": _measured(f"Mapped gain of {term}", hectares(one.gain_m2), one.annual_gain_ha),
    }
    remarks = (target.remark,) if target.remark else ()
    sentences = (*remarks, *_change_sentences(assessment))
    found = {way: _assessed_change(assessment, f"{one.name} {way}") for way in mapped}
    if assessment is None or not any(found.values()):
        net = _measured("Net", signed(one.net_m2 / M2_PER_HA), one.annual_net_ha)
        return Headline(figures=(*mapped.values(), net), sentences=sentences)
    figures: list[Figure] = []
    for way, figure in mapped.items():
        if (estimate := found[way]) is not None:
            mapped_m2 = one.loss_m2 if way == "loss" else one.gain_m2
            whole = _is_whole(estimate, mapped_m2)
            label = f"Error-adjusted {way} of {term}{'' if whole else ', in the sampled part alone'}"
            figures.append(_estimated(estimate, assessment, label))
            sentences += () if whole else (_partial_sentence(estimate, mapped_m2),)
        figures.append(figure)
    return Headline(figures=tuple(figures), sentences=sentences, paired=True)


def _measured(label: str, value: str, annual_ha: float | None) -> Figure:
    yearly = "" if annual_ha is None else f"{plain_number(annual_ha, 2)} ha per year".replace("-", "−")
    return Figure(label=label, value=value, unit="ha", detail=yearly)


def _assessed_change(assessment: Assessment | None, name: str) -> AssessedClass | None:
    """The class of the change map that is named after a loss or a gain."""
    if assessment is None:
        return None
    return next((one for one in assessment.classes if one.name.casefold() == name.casefold()), None)


def _change_target(change: Change) -> Target | None:
    """The class the comparison was made for, else the one that stands out."""
    names = {one.id: one.name for one in change.classes}
    first, second = change.map1, change.map2
    definition = first.definition if first.definition == second.definition else None
    meant = first.bundle_definition if first.bundle_definition == second.bundle_definition else None
    if change.target is not None and change.target.id in names:
        names = {change.target.id: change.target.name}
        found = find_target(names, definition, meant)
        return found or Target(ids=tuple(names), term=f"class “{change.target.name}”", remark="")
    found = find_target(names, definition, meant)
    return found if found is not None and len(found.ids) == 1 else None


def _change_sentences(assessment: Assessment | None) -> tuple[str, ...]:
    if assessment is None:
        return (
            "No reference sample was assessed with this change map, so no uncertainty can be stated. A difference of "
            "two maps carries the errors of both.",
        )
    return ("A difference of two maps carries the errors of both: the error-adjusted areas are the ones to report.",)


def _period(change: Change) -> str:
    first, second = change.map1.date, change.map2.date
    if first and second:
        return f"from {first[:10]} to {second[:10]}"
    return f"over {change.years:g} years" if change.years else "between the two maps"
