"""assessment.json as the page reads it. Reading a document is `document`'s matter."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from geoseg.report.document import Document


class Estimate(Document):
    """A figure with its standard error and confidence interval."""

    value: float
    se: float | None = None
    half_width: float | None = None
    """z times the standard error; None where there is none."""
    low: float | None = None
    high: float | None = None
    """Limits, cut at what is possible."""


class Limits(Document):
    """The ends of an interval."""

    low: float
    high: float


class AssessedClass(Document):
    """A class of an assessment."""

    id: int
    name: str
    mapped_m2: float
    area_m2: Estimate
    area_score_m2: Limits | None = None
    """Limits that hold for rare classes too (Wilson's)."""
    area_interval: Literal["wald", "score"] = "wald"
    """Which of the two intervals of the area is to be given."""
    users_accuracy: Estimate | None = None
    users_accuracy_score: Limits | None = None
    producers_accuracy: Estimate | None = None
    producers_accuracy_score: Limits | None = None
    f1: Estimate | None = None
    n_map: int | None = None
    n_reference: int | None = None
    flags: tuple[str, ...] = ()

    @property
    def trusts_wald(self) -> bool:
        """Whether ± of the area means what it says; else its score limits are the ones to give."""
        return self.area_m2.half_width is not None and self.area_interval == "wald"


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
    """The error matrix: a row per map class (with none named: per stratum), a column per reference class."""

    strata: tuple[int, ...]
    map_classes: tuple[int, ...] = ()
    reference_classes: tuple[int, ...]
    counts: tuple[tuple[Annotated[int, Field(ge=0)], ...], ...]
    proportions: tuple[tuple[Annotated[float, Field(ge=0, le=1 + 1e-9)], ...], ...] = ()

    @model_validator(mode="after")
    def _is_a_matrix(self) -> Self:
        """A cell for every row and column that is named."""
        for name, cells in (("counts", self.counts), ("proportions", self.proportions or self.counts)):
            if len(cells) != len(self.row_ids) or any(len(row) != len(self.reference_classes) for row in cells):
                raise ValueError(
                    f"{name} are not {len(self.row_ids)} rows of {len(self.reference_classes)}, as the classes are"
                )
        return self

    @property
    def row_ids(self) -> tuple[int, ...]:
        """The class (or stratum) of each row."""
        return self.map_classes or self.strata


class AssessedMap(Document):
    """Which map was assessed."""

    name: str = ""
    sha256: str | None = None


class Assessment(Document):
    """assessment.json."""

    map: AssessedMap = AssessedMap()
    reference: Reference = Reference()
    design: Design = Design()
    confidence_level: Annotated[float, Field(ge=0.5, le=0.999)]
    estimator: str = ""
    overall_accuracy: Estimate
    overall_accuracy_score: Limits | None = None
    classes: tuple[AssessedClass, ...]
    matrix: Matrix
    notes: tuple[str, ...] = ()

    def of(self, class_id: int) -> AssessedClass | None:
        """The class of that id."""
        return next((one for one in self.classes if one.id == class_id), None)
