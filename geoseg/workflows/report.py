"""The page of a finished run or change: what it left is gathered and drawn; what the page says belongs to `report`."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geoseg.core.grid import same_grid
from geoseg.core.picture import ClassPicture
from geoseg.errors import GeosegError, ProductError, SceneError
from geoseg.outcome import ProductFile, RunRecord
from geoseg.raster.classmap import ClassMap, read_classmap, read_rows
from geoseg.raster.overview import MAX_SIDE, draw_classes, draw_confidence, draw_scene, plan_frame
from geoseg.raster.safety import plain, raster_env
from geoseg.raster.scene import Scene, SceneOptions, open_scene
from geoseg.report.areas_document import Areas
from geoseg.report.assessment_document import Assessment
from geoseg.report.change_document import Change
from geoseg.report.content import MapContent, ReportContent
from geoseg.report.document import parse_document, read_document
from geoseg.report.page import render_page
from geoseg.report.pdf import render_pdf
from geoseg.report.stac import make_item
from geoseg.report.style import make_raster_qml
from geoseg.workflows.output_file import move
from geoseg.workflows.product import VIEWS, read_product

REPORT: Final = "report.html"
REPORT_PDF: Final = "report.pdf"
_CHANGE: Final = "change.json"
_NO_SCENE: Final = "The scene itself is not shown: {reason}; geoseg report DIR --scene FILE adds its picture."


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSources:
    """What a report shows that is not in the folder of the product."""

    assessment: Path | None = None
    """A folder that geoseg assess made for this very map."""
    scene: Path | None = None
    """The scene of the run, for its picture."""


def write_report(folder: Path, sources: ReportSources | None = None, *, pdf: bool = False) -> tuple[Path, ...]:
    """report.html, and report.pdf if asked, of a finished run or change; each replaces the one that was there.

    Raises:
        ProductError: the folder is no finished product, or the assessment is damaged or of another map.
        SceneError: the scene cannot be read, or is not that of this run.
        ResourceError: the PDF cannot be made here.
    """
    record = read_product(folder)
    sources = sources or ReportSources()
    if sources.scene is None:
        sources = ReportSources(assessment=sources.assessment, scene=_find_scene(folder, record))
    page = build_report(folder, record, sources)
    contents = {REPORT: page.encode("utf-8")}
    if pdf:
        contents[REPORT_PDF] = render_pdf(page)
    for name, content in contents.items():
        _replace(folder / name, content)
    return tuple(folder / name for name in contents)


def build_report(folder: Path, record: RunRecord, sources: ReportSources | None = None) -> str:
    """The page; nothing is written. `folder` may be a staging folder: what is read are its maps and documents.

    Raises:
        ProductError: a map or document is missing or damaged, or the assessment is of another map.
        SceneError: the scene cannot be read, or is not that of this run.
    """
    sources = sources or ReportSources()
    documents: dict[str, Any] = {}
    areas = change = assessment = None
    if (folder / _CHANGE).is_file():
        change, documents[_CHANGE] = read_document(Change, folder / _CHANGE, made_by="change")
    else:
        areas, documents["areas.json"] = _read_areas(folder, record)
    if sources.assessment is not None:
        path = sources.assessment / "assessment.json"
        assessment, documents["assessment.json"] = read_document(Assessment, path, made_by="assess")
        _check_assessed(assessment, folder / _map_name(change), path)
    documents["run.json"] = json.loads(record.model_dump_json(exclude={"areas", "change"}))
    shown, remarks = _draw(folder, record, sources.scene, change)
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


def build_item(folder: Path, record: RunRecord) -> str:
    """The text of item.json (STAC) for the files that are in `folder`, a staging folder or a product.

    Raises:
        ProductError: the map is missing or damaged.
    """
    classmap = _read_map(folder)
    names = sorted(one.name for one in folder.iterdir() if one.is_file() and one.name not in VIEWS)
    files = {name: ProductFile(sha256=_sha256(folder / name), bytes=(folder / name).stat().st_size) for name in names}
    item = make_item(record, classmap.grid, classmap.legend, files)
    return json.dumps(item, indent=1, ensure_ascii=False) + "\n"


def build_style(folder: Path) -> str:
    """The text of classes.qml (QGIS) for the map in `folder`.

    Raises:
        ProductError: the map is missing or damaged.
    """
    return make_raster_qml(_read_map(folder).legend)


def _read_map(folder: Path) -> ClassMap:
    name = "change.tif" if (folder / _CHANGE).is_file() else "classes.tif"
    with raster_env():
        return read_classmap(folder / name)


def _read_areas(folder: Path, record: RunRecord) -> tuple[Areas, Any]:
    """areas.json; a run that was not asked for it has the same figures in its record."""
    if (folder / "areas.json").is_file():
        return read_document(Areas, folder / "areas.json", made_by="run")
    raw = record.areas
    return parse_document(Areas, raw, place="run.json: areas", again="make it again with geoseg run"), raw


def _map_name(change: Change | None) -> str:
    return "classes.tif" if change is None else "change.tif"


def _check_assessed(assessment: Assessment, path: Path, document: Path) -> None:
    """The figures of one map must never stand beside another: a checksum tells, of the pixels or of the file."""
    told = assessment.map.sha256
    if told is None:
        raise ProductError(f"{document} does not say which map it is of: make it again with geoseg assess")
    with raster_env():
        if told in (_pixels_sha256(read_classmap(path)), _sha256(path)):
            return
    raise ProductError(
        f"{document} is of another map than {path} (sha256 {told[:12]}…): name the assessment of this map, or assess it"
    )


def _pixels_sha256(classmap: ClassMap) -> str:
    """As geoseg assess takes it: shape, then labels row by row, so that compression does not matter."""
    digest = hashlib.sha256(f"{tuple(classmap.grid.shape)}".encode())
    for _, labels in read_rows(classmap):
        digest.update(labels.tobytes())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _draw(
    folder: Path, record: RunRecord, source: Path | None, change: Change | None
) -> tuple[MapContent | None, tuple[str, ...]]:
    """The pictures, and what could not be drawn and why."""
    with raster_env():
        classmap = read_classmap(folder / _map_name(change))
        try:
            frame = plan_frame(classmap.grid)
        except SceneError as error:
            return None, (f"{error}.",)
        remarks: list[str] = []
        shown = MapContent(
            classes=draw_classes(classmap, frame),
            legend=classmap.legend,
            confidence=_draw_confidence(folder / "confidence.tif", classmap),
            scene=None if source is None else draw_scene(_open_checked(source, record, classmap, remarks), frame),
        )
    if source is None and change is None:
        remarks.append(_NO_SCENE.format(reason="its file was not given or is no longer the same"))
    return shown, tuple(remarks)


def _draw_confidence(path: Path, classmap: ClassMap) -> ClassPicture | None:
    """On the bounds of the classes, at half their resolution: it is noisy, and only its pattern is looked at."""
    if not path.is_file():
        return None
    return draw_confidence(path, classmap.grid, plan_frame(classmap.grid, max_side=MAX_SIDE // 2))


def _open_checked(source: Path, record: RunRecord, classmap: ClassMap, remarks: list[str]) -> Scene:
    """The scene as the run read it, once it is clear that it is the run's."""
    settings = record.pipeline.get("scene")
    settings = settings if isinstance(settings, dict) else {}
    bands, collar = settings.get("bands"), settings.get("collar")
    named = {str(key): str(value) for key, value in bands.items()} if isinstance(bands, dict) else {}
    options = SceneOptions(collar=float(collar) if isinstance(collar, int | float) else None, allow_large=True)
    scene = open_scene(source, bands=named, options=options)
    if _fits(scene, record):
        return scene
    if scene.name != record.scene or not same_grid(scene.grid, classmap.grid):
        raise SceneError(
            f"{scene.name} is not the scene of this run ({plain(record.scene)}): name or grid differ; give that one, "
            "or leave --scene out"
        )
    remarks.append(
        "The picture of the scene is of a file with the name and grid of the run's input; that it is the same file "
        "could not be proven."
    )
    return scene


def _fits(scene: Scene, record: RunRecord) -> bool:
    """Whether the fingerprint is that of the run: of the scene, or of the bands a true-color bundle takes of it."""
    if scene.fingerprint == record.fingerprint:
        return True
    try:
        return scene.select(("red", "green", "blue")).fingerprint == record.fingerprint
    except SceneError:
        return False


def _find_scene(folder: Path, record: RunRecord) -> Path | None:
    """The run's input beside its folder, if it is still the very same file."""
    name = record.scene
    if record.change is not None or not name or Path(name).name != name:
        return None
    beside = folder.resolve().parent / name
    if not beside.exists():
        return None
    try:
        with raster_env():
            scene = open_scene(beside, options=SceneOptions(allow_large=True))
            return beside if _fits(scene, record) else None
    except GeosegError:
        return None


def _replace(path: Path, content: bytes) -> None:
    """Written beside its place and renamed: a reader never sees half a page."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(content)
        move(beside, path)
    finally:
        beside.unlink(missing_ok=True)
