"""areas.json as the page reads it. Reading a document is `document`'s matter."""

from pydantic import Field

from geoseg.report.document import Document


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
