"""An evaluation as files: evaluation.json and evaluation.html in a folder, a calibrated bundle in another."""

import json
from pathlib import Path
from typing import Any, Final

from geoseg.errors import ProductError, SettingsError
from geoseg.report.evaluation_page import render_evaluation
from geoseg.workflows.calibrate import calibrate, check_new, write_calibrated
from geoseg.workflows.evaluate import EvaluateRequest, evaluate_bundle
from geoseg.workflows.evaluation_document import to_json
from geoseg.workflows.output_file import writing
from geoseg.workflows.progress import Progress

DOCUMENT: Final = "evaluation.json"
"""Removed first and written last: a folder without it holds no evaluation."""
PAGE: Final = "evaluation.html"


def check_folder(out: Path | None, *, overwrite: bool, calibrated: Path | None = None) -> None:
    """Whether results may be written; nothing is changed.

    Raises:
        ProductError: something is in the way.
    """
    if calibrated is not None:
        check_new(calibrated)
    if out is None:
        return
    if out.exists() and not out.is_dir():
        raise ProductError(f"{out} is a file; an evaluation needs a folder: choose another name")
    if not out.parent.is_dir():
        raise ProductError(f"{out.parent} is no folder: make it first, or choose another place")
    present = [name for name in (DOCUMENT, PAGE) if (out / name).exists()]
    if present and not overwrite:
        raise ProductError(f"{out} already holds {present[0]}: give --overwrite or choose another folder")


def write_evaluation(
    request: EvaluateRequest, out: Path | None, *, calibrated: Path | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Evaluates, and writes what was asked for; gives evaluation.json.

    Args:
        request: what is judged and on what.
        out: folder of the documents; None: none are written.
        calibrated: folder of a new bundle with a fitted temperature; the request must ask for a sample.
        progress: told of the tiles.

    Raises:
        InputError: an image, a label or a setting is refused.
        ResourceError: no room on the device or disk.
    """
    if calibrated is not None and request.symmetric:
        raise SettingsError("a temperature is fitted to what geoseg run maps: leave --tta out with --calibrate")
    found = evaluate_bundle(request, progress=progress)
    document = to_json(found)
    if calibrated is not None and found.sample is not None:
        fitted = calibrate(found.bundle, found.sample)
        packed = write_calibrated(found.bundle, fitted, calibrated, source=_said(document))
        document["calibration"] = {**fitted.to_json(), "bundle_sha256": packed.sha256}
    if out is not None:
        _write(document, out)
    return document


def summarise(document: dict[str, Any]) -> str:
    """A few lines for a terminal."""
    lines = [f"{document['bundle']['name']} {document['bundle']['version']} on {_said(document)}"]
    pooled = document["pooled"]
    if pooled is not None:
        lines += _pooled_lines(pooled)
    if document["seams"] is not None:
        seams = document["seams"]
        lines.append(
            f"seams: {_percent(seams['share'], 3)} of {seams['pixels']:,} pixels depend on where tiles lie "
            f"(margin {document['margin']} px; the bundle says at most {_percent(seams['tolerance'], 3)})"
        )
    if "calibration" in document:
        fitted = document["calibration"]
        before, after = (fitted[key]["expected_calibration_error"] for key in ("before", "after"))
        lines.append(f"temperature {fitted['temperature']:g}: calibration error {before:.4f} -> {after:.4f}")
    return "\n".join(lines)


def _pooled_lines(pooled: dict[str, Any]) -> list[str]:
    return [
        f"accuracy {_percent(pooled['accuracy'])}, mean IoU {_percent(pooled['mean_iou'])}, "
        f"boundary F1 {_percent(pooled['boundary_f1'])}, "
        f"calibration error {_percent(pooled['expected_calibration_error'])}",
        *(
            f"{one['name']}: IoU {_percent(one['iou'])}, precision {_percent(one['precision'])}, "
            f"recall {_percent(one['recall'])}, mapped {one['mapped_m2'] / 1e4:,.2f} ha of "
            f"{one['true_m2'] / 1e4:,.2f} ({_signed(one['bias_of_true'])})"
            for one in pooled["classes"]
        ),
    ]


def _said(document: dict[str, Any]) -> str:
    split = f", split {document['split']}" if document["split"] else ""
    count = len(document["images"])
    return f"{document['source']}{split}" + (f", {count} images" if count > 1 else "")


def _percent(share: float | None, digits: int = 2) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def _signed(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:+.1f} %"


def _write(document: dict[str, Any], out: Path) -> None:
    page = render_evaluation(document)
    out.mkdir(exist_ok=True)
    (out / DOCUMENT).unlink(missing_ok=True)
    with writing(out / PAGE) as beside:
        beside.write_text(page, encoding="utf-8")
    with writing(out / DOCUMENT) as beside:
        beside.write_text(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
