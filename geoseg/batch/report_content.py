"""What was gathered of a batch, as the report shows it: facts in words, sums; nothing is read or written."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geoseg.batch.job import BatchJob
from geoseg.batch.overview import Overview
from geoseg.batch.results import Results
from geoseg.batch.status import BatchStatus
from geoseg.raster.remote import redact
from geoseg.raster.safety import plain
from geoseg.report.batch_content import BatchContent, ClassSum
from geoseg.report.facts import Fact
from geoseg.report.histogram import make_histogram
from geoseg.report.numbers import moment, plain_number
from geoseg.report.union_document import Union

_WHAT = {
    "summary.parquet": "every scene: state, seconds, errors, areas",
    "areas.csv": "every scene and class: pixels and area",
    "zones.csv": "every scene, zone and class: area",
    "failures.csv": "every scene that failed, and why",
    "collection.json": "the archive as a STAC collection",
    "items.parquet": "the STAC items of the collection in one GeoParquet file",
    "union.json": "areas with ground that several scenes show counted once",
    "union.csv": "the same as a table",
    "mosaic.tif": "one class map of all scenes",
    "mosaic.vrt": "one class map of all scenes, which leads to theirs",
    "mosaic.tif.json": "the scenes in mosaic.tif and the rule by which they were put together",
    "mosaic.vrt.json": "the scenes in mosaic.vrt and the rule by which they were put together",
}
_GREYS = ("#5b6b64", "#8a9691", "#b9c2bd", "#d3dad6")
"""Of classes whose color is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Everything that is known of a batch."""

    job: BatchJob
    status: BatchStatus
    results: Results
    overview: Overview
    union: tuple[Union, Any] | None
    files: tuple[str, ...]
    """Relative to the batch's folder."""
    remarks: tuple[str, ...]


def make_content(out: Path, found: Gathered) -> BatchContent:
    """What the page shows."""
    job, overview, status = found.job, found.overview, found.status
    return BatchContent(
        title=plain(Path(job.source).name or job.source or out.name),
        subtitle=f"{status.scenes:,} scenes · planned {job.created.astimezone(UTC):%Y-%m-%d}",
        scenes=status.scenes,
        counts={str(state): count for state, count in status.counts.items()},
        measured=found.results.scenes,
        classes=_classes(found.results, overview),
        footprint_m2=math.fsum(overview.footprints),
        nodata_m2=math.fsum(overview.nodata),
        union=found.union[0] if found.union else None,
        zones=found.results.zones,
        failures=overview.failures(),
        rows=tuple(overview.rows),
        seconds=make_histogram(overview.seconds),
        map=overview.map.to_json(),
        unplaced=0 if job.block else max(0, status.scenes - overview.map.count),
        facts=_facts(found),
        provenance=_provenance(job),
        remarks=(*found.remarks, *_lost(overview)),
        files=tuple((name, _WHAT[name.rpartition("/")[2]]) for name in found.files),
        documents={"batch-report.json": _document(found)},
    )


def _classes(results: Results, overview: Overview) -> tuple[ClassSum, ...]:
    return tuple(
        ClassSum(
            id=k,
            name=name,
            color=overview.colors.get(k, _GREYS[number % len(_GREYS)]),
            pixels=overview.pixels[k],
            area_m2=area,
        )
        for number, (k, name, area) in enumerate(results.classes)
    )


def _facts(found: Gathered) -> tuple[Fact, ...]:
    counts, overview = found.status.counts, found.overview
    ended = ", ".join(f"{plain_number(count)} {state}" for state, count in counts.items() if count)
    began, finished = _moment(overview.began), _moment(overview.ended)
    spent = math.fsum(overview.spent)
    workers = f"{len(overview.workers):,} worker{'' if len(overview.workers) == 1 else 's'}"
    return (
        Fact(label="Source", value=plain(found.job.source)),
        Fact(label="Scenes", value=f"{plain_number(found.status.scenes)}: {ended}"),
        Fact(label="Worked at", value=f"{began} to {finished}" if began else "not begun"),
        Fact(label="Time of scenes", value=_duration(spent), note=f"summed over {workers}; queues not counted"),
        Fact(
            label="Pipeline", value=found.job.pipeline.name, note=f"products: {', '.join(found.job.pipeline.products)}"
        ),
        Fact(label="Model bundle", value=found.job.bundle),
        Fact(label="How area is measured", value="on the ellipsoid of each scene's CRS, pixel by pixel, by scene"),
    )


def _provenance(job: BatchJob) -> tuple[Fact, ...]:
    zones = (
        []
        if job.zones is None
        else [Fact(label="Zones", value=plain(job.zones.path)), _code("Zones, sha256", job.zones.sha256)]
    )
    versions = ", ".join(f"{name} {version}" for name, version in job.versions.items())
    return (
        Fact(label="Planned", value=moment(job.created.astimezone(UTC)), note=f"by geoseg {job.geoseg}"),
        *([_code("Command", plain(" ".join(map(redact, job.argv))))] if job.argv else []),
        _code("Job", job.digest),
        _code("Manifest, sha256", job.manifest_sha256),
        _code("Pipeline digest", job.pipeline.digest()),
        _code("Bundle, sha256", job.bundle_sha256),
        *zones,
        *([Fact(label="Software", value=versions)] if versions else []),
    )


def _code(label: str, value: str) -> Fact:
    return Fact(label=label, value=value, code=True)


def _lost(overview: Overview) -> tuple[str, ...]:
    if not overview.lost:
        return ()
    count = f"{overview.lost:,} scene{' was' if overview.lost == 1 else 's were'}"
    return (
        f"{count} done but the product is no longer there or not whole: not on the map, not in the catalog; "
        "geoseg batch repair OUT and batch run OUT make it again.",
    )


def _document(found: Gathered) -> dict[str, Any]:
    """What the page says, unrounded and bounded."""
    results, overview = found.results, found.overview
    zones = [
        {"zone": one.zone, "zone_m2": one.zone_m2, "footprint_m2": one.footprint_m2, "scenes": one.scenes}
        for one in results.zones[:1000]
    ]
    return {
        **results.to_json(),
        "files": list(found.files),
        "batch": found.job.digest,
        "pipeline_digest": found.job.pipeline.digest(),
        "bundle_sha256": found.job.bundle_sha256,
        "status": found.status.to_json(),
        "footprint_m2": math.fsum(overview.footprints),
        "nodata_m2": math.fsum(overview.nodata),
        "seconds": math.fsum(overview.spent),
        "zones": zones,
        "union": found.union[1] if found.union else None,
    }


def _moment(seconds: float) -> str:
    return moment(datetime.fromtimestamp(seconds, UTC)) if math.isfinite(seconds) else ""


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.3g} s"
    return f"{seconds / 60:,.3g} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
