"""An assessment as programs and people read it: assessment.json, two tables, a text. Nothing is estimated here."""

import math
from collections.abc import Iterator
from typing import Any, Final

from geoseg.accuracy.assessment import Assessment, ClassAccuracy
from geoseg.accuracy.design import SampleDesign
from geoseg.accuracy.estimate import ESTIMATE_PARTS, Estimate

SCHEMA: Final = "geoseg-assessment-1"
Cells = dict[str, list[str]]
Limits = tuple[float, float]


def to_json(found: Assessment) -> dict[str, Any]:
    """The document of assessment.json."""
    design = found.design
    return {
        "schema": SCHEMA,
        "map": {"name": design.map.name, "sha256": design.map.sha256, "crs": design.map.crs},
        "reference": found.responses.to_json(found.reference),
        "design": {
            "strata": [
                {"id": one.id, "name": one.name, "area_m2": one.area_m2, "pixels": one.pixels, "n": one.points}
                | {"drawn": drawn.points}
                for one, drawn in zip(found.strata, design.strata, strict=True)
            ],
            "strata_source": design.strata_source,
            "allocation": design.allocation,
            "seed": design.seed,
            "method": "stratified random, without replacement",
            "buffer_pixels": design.buffer_pixels,
            "population_m2": design.population_m2,
            "excluded_m2": dict(design.excluded_m2),
        },
        "confidence_level": found.level,
        "z": found.z,
        "estimator": found.estimator,
        "overall_accuracy": found.overall.to_json(),
        "overall_accuracy_score": _limits_json(found.overall_score),
        "classes": [_class_json(one) for one in found.classes],
        "matrix": {
            "strata": [one.id for one in found.strata],
            "map_classes": list(found.table.class_ids),
            "reference_classes": list(found.table.class_ids),
            "counts": found.matrix.tolist(),
            "proportions": found.table.proportions.tolist(),
            "counts_by_stratum": found.table.counts.tolist(),
        },
        "headline": headline(found),
        "notes": notes(found),
    }


def matrix_columns(found: Assessment) -> Cells:
    """The columns of error_matrix.csv: a row per map class, in points, then in shares of the area."""
    names = [found.design.legend.name_of(one) for one in found.table.class_ids]
    counts, shares = found.matrix, found.table.proportions
    kinds = ["points"] * (len(names) + 1) + ["share of area"] * (len(names) + 1)
    columns: Cells = {"map_class": [*names, "total"] * 2, "unit": kinds}
    for index, name in enumerate(names):
        whole = [*counts[:, index], counts[:, index].sum()]
        part = [*shares[:, index], shares[:, index].sum()]
        columns[f"reference: {name}"] = [str(int(one)) for one in whole] + [f"{one:.9g}" for one in part]
    columns["total"] = [str(int(one)) for one in (*counts.sum(axis=1), counts.sum())] + [
        f"{one:.9g}" for one in (*shares.sum(axis=1), shares.sum())
    ]
    return columns


def accuracy_columns(found: Assessment) -> Cells:
    """The columns of accuracy.csv: a row per class, then the overall accuracy; empty where nothing can be said."""
    rows = [_row(one) for one in found.classes]
    total = found.design.population_m2
    last = dict.fromkeys(rows[0], "") | {
        "class": "all classes: overall accuracy",
        "mapped_ha": f"{total / 1e4:.4f}",
        "n_map": str(int(found.table.points.sum())),
        "n_reference": str(int(found.table.points.sum())),
    }
    overall = _estimate_cells("overall_accuracy", found.overall) | _limit_cells("overall_score", found.overall_score)
    last |= overall
    blank = dict.fromkeys(overall, "")
    full = [*({**row, **blank} for row in rows), last]
    ordered = [name for name in full[0] if name != "flags"] + ["flags"]
    level = {"confidence_level": [f"{found.level:g}"] * len(full)}
    return {name: [row[name] for row in full] for name in ordered} | level


def headline(found: Assessment) -> list[str]:
    """One sentence a class: hectares and their interval, by score where Wald's is not to be trusted."""
    level = f"{found.level * 100:g} % confidence, approximate"
    lines = []
    for one in found.classes:
        low, high = (_ha(limit) for limit in one.score_m2)
        start, mapped = f"{one.name}: {_ha(one.area.value)}", f"mapped {_ha(one.mapped_m2)} ha"
        if one.n_reference == 0:
            lines.append(f"{start} ha, at most {high} ha ({level}; {mapped})")
        elif one.area_interval == "score":
            lines.append(f"{start} ha, between {low} and {high} ha ({level}, score interval; {mapped})")
        else:
            lines.append(f"{start} ± {_ha(one.area.half_width)} ha ({level}; {mapped})")
    return lines


def notes(found: Assessment) -> list[str]:
    """What a reader must know to use the figures."""
    return list(_notes(found))


def summary(found: Assessment) -> str:
    """A plain table for the terminal, and the sentences that belong to it."""
    width = max(len(one.name) for one in found.classes)
    level = f"± {found.level * 100:g} %"
    head = f"{'class':<{width}}  {'mapped ha':>15}  {'area ha':>15}  {level:>13}"
    lines = [f"{head}  {'user’s':>15}  {'producer’s':>15}  {'F1':>15}  {'n map':>6}  {'n ref':>6}"]
    for one in found.classes:
        half = "see below" if one.area_interval == "score" else _ha(one.area.half_width)
        rates = "  ".join(f"{text:>15}" for text in (_rate(one.users, one.users_score), _producers(one), _rate(one.f1)))
        lines.append(
            f"{one.name:<{width}}  {_ha(one.mapped_m2):>15}  {_ha(one.area.value):>15}  {half:>13}  {rates}  "
            f"{one.n_map:>6}  {one.n_reference:>6}"
        )
    accuracy = _rate(found.overall, found.overall_score)
    if "…" in accuracy:
        accuracy = f"{found.overall.value:.3f} ({accuracy})"
    lines.append(f"Overall accuracy {accuracy}, from {int(found.table.points.sum())} reference points.")
    lines += [f"{line}." for line in headline(found)]
    lines += [f"note: {one.name}: {flag}" for one in found.classes for flag in one.flags]
    lines += [f"note: {line}" for line in _notes(found)]
    return "\n".join(lines)


def _class_json(one: ClassAccuracy) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "mapped_m2": one.mapped_m2,
        "area_m2": one.area.to_json(),
        "area_interval": one.area_interval,
        "area_score_m2": _limits_json(one.score_m2),
        "users_accuracy": None if one.users is None else one.users.to_json(),
        "users_accuracy_score": _limits_json(one.users_score),
        "producers_accuracy": None if one.producers is None else one.producers.to_json(),
        "producers_accuracy_score": _limits_json(one.producers_score),
        "f1": None if one.f1 is None else one.f1.to_json(),
        "n_map": one.n_map,
        "n_reference": one.n_reference,
        "flags": list(one.flags),
    }


def _row(one: ClassAccuracy) -> dict[str, str]:
    row = {"class_id": str(one.id), "class": one.name, "mapped_ha": f"{one.mapped_m2 / 1e4:.4f}"}
    row |= _estimate_cells("area_ha", one.area.scaled(1e-4))
    row |= {"area_score_low_ha": f"{one.score_m2[0] / 1e4:.4f}", "area_score_high_ha": f"{one.score_m2[1] / 1e4:.4f}"}
    for name, rate in (("users_accuracy", one.users), ("producers_accuracy", one.producers), ("f1", one.f1)):
        row |= _estimate_cells(name, rate)
    row |= _limit_cells("users_score", one.users_score) | _limit_cells("producers_score", one.producers_score)
    return row | {"n_map": str(one.n_map), "n_reference": str(one.n_reference), "flags": "; ".join(one.flags)}


def _estimate_cells(name: str, found: Estimate | None) -> dict[str, str]:
    parts = dict.fromkeys(ESTIMATE_PARTS) if found is None else found.to_json()
    digits = ".4f" if name.endswith("_ha") else ".6f"
    return {
        name if part == "value" else f"{name}_{part}": "" if one is None else format(one, digits)
        for part, one in parts.items()
    }


def _limit_cells(name: str, limits: Limits | None) -> dict[str, str]:
    low, high = ("", "") if limits is None else (f"{limit:.6f}" for limit in limits)
    return {f"{name}_low": low, f"{name}_high": high}


def _limits_json(limits: Limits | None) -> dict[str, float] | None:
    return None if limits is None else {"low": limits[0], "high": limits[1]}


def _notes(found: Assessment) -> Iterator[str]:
    design, answers = found.design, found.responses
    yield (
        f"intervals are at {found.level * 100:g} % confidence (z = {found.z:.4f}), by Wald where no score interval "
        "is named, and approximate; 95 % is the convention of the IPCC, some programmes ask for 90 %"
    )
    yield f"estimator: {found.estimator}"
    if found.table.weighed is not None:
        yield "pixels of a stratum differ in area: each point is weighed by the ground it stands for"
    yield "areas are planimetric, on the WGS 84 ellipsoid, without slope or height"
    unused = len(design.points) - len(answers.labels)
    if unused:
        yield (
            f"{unused} of {len(design.points)} points were not used ({answers.blank} blank, {answers.uninterpretable} "
            f"uninterpretable, {answers.disagreements} with labels that differ): that is assumed to have nothing to "
            "do with their class (ignorable non-response)"
        )
    if answers.duplicates:
        yield f"{answers.duplicates} rows repeat a point of the same interpreter; each point counts once"
    if answers.doubly:
        yield (
            f"{answers.doubly} points were labelled by two or more interpreters, {answers.agreed} of them alike; "
            f"{answers.consensus} points were settled by consensus"
        )
    if not answers.has_coordinates:
        yield (
            f"points were matched by sample_id alone ({answers.rows - answers.placed} of {answers.rows} rows): their x "
            "and y are missing, empty or cannot be read"
        )
    yield from _population_notes(design)
    for one in found.strata:
        if one.points == 1 and one.pixels > 1:
            yield f"stratum {one.name} has one usable point: what depends on it has no standard error"


def _population_notes(design: SampleDesign) -> Iterator[str]:
    """Of what the figures do not speak."""
    for reason, m2 in design.excluded_m2.items():
        if m2:
            yield f"{_ha(m2)} ha are not in the population and in no estimate: {reason}"
    for name, m2 in design.left_out_m2.items():
        yield f"{name} ({_ha(m2)} ha of the map) has no pixel in the population: nothing is estimated of it"
    if design.buffer_pixels:
        yield (
            f"points lie {design.buffer_pixels} pixels from class borders at least: errors gather at borders, so "
            "the accuracy of the whole map is lower than the one given here"
        )


def _ha(m2: float) -> str:
    return f"{m2 / 1e4:,.2f}"


def _producers(one: ClassAccuracy) -> str:
    if one.area_interval == "score" and one.producers is not None and one.producers_score is not None:
        return f"{one.producers_score[0]:.3f} … {one.producers_score[1]:.3f}"
    return _rate(one.producers, one.producers_score)


def _rate(found: Estimate | None, score: Limits | None = None) -> str:
    """Value ± half width; the score limits, or the value alone, where ± would be 0.000 or is not known."""
    if found is None:
        return "-"
    if math.isfinite(found.se) and found.half_width >= 0.0005:
        return f"{found.value:.3f} ± {found.half_width:.3f}"
    if score is None or score[1] - score[0] < 0.0005:  # nothing is known of it, or all of it was counted
        return f"{found.value:.3f}"
    return f"{score[0]:.3f} … {score[1]:.3f}"
