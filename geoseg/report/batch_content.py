"""What the report of an archive is made of, as values; where they come from is `batch`'s matter."""

from dataclasses import dataclass, field
from typing import Any

from geoseg.report.facts import Fact
from geoseg.report.histogram import Histogram
from geoseg.report.union_document import Union


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassSum:
    """A class of the archive."""

    id: int
    name: str
    color: str
    """#rrggbb."""
    pixels: int
    area_m2: float
    """Summed over scenes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneSum:
    """A zone that scenes touch."""

    zone: str
    zone_m2: float
    footprint_m2: float
    """Of it inside scenes, summed over them."""
    scenes: int
    areas_m2: dict[int, float]
    """class id -> square metres inside the zone, summed over scenes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRow:
    """A scene in the table."""

    title: str
    uri: str
    state: str
    seconds: float | None
    attempts: int
    link: str = ""
    """Address of its own page relative to this one; empty: it has none."""
    error: str = ""
    footprint_m2: float | None = None
    areas_m2: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Scenes that failed for one class of reason."""

    code: str
    count: int
    shown: tuple[SceneRow, ...]
    """The first of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchContent:
    """Everything that the report of an archive says."""

    title: str
    subtitle: str
    scenes: int
    """In the manifest; of scenes that are done in parts each part counts."""
    counts: dict[str, int]
    """state -> scenes."""
    measured: int
    """Scenes whose areas are in the sums."""
    classes: tuple[ClassSum, ...]
    footprint_m2: float
    """Summed over scenes."""
    nodata_m2: float
    """Not observed, summed over scenes."""
    union: Union | None = None
    zones: tuple[ZoneSum, ...] = ()
    failures: tuple[FailureGroup, ...] = ()
    """The most frequent first."""
    rows: tuple[SceneRow, ...] = ()
    seconds: Histogram | None = None
    """Of scenes that were done."""
    map: dict[str, Any] | None = None
    """`ArchiveMap.to_json()`."""
    unplaced: int = 0
    """Scenes that are not on the map."""
    facts: tuple[Fact, ...] = ()
    provenance: tuple[Fact, ...] = ()
    remarks: tuple[str, ...] = ()
    """What could not be shown or counted, one line each."""
    files: tuple[tuple[str, str], ...] = ()
    """(address relative to the page, what it holds)."""
    documents: dict[str, Any] = field(default_factory=dict)
    """The block for machines."""

    @property
    def open(self) -> int:
        """Scenes that have not ended."""
        return sum(self.counts.get(state, 0) for state in ("pending", "running", "suspect"))

    @property
    def done(self) -> int:
        """Scenes with a product."""
        return self.counts.get("done", 0) + self.counts.get("skipped", 0)
