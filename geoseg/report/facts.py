"""What an auditor asks of a figure: which scene, when, what definition, made by what; as rows of label, value, note."""

from dataclasses import dataclass

from geoseg.outcome import RunRecord
from geoseg.report.areas_document import Areas, Definition
from geoseg.report.assessment_document import Assessment
from geoseg.report.change_document import Change, ComparedMap
from geoseg.report.content import ReportContent
from geoseg.report.numbers import hectares, megabytes, moment, percent, plain_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A row."""

    label: str
    value: str
    note: str = ""
    code: bool = False
    """A checksum or an identifier: set in a fixed-width face."""


_LEVELS = {
    "toa": "top-of-atmosphere reflectance",
    "surface": "surface reflectance",
    "display8": "8-bit display image",
}


def key_facts(content: ReportContent) -> list[Fact]:
    """What page 1 says below the headline."""
    facts: list[Fact] = []
    if content.change is not None:
        facts += _change_facts(content.change)
    elif content.record is not None:
        facts += _scene_facts(content.record)
    if content.areas is not None:
        facts += _area_facts(content.areas, content.record)
    facts.append(_reference_fact(content.assessment))
    return facts


def _scene_facts(record: RunRecord) -> list[Fact]:
    level = record.level or _declared_level(record)
    known = record.acquired_source or ""
    return [
        Fact(label="Scene", value=record.scene),
        Fact(
            label="Acquired",
            value=record.acquired or "not known",
            note=known if record.acquired else "neither the files nor their names say when the scene was taken",
        ),
        Fact(label="Platform", value=record.platform or "not known", note="" if record.acquired else known),
        Fact(
            label="Pixel values",
            value=_LEVELS.get(level or "", level or "not known"),
            note=record.conversion or "used as the model takes them",
        ),
    ]


def _declared_level(record: RunRecord) -> str | None:
    scene = record.pipeline.get("scene")
    level = scene.get("level") if isinstance(scene, dict) else None
    return level if isinstance(level, str) else None


def _area_facts(areas: Areas, record: RunRecord | None) -> list[Fact]:
    wanted = areas.footprint_m2 - areas.outside_aoi_m2
    whole = "area of interest" if areas.outside_aoi_m2 else "footprint"
    facts = [
        Fact(
            label="Observed and classified",
            value=f"{percent(areas.classified_m2 / wanted if wanted else 0.0)} of the {whole}",
            note=f"{hectares(areas.classified_m2)} of {hectares(wanted)} ha",
        )
    ]
    if record is not None and record.aoi:
        facts.append(Fact(label="Area of interest", value=record.aoi, note="pixel centres inside count"))
    facts.append(
        Fact(
            label="How area is measured",
            value=f"on the {areas.ellipsoid or 'reference'} ellipsoid, pixel by pixel ({areas.method})",
            note=f"map in {_short(areas.crs)}; planimetric: no slope, no height. {_sentence(areas.nominal.sentence)}",
        )
    )
    facts += _definition_facts(areas.definition, record)
    return facts


def _definition_facts(definition: Definition | None, record: RunRecord | None) -> list[Fact]:
    if definition is None:
        value = "none was applied: no minimum area, width or canopy threshold"
        meant = "what the model bundle means by forest is quoted above" if record and record.forest_definition else ""
        return [Fact(label="Definition", value=value, note=meant)]
    note = ". ".join(one.rstrip(". ") for one in (definition.source, definition.note) if one)
    facts = [
        Fact(label="Definition", value=definition.name, note=note),
        Fact(label="Thresholds", value=_thresholds(definition), note=f"for {', '.join(definition.classes)}"),
    ]
    if definition.canopy_threshold_percent is not None:
        value = f"{definition.canopy_threshold_percent:g} % by the definition; no rule can apply it to a map"
        facts.append(Fact(label="Canopy cover", value=value, note=definition.canopy_source or ""))
    return facts


def _thresholds(definition: Definition) -> str:
    parts = []
    if definition.min_area_m2:
        parts.append(f"patches of at least {definition.min_area_m2 / 1e4:g} ha")
    if definition.min_width_m:
        parts.append(f"at least {definition.min_width_m:g} m wide")
    if definition.min_gap_area_m2:
        parts.append(f"gaps below {definition.min_gap_area_m2 / 1e4:g} ha filled")
    if definition.connectivity is not None:
        parts.append(f"{definition.connectivity}-connected")
    return "; ".join(parts) or "none"


def _reference_fact(assessment: Assessment | None) -> Fact:
    if assessment is None:
        return Fact(label="Reference data", value="none", note="draw a sample with geoseg sample, then geoseg assess")
    reference = assessment.reference
    dropped = [
        f"{count} {what}"
        for count, what in (
            (reference.blank, "blank"),
            (reference.uninterpretable, "uninterpretable"),
            (reference.duplicates, "duplicate"),
            (reference.disagreements, "in disagreement"),
        )
        if count
    ]
    used = f"{plain_number(reference.used)} points used" if reference.used is not None else ""
    return Fact(
        label="Reference data",
        value=reference.name or "a reference sample",
        note="; ".join(part for part in (used, f"left out: {', '.join(dropped)}" if dropped else "") if part),
    )


def _change_facts(change: Change) -> list[Fact]:
    years = f"{change.years:.4g} years" if change.years else "not known: no annual rates"
    observed = change.footprint_m2 - change.unobserved.total_m2
    return [
        _map_fact("First map", change.map1),
        _map_fact("Second map", change.map2),
        Fact(label="Time between", value=years),
        Fact(
            label="Observed at both dates",
            value=f"{percent(observed / change.footprint_m2 if change.footprint_m2 else 0.0)} of the footprint",
            note=f"{hectares(observed)} of {hectares(change.footprint_m2)} ha",
        ),
        Fact(
            label="How area is measured",
            value=f"on the {change.ellipsoid or 'reference'} ellipsoid, pixel by pixel ({change.method})",
            note=f"maps in {_short(change.crs)}; planimetric: no slope, no height. "
            f"{_sentence(change.nominal.sentence)}",
        ),
    ]


def _map_fact(label: str, one: ComparedMap) -> Fact:
    parts = [f"date {one.date}" if one.date else "date not known"]
    if one.bundle:
        parts.append(f"bundle {one.bundle}")
    if one.platform:
        parts.append(one.platform)
    if one.level:
        parts.append(_LEVELS.get(one.level, one.level))
    if one.definition is not None:
        parts.append(f"definition {one.definition.name}")
    return Fact(label=label, value=one.name or "not named", note="; ".join(parts))


def provenance(content: ReportContent) -> list[Fact]:
    """Where everything comes from, for whoever wants to make it again."""
    facts: list[Fact] = []
    if content.change is not None:
        for label, one in (("First map", content.change.map1), ("Second map", content.change.map2)):
            facts.append(Fact(label=f"{label}, sha256", value=one.sha256 or "not recorded", code=True))
            if one.pipeline_digest:
                facts.append(Fact(label=f"{label}, pipeline digest", value=one.pipeline_digest, code=True))
    if content.assessment is not None and content.assessment.map.sha256:
        facts.append(Fact(label="Assessed map, sha256", value=content.assessment.map.sha256, code=True))
    if content.areas is not None and content.areas.definition is not None and content.areas.definition.sha256:
        facts.append(Fact(label="Definition, sha256", value=content.areas.definition.sha256, code=True))
    if content.record is not None:
        facts += _record_facts(content.record)
    return facts


def _record_facts(record: RunRecord) -> list[Fact]:
    name = record.pipeline.get("name")
    engine = f"{record.engine}, {record.precision}, {record.device}"
    model = [
        Fact(label="Model bundle", value=record.bundle, note=f"licence {record.bundle_licence or 'not recorded'}"),
        Fact(label="Bundle sha256", value=record.bundle_sha256, code=True),
        Fact(label="Training data", value=record.training_data or "not recorded"),
        Fact(label="Engine, precision, device", value=engine),
    ]
    checked = [Fact(label="Input sha256", value=record.scene_sha256, code=True)] if record.scene_sha256 else []
    return [
        Fact(label="Input", value=record.scene),
        Fact(label="Input fingerprint", value=record.fingerprint, code=True),
        *checked,
        *([Fact(label="Pipeline", value=str(name))] if name else []),
        Fact(label="Pipeline digest", value=record.pipeline_digest, code=True),
        *(model if record.bundle else []),
        Fact(label="Job", value=record.job, code=True),
        Fact(label="Started", value=moment(record.started)),
        Fact(label="Finished", value=moment(record.finished)),
        Fact(label="Peak memory", value=megabytes(record.peak_memory_bytes)),
        Fact(label="Software", value=", ".join(f"{one} {found}" for one, found in record.versions.items())),
    ]


def _short(crs: str) -> str:
    """The name out of a WKT; an authority code as it is."""
    return crs.split('"')[1] if '"' in crs else crs


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""
