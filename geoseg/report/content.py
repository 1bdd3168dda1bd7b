"""What a report is made of, as values; where it is found belongs to `workflows`, its words and looks to `page`."""

from dataclasses import dataclass, field
from typing import Any

from geoseg.core.legend import Legend
from geoseg.core.picture import ClassPicture, Picture
from geoseg.outcome import RunRecord
from geoseg.report.areas_document import Areas
from geoseg.report.assessment_document import Assessment
from geoseg.report.change_document import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class MapContent:
    """What the map of a report shows; all pictures lie on the bounds of `classes`."""

    classes: ClassPicture
    legend: Legend
    scene: Picture | None = None
    confidence: ClassPicture | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """Everything a report says; of a run (`areas`) or of a change (`change`)."""

    title: str
    """The scene or the folder, as its user knows it."""
    record: RunRecord | None = None
    areas: Areas | None = None
    assessment: Assessment | None = None
    change: Change | None = None
    map: MapContent | None = None
    remarks: tuple[str, ...] = ()
    """What could not be shown and why, one line each."""
    documents: dict[str, Any] = field(default_factory=dict)
    """File name -> its JSON as it is: the block for machines."""

    def __post_init__(self) -> None:
        if self.areas is None and self.change is None:
            raise ValueError(f"report of {self.title}: neither areas nor a change to report")
