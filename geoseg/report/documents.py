"""The JSON documents a run, an assessment and a change leave, as the page reads them; unknown keys are no matter."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from geoseg.errors import ProductError

Kind = TypeVar("Kind", bound="Document")


class Document(BaseModel):
    """Part of a document: immutable; numbers are finite."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class ClassRow(Document):
    """A class of areas.json or of one of its zones."""

    id: int
    name: str
    pixels: int | None = None
    area_m2: float
    share: float = 0.0


class ZoneRow(Document):
    """A zone of areas.json."""

    zone: str
    zone_m2: float | None = None
    footprint_m2: float | None = None
    coverage_share: float | None = None
    not_observed_m2: float | None = None
    classes: tuple[ClassRow, ...] = ()

    @property
    def classified_m2(self) -> float:
        """The classes together."""
        return sum(one.area_m2 for one in self.classes)

    def area_of(self, class_id: int) -> float:
        """Square metres of a class; 0 where the zone has none."""
        return next((one.area_m2 for one in self.classes if one.id == class_id), 0.0)


class ZonesSummary(Document):
    """What does not add up in the zones."""

    source: str = ""
    field: str = ""
    overlap_m2: float = 0.0
    outside_m2: float = 0.0
    notes: tuple[str, ...] = ()


class RuleClass(Document):
    """A class before and after a rule."""

    id: int
    name: str
    before_m2: float
    after_m2: float
    undetermined_m2: float = 0.0


class Rule(Document):
    """What one rule of a definition did."""

    rule: str
    changed: int = 0
    undetermined: int = 0
    classes: tuple[RuleClass, ...] = ()


class Definition(Document):
    """The forest definition that was applied."""

    name: str
    term: str = ""
    source: str = ""
    note: str = ""
    canopy_threshold_percent: float | None = None
    canopy_source: str | None = None
    min_area_m2: float | None = None
    min_width_m: float | None = None
    min_gap_area_m2: float | None = None
    connectivity: int | None = None
    classes: tuple[str, ...] = ()
    sha256: str | None = None


class Nominal(Document):
    """What counting pixels would say."""

    pixel_m2: float | None = None
    difference_percent: float | None = None
    sentence: str = ""


class Areas(Document):
    """areas.json."""

    scene: str = ""
    crs: str = ""
    method: str = ""
    ellipsoid: str = ""
    footprint_m2: float
    nodata_m2: float = 0.0
    outside_aoi_m2: float = 0.0
    masked_m2: dict[str, float] = Field(default_factory=dict)
    not_processed_m2: float = 0.0
    classes: tuple[ClassRow, ...]
    definition: Definition | None = None
    rules: tuple[Rule, ...] = ()
    zones: tuple[ZoneRow, ...] = ()
    zones_summary: ZonesSummary | None = None
    nominal: Nominal = Nominal()

    @property
    def classified_m2(self) -> float:
        """The classes together."""
        return sum(one.area_m2 for one in self.classes)


class Estimate(Document):
    """A figure with its standard error and confidence interval."""

    value: float
    se: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def half_width(self) -> float | None:
        """Half of the confidence interval; None where there is none."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


class AssessedClass(Document):
    """A class of an assessment."""

    id: int
    name: str
    mapped_m2: float
    area_m2: Estimate
    users_accuracy: Estimate | None = None
    producers_accuracy: Estimate | None = None
    f1: Estimate | None = None
    n_map: int | None = None
    n_reference: int | None = None
    flags: tuple[str, ...] = ()


class Stratum(Document):
    """A stratum of the sample."""

    id: int
    name: str
    area_m2: float
    pixels: int | None = None
    n: int


class Design(Document):
    """How the sample was drawn."""

    strata: tuple[Stratum, ...] = ()
    allocation: str | dict[str, Any] | None = None
    seed: int | None = None
    method: str | None = None
    excluded_m2: dict[str, float] = Field(default_factory=dict)


class Reference(Document):
    """The reference sample."""

    name: str = ""
    rows: int | None = None
    used: int | None = None
    blank: int | None = None
    uninterpretable: int | None = None
    duplicates: int | None = None
    disagreements: int | None = None
    agreement: float | None = None
    interpreters: tuple[str, ...] = ()


class Matrix(Document):
    """The error matrix: rows are strata of the sample, columns reference classes."""

    strata: tuple[int, ...]
    reference_classes: tuple[int, ...]
    counts: tuple[tuple[int, ...], ...]
    proportions: tuple[tuple[float, ...], ...] = ()


class AssessedMap(Document):
    """Which map was assessed."""

    name: str = ""
    sha256: str | None = None


class Assessment(Document):
    """assessment.json."""

    map: AssessedMap = AssessedMap()
    reference: Reference = Reference()
    design: Design = Design()
    confidence_level: Annotated[float, Field(gt=0, lt=1)]
    estimator: str = ""
    overall_accuracy: Estimate
    classes: tuple[AssessedClass, ...]
    matrix: Matrix
    notes: tuple[str, ...] = ()

    def of(self, class_id: int) -> AssessedClass | None:
        """The class of that id."""
        return next((one for one in self.classes if one.id == class_id), None)


class ComparedMap(Document):
    """One of the two maps of a change."""

    name: str = ""
    date: str | None = None
    sha256: str | None = None
    bundle: str | None = None
    pipeline_digest: str | None = None
    definition: str | dict[str, Any] | None = None


class Transition(Document):
    """What became what."""

    from_id: int = Field(alias="from")
    from_name: str
    to: int
    to_name: str
    pixels: int | None = None
    area_m2: float


class Named(Document):
    """A class that something is about."""

    id: int
    name: str


class Unobserved(Document):
    """Ground that one date or both did not see."""

    first_m2: float = 0.0
    second_m2: float = 0.0
    both_m2: float = 0.0
    total_m2: float = 0.0


class ChangeClass(Document):
    """A class at both dates."""

    id: int
    name: str
    area1_m2: float
    area2_m2: float
    gain_m2: float
    loss_m2: float
    net_m2: float
    annual_gain_ha: float | None = None
    annual_loss_ha: float | None = None
    annual_net_ha: float | None = None
    annual_rate_percent: float | None = None


class ChangeZoneClass(Document):
    """A class at both dates in a zone."""

    id: int
    name: str
    area1_m2: float
    area2_m2: float
    gain_m2: float
    loss_m2: float


class ChangeZone(Document):
    """A zone of a change."""

    zone: str
    classes: tuple[ChangeZoneClass, ...] = ()
    unobserved_m2: float | None = None


class Change(Document):
    """change.json."""

    map1: ComparedMap = ComparedMap()
    map2: ComparedMap = ComparedMap()
    years: float | None = None
    crs: str = ""
    method: str = ""
    ellipsoid: str = ""
    footprint_m2: float
    target: Named | None = None
    """The class whose gain and loss the change map shows."""
    transitions: tuple[Transition, ...]
    unobserved: Unobserved = Unobserved()
    classes: tuple[ChangeClass, ...]
    nominal: Nominal = Nominal()
    zones: tuple[ChangeZone, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def class_names(self) -> dict[int, str]:
        """Class id -> name, of every class that occurs."""
        names = {one.id: one.name for one in self.classes}
        for one in self.transitions:
            names.setdefault(one.from_id, one.from_name)
            names.setdefault(one.to, one.to_name)
        return dict(sorted(names.items()))

    def area_of(self, from_id: int, to: int) -> float:
        """Square metres that went from one class to another."""
        return sum(one.area_m2 for one in self.transitions if one.from_id == from_id and one.to == to)


def read_document(kind: type[Kind], path: Path, *, made_by: Literal["run", "assess", "change"]) -> tuple[Kind, Any]:
    """A document of a folder, and its JSON as it is.

    Raises:
        ProductError: it is not there, is not JSON, or lacks what the page needs.
    """
    again = f"make it again with geoseg {made_by}"
    try:
        raw = json.loads(path.read_bytes())
    except OSError as error:
        raise ProductError(f"{path} cannot be read ({error.strerror}): {again}, or name another folder") from error
    except (ValueError, RecursionError) as error:
        raise ProductError(f"{path} is not JSON: {again}") from error
    return parse_document(kind, raw, place=str(path), again=again), raw


def parse_document(kind: type[Kind], raw: Any, *, place: str, again: str) -> Kind:
    """The document in decoded JSON.

    Raises:
        ProductError: it lacks what the page needs.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the document"
        raise ProductError(f"{place}: {key}: {first['msg']}; {again}") from error
