"""change.json as the page reads it. Reading a document is `document`'s matter."""

from typing import Final

from pydantic import Field

from geoseg.report.areas_document import Definition, Nominal
from geoseg.report.document import Document

UNASSESSED: Final = (
    "these are counted pixels, which carry the errors of both maps: assess the change map with geoseg sample "
    "change.tif before its figures are used"
)
"""A warning of every change.json; on a page with an assessment it is no longer true."""


class ComparedMap(Document):
    """One of the two maps of a change."""

    name: str = ""
    date: str | None = None
    sha256: str | None = None
    bundle: str | None = None
    pipeline_digest: str | None = None
    platform: str | None = None
    level: str | None = None
    definition: Definition | None = None
    bundle_definition: str | None = None
    """What the bundle means by forest."""


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
