"""The page of a finished run or change: what it left is gathered and drawn; what the page says belongs to `report`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geoseg.core.map_digest import PixelDigest, digest_map
from geoseg.errors import ProductError
from geoseg.outcome import RunRecord
from geoseg.raster.classmap import ClassMap, read_classmap, read_rows
from geoseg.raster.safety import raster_env
from geoseg.report.areas_document import Areas
from geoseg.report.assessment_document import Assessment
from geoseg.report.change_document import Change
from geoseg.report.content import ReportContent
from geoseg.report.document import parse_document, read_document
from geoseg.report.page import render_page
from geoseg.report.pdf import render_pdf
from geoseg.workflows.output_file import writing
from geoseg.workflows.product import check_bytes, file_sha256, read_product
from geoseg.workflows.report_map import draw_map, find_scene

REPORT: Final = "report.html"
REPORT_PDF: Final = "report.pdf"
_CHANGE: Final = "change.json"
_AREAS: Final = "areas.json"
_SHOWN: Final = (_CHANGE, _AREAS, "change.tif", "classes.tif", "confidence.tif")
"""What the page quotes or draws: of these the very bytes must be those that were made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSources:
    """What a report shows that is not in the folder of the product."""

    assessment: Path | None = None
    """A folder that geoseg assess made for this very map."""
    scene: Path | None = None
    """The scene of the run, for its picture."""
    same_scene: bool = False
    """The caller has just read this very scene: it is not compared with the run's record."""


def write_report(folder: Path, sources: ReportSources | None = None, *, pdf: bool = False) -> tuple[Path, ...]:
    """report.html, and report.pdf if asked, of a finished run or change; each replaces the one that was there.

    A PDF of an earlier page is removed where none is asked for: it would say something else than the page.

    Raises:
        ProductError: the folder is no finished product or was changed since, or the assessment is damaged or of
            another map.
        SceneError: the scene cannot be read, or is not that of this run.
        ResourceError: the PDF cannot be made here, or the folder cannot be written.
    """
    record = read_product(folder)
    check_bytes(folder, record, _SHOWN)
    sources = sources or ReportSources()
    if sources.scene is None:
        sources = ReportSources(assessment=sources.assessment, scene=find_scene(folder, record))
    page = build_report(folder, record, sources)
    contents = {REPORT: page.encode("utf-8")}
    if pdf:
        contents[REPORT_PDF] = render_pdf(page)
    for name, content in contents.items():
        with writing(folder / name) as beside:
            beside.write_bytes(content)
    if not pdf:
        (folder / REPORT_PDF).unlink(missing_ok=True)
    return tuple(folder / name for name in contents)


def build_report(folder: Path, record: RunRecord, sources: ReportSources | None = None) -> str:
    """The page; nothing is written. `folder` may be a staging folder: what is read are its maps and documents.

    Args:
        folder: of the product.
        record: says which files there are the product's.
        sources: what is shown beside them.

    Raises:
        ProductError: a map or document is missing or damaged, or the assessment is of another map.
        SceneError: the scene cannot be read, or is not that of this run.
    """
    sources = sources or ReportSources()
    documents: dict[str, Any] = {}
    areas = change = assessment = None
    if record.change is not None:
        change, documents[_CHANGE] = read_document(Change, folder / _CHANGE, made_by="change")
    else:
        areas, documents[_AREAS] = _read_areas(folder, record)
    if sources.assessment is not None:
        path = sources.assessment / "assessment.json"
        assessment, documents["assessment.json"] = read_document(Assessment, path, made_by="assess")
        _check_assessed(assessment, folder / _map_name(change), path)
    documents["run.json"] = json.loads(record.model_dump_json(exclude={"areas", "change"}))
    shown, remarks = draw_map(folder / _map_name(change), record, scene=sources.scene, same_scene=sources.same_scene)
    return render_page(
        ReportContent(
            title=record.scene,
            record=record,
            areas=areas,
            assessment=assessment,
            change=change,
            map=shown,
            remarks=remarks,
            documents=documents,
        )
    )


def _read_areas(folder: Path, record: RunRecord) -> tuple[Areas, Any]:
    """areas.json of the product; a run that was not asked for it has the same figures in its record."""
    if _AREAS in record.products:
        return read_document(Areas, folder / _AREAS, made_by="run")
    raw = record.areas
    return parse_document(Areas, raw, place="run.json: areas", again="make it again with geoseg run"), raw


def _map_name(change: Change | None) -> str:
    return "classes.tif" if change is None else "change.tif"


def _check_assessed(assessment: Assessment, path: Path, document: Path) -> None:
    """The figures of one map must never stand beside another: a checksum tells, of pixels and place or of the file."""
    told = assessment.map.sha256
    if told is None:
        raise ProductError(f"{document} does not say which map it is of: make it again with geoseg assess")
    with raster_env():
        if told in (_map_sha256(read_classmap(path)), file_sha256(path)):
            return
    raise ProductError(
        f"{document} is of another map than {path}, in its pixels or its place (sha256 {told[:12]}…): name the "
        "assessment of this map, or assess it"
    )


def _map_sha256(classmap: ClassMap) -> str:
    """As geoseg assess takes it: of pixels and place, so that compression does not matter."""
    pixels = PixelDigest(classmap.grid.shape)
    for _, labels in read_rows(classmap):
        pixels.add(labels)
    return digest_map(pixels.sha256, crs=str(classmap.grid.crs), transform=tuple(classmap.grid.transform))
