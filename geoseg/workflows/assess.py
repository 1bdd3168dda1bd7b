"""A class map and a labelled sample of it become accuracy and error-adjusted areas: a folder of three files."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from geoseg.accuracy import assessment_text
from geoseg.accuracy.assessment import Assessment, assess
from geoseg.accuracy.design import SampleDesign, check_same_map, parse_design
from geoseg.accuracy.draw import survey
from geoseg.accuracy.response import CLASS_COLUMN, read_responses
from geoseg.core.area import PixelArea
from geoseg.errors import ProductError
from geoseg.raster.classmap import read_classmap
from geoseg.raster.safety import find_local_file, raster_env
from geoseg.vector.points import read_points, to_csv
from geoseg.workflows.output_file import writing
from geoseg.workflows.sample import design_path, identify, stratified_rows

ASSESSMENT: Final = "assessment.json"
"""Removed first and written last: a folder without it holds no assessment."""
TABLES: Final = ("error_matrix.csv", "accuracy.csv")
_MAX_DESIGN_BYTES: Final = 256 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessRequest:
    """How a sample is to be read and judged."""

    level: float = 0.95
    """Confidence level."""
    design: Path | None = None
    """Of the sample; by default the file that `sample` wrote beside the points."""
    class_column: str = CLASS_COLUMN
    """The column of the labels."""
    nodata: int | None = None
    """The map's value that is no class; by default that of the design."""


def assess_map(
    source: str, reference: Path, out: Path, request: AssessRequest | None = None, *, overwrite: bool = False
) -> Assessment:
    """Assess a class map against a labelled sample of it, into the folder `out`.

    Files in `out` that are not an assessment's are left alone.

    Args:
        source: the class map.
        reference: the labelled points, CSV or GeoPackage.
        out: folder; made if need be.
        request: level and columns; None: as usual.
        overwrite: replace an assessment in `out`.

    Raises:
        ProductError: `out` is in the way, the sample is not of this map, or its labels cannot be used.
        InputError: a file cannot be read.
    """
    _check_folder(out, overwrite=overwrite)
    request = request or AssessRequest()
    plan = _read_design(reference, request.design)
    rows = read_points(find_local_file(str(reference)), crs=plan.map.crs)
    responses = read_responses(rows, plan, place=reference.name, class_column=request.class_column)
    with raster_env():
        nodata = plan.map.nodata if request.nodata is None else request.nodata
        classmap = read_classmap(find_local_file(source), nodata=nodata)
        found = survey(partial(stratified_rows, classmap, None, plan.buffer_pixels), PixelArea(classmap.grid))
    check_same_map(plan, identify(classmap, found), found)
    assessment = assess(plan, responses, reference=reference.name, level=request.level)
    _write(assessment, out)
    return assessment


def _check_folder(out: Path, *, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise ProductError(f"{out} is a file; an assessment needs a folder: choose another name")
    if not out.parent.is_dir():
        raise ProductError(f"{out.parent} is no folder: make it first, or choose another place")
    present = [name for name in (ASSESSMENT, *TABLES) if (out / name).exists()]
    if present and not overwrite:
        raise ProductError(f"{out} already holds {present[0]}: give --overwrite or choose another folder")


def _read_design(reference: Path, design: Path | None) -> SampleDesign:
    path = design_path(reference) if design is None else design
    try:
        if path.stat().st_size > _MAX_DESIGN_BYTES:
            raise ProductError(f"{path} is too large for the design of a sample: give the right file with --design")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProductError(
            f"{path} cannot be read, and without its design a sample says nothing: give the .design.json that "
            "geoseg sample wrote with --design"
        ) from error
    return parse_design(text, path.name)


def _write(assessment: Assessment, out: Path) -> None:
    document = json.dumps(assessment_text.to_json(assessment), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    texts = {
        TABLES[0]: to_csv(assessment_text.matrix_columns(assessment)),
        TABLES[1]: to_csv(assessment_text.accuracy_columns(assessment)),
        ASSESSMENT: document,
    }
    out.mkdir(exist_ok=True)
    (out / ASSESSMENT).unlink(missing_ok=True)
    for name, text in texts.items():
        with writing(out / name) as beside:
            beside.write_text(text, encoding="utf-8")
