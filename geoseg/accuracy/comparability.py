"""Whether two maps may be compared: what is known of each, and every difference that would look like change."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

SEASON_DAYS: Final = 60
"""Days within the year beyond which two dates are of different seasons."""
MIN_COMMON_SHARE: Final = 0.95
"""Of the ground that either map observes: below it the comparison is said to be partial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFacts:
    """What is known of a map that is compared; None = not known."""

    name: str
    sha256: str
    """Of the file's bytes."""
    day: date | None = None
    """When its image was taken."""
    recorded: bool = False
    """A run.json says how it was made; else only the file is known."""
    platform: str | None = None
    level: str | None = None
    bundle: str | None = None
    bundle_sha256: str | None = None
    pipeline_digest: str | None = None
    engine: str | None = None
    """With its precision."""
    definition: Mapping[str, Any] | None = None
    """"definition" of areas.json."""
    bundle_definition: str | None = None
    """What the bundle means by forest."""

    def to_json(self) -> dict[str, Any]:
        """The map as change.json tells it."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "date": None if self.day is None else self.day.isoformat(),
            "platform": self.platform,
            "level": self.level,
            "bundle": self.bundle,
            "bundle_sha256": self.bundle_sha256,
            "pipeline_digest": self.pipeline_digest,
            "engine": self.engine,
            "definition": None if self.definition is None else dict(self.definition),
            "bundle_definition": self.bundle_definition,
        }


def find_differences(first: MapFacts, second: MapFacts) -> tuple[str, ...]:
    """One line for each way in which the maps differ, the gravest first."""
    return tuple(_differences(first, second))


def _differences(first: MapFacts, second: MapFacts) -> Iterator[str]:
    if first.sha256 == second.sha256:
        yield "both maps are the same file: there can be no change"
    if not (first.recorded and second.recorded):
        unknown = [one.name for one in (first, second) if not one.recorded]
        verb = "was" if len(unknown) == 1 else "were"
        yield f"how {' and '.join(unknown)} {verb} made is not recorded: model, sensor, definition cannot be compared"
    else:
        yield from _differences_of_runs(first, second)
    yield from _difference_of_dates(first.day, second.day)


def _differences_of_runs(first: MapFacts, second: MapFacts) -> Iterator[str]:
    if _key(first.definition) != _key(second.definition):
        yield f"the definitions differ {_told(_title(first.definition), _title(second.definition))}"
    if first.bundle_definition != second.bundle_definition:
        yield "the bundles mean different things by their classes, so a part of the change may be due to that"
    if first.bundle_sha256 != second.bundle_sha256:
        yield f"the model bundles differ {_told(first.bundle, second.bundle)}"
    yield from _differences_of_images(first, second)
    if first.engine != second.engine:
        yield f"the engines differ {_told(first.engine, second.engine)}"
    if first.pipeline_digest != second.pipeline_digest:
        yield "the pipelines differ in settings that may change a pixel (see pipeline in each run.json)"


def _differences_of_images(first: MapFacts, second: MapFacts) -> Iterator[str]:
    if first.platform != second.platform:
        yield f"the sensors differ {_told(first.platform, second.platform)}"
    elif first.platform is None:
        yield "the sensors are not known: maps from different sensors differ without any change on the ground"
    if first.level != second.level:
        yield f"the radiometric levels differ {_told(first.level, second.level)}"
    elif first.level == "display8":
        yield "both maps are from display images (display8): where their stretch differs, that looks like change"


def _told(one: str | None, other: str | None) -> str:
    return f"({one or 'not stated'}; {other or 'not stated'}), so a part of the change may be due to that"


def _difference_of_dates(first: date | None, second: date | None) -> Iterator[str]:
    if first is None or second is None:
        yield "the dates of the maps are not known: whether their seasons agree cannot be said"
        return
    apart = abs(first.timetuple().tm_yday - second.timetuple().tm_yday)
    apart = min(apart, 365 - apart)
    if apart > SEASON_DAYS:
        yield f"the seasons differ: {first} and {second} are {apart} days apart within the year"


def _key(definition: Mapping[str, Any] | None) -> object:
    if definition is None:
        return None
    return definition.get("sha256") or sorted((key, repr(value)) for key, value in definition.items())


def _title(definition: Mapping[str, Any] | None) -> str | None:
    return None if definition is None else str(definition.get("name") or "unnamed")
