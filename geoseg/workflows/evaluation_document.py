"""An evaluation as the JSON document evaluation.json; what is counted belongs to `evaluate`."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from geoseg import __version__
from geoseg.core.legend import Legend
from geoseg.core.tally import AreaTally
from geoseg.training.metrics import BoundaryCounts, Confusion
from geoseg.training.reliability import BINS, Reliability
from geoseg.workflows.evaluate import Evaluation
from geoseg.workflows.image_scores import ImageScores
from geoseg.workflows.seams import SeamCount

SCHEMA: Final = "geoseg/evaluation/1"


def to_json(found: Evaluation) -> dict[str, Any]:
    """Keys are stable; shares are 0 … 1, null where there is nothing to divide by."""
    spec, plan, legend = found.bundle.spec, found.plan, found.bundle.legend
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "geoseg": __version__,
        "bundle": {
            "name": spec.name,
            "version": spec.version,
            "sha256": found.bundle.sha256,
            "architecture": spec.architecture,
            "temperature": spec.temperature,
        },
        "source": found.source,
        "split": found.split,
        "engine": plan.engine.engine,
        "precision": plan.engine.precision,
        "tile": list(plan.tiles.tile_shape),
        "margin": plan.tiles.rows.margin,
        "symmetries": 8 if found.symmetric else 1,
        "trained_on": list(found.trained_on),
        "classes": [{"id": one.id, "name": one.name, "color": one.color} for one in legend],
        "pooled": None,
        "images": [_image(one, legend) for one in found.images],
        "area_bias": _bias_summary(found.images, legend) if found.images else None,
        "seams": _seams(found, legend) if found.seams else None,
    }
    if found.images:
        document["pooled"] = _image(pool(found.images), legend) | {
            "confusion": pool(found.images).confusion.counts.tolist(),
            "reliability": reliability_json(pool(found.images).reliability),
        }
        del document["pooled"]["name"]
    cleaned: dict[str, Any] = _plain(document)
    return cleaned


def pool(images: Sequence[ImageScores]) -> ImageScores:
    """All images as one; at least one image."""
    first, *others = images
    total = first
    for one in others:
        total = ImageScores(
            name="",
            confusion=total.confusion + one.confusion,
            boundary=total.boundary + one.boundary,
            reliability=total.reliability + one.reliability,
            true=total.true + one.true,
            mapped=total.mapped + one.mapped,
        )
    return total


def reliability_json(found: Reliability) -> dict[str, Any]:
    """The figures, and the bins of the diagram."""
    bins = [
        {
            "low": k / BINS,
            "high": (k + 1) / BINS,
            "pixels": int(count),
            "confidence": _ratio(found.confidence[k], count),
            "accuracy": _ratio(found.correct[k], count),
        }
        for k, count in enumerate(found.counts)
    ]
    return {
        "pixels": found.pixels,
        "expected_calibration_error": found.expected_error,
        "log_loss": found.mean_log_loss,
        "brier": found.mean_square_loss,
        "bins": bins,
    }


def _image(one: ImageScores, legend: Legend) -> dict[str, Any]:
    return {
        "name": one.name,
        "labelled_pixels": int(one.confusion.counts.sum()),
        "labelled_m2": one.true.area_m2(),
        **_figures(one.confusion, one.boundary),
        "expected_calibration_error": one.reliability.expected_error,
        "log_loss": one.reliability.mean_log_loss,
        "classes": _classes(one, legend),
    }


def _figures(agreement: Confusion, boundary: BoundaryCounts) -> dict[str, float]:
    return {
        "accuracy": agreement.accuracy,
        "mean_accuracy": agreement.mean_accuracy,
        "mean_iou": agreement.mean_iou,
        "weighted_iou": agreement.weighted_iou,
        "mean_dice": agreement.mean_dice,
        "kappa": agreement.kappa,
        "boundary_f1": boundary.mean_f1,
    }


def _classes(one: ImageScores, legend: Legend) -> list[dict[str, Any]]:
    agreement = one.confusion
    columns = zip(
        legend, agreement.iou, agreement.dice, agreement.precision, agreement.recall, one.boundary.f1, strict=True
    )
    return [
        {
            "id": land.id,
            "name": land.name,
            "iou": iou,
            "dice": dice,
            "precision": precision,
            "recall": recall,
            "boundary_f1": edge,
            **_area(one.true, one.mapped, land.id),
        }
        for land, iou, dice, precision, recall, edge in columns
    ]


def _area(true: AreaTally, mapped: AreaTally, class_id: int) -> dict[str, float]:
    """Signed: above 0 = too much is mapped. Of the true area of the class, and of all that is labelled."""
    of_class, of_all = true.area_m2(class_id), true.area_m2()
    bias_m2 = mapped.area_m2(class_id) - of_class
    return {
        "true_m2": of_class,
        "mapped_m2": mapped.area_m2(class_id),
        "bias_m2": bias_m2,
        "bias_of_true": _ratio(bias_m2, of_class),
        "bias_of_labelled": _ratio(bias_m2, of_all),
    }


def _bias_summary(images: Sequence[ImageScores], legend: Legend) -> list[dict[str, Any]]:
    """Over the images, each counted once: errors that cancel in the pooled area show in the spread."""
    rows = []
    for land in legend:
        biases = [_area(one.true, one.mapped, land.id)["bias_of_labelled"] for one in images if one.true.pixels]
        values = np.array(biases, np.float64)
        rows.append(
            {
                "id": land.id,
                "name": land.name,
                "images": len(biases),
                "mean": float(values.mean()),
                "median": float(np.median(values)),
                "root_mean_square": float(np.sqrt((values**2).mean())),
                "low": float(values.min()),
                "high": float(values.max()),
            }
        )
    return rows


def _seams(found: Evaluation, legend: Legend) -> dict[str, Any]:
    counts = found.seams
    pixels, differing = (sum(getattr(one, key) for one in counts.values()) for key in ("pixels", "differing"))
    return {
        "tolerance": found.bundle.spec.tolerance,
        "margin_tolerance": found.bundle.spec.margin_tolerance,
        "margin_exact": found.bundle.spec.margin_exact,
        "pixels": pixels,
        "differing": differing,
        "share": _ratio(differing, pixels),
        "scenes": [_seam(name, one, legend) for name, one in counts.items()],
    }


def _seam(name: str, one: SeamCount, legend: Legend) -> dict[str, Any]:
    return {
        "name": name,
        "tiles": one.tiles,
        "pixels": one.pixels,
        "differing": one.differing,
        "share": one.share,
        "classes": [
            {
                "id": land.id,
                "name": land.name,
                "area_m2": one.first.area_m2(land.id),
                "change_m2": one.second.area_m2(land.id) - one.first.area_m2(land.id),
            }
            for land in legend
        ],
    }


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else math.nan


def _plain(value: Any) -> Any:
    """Without nan, which JSON has not."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
