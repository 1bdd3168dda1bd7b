"""The page of an evaluation, of evaluation.json alone; the document is made in `workflows`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from geoseg.report.facts import Fact
from geoseg.report.numbers import percent
from geoseg.report.plain_page import Card, Plain, render_plain


def render_evaluation(document: Mapping[str, Any], *, made: datetime | None = None) -> str:
    """The page of a document of schema geoseg/evaluation/1."""
    bundle, pooled = document["bundle"], document["pooled"]
    views = {
        "found": document,
        "names": [one["name"] for one in document["classes"]],
        "colors": [one["color"] for one in document["classes"]],
        "images": sorted(document["images"], key=lambda one: (one["mean_iou"] is not None, one["mean_iou"])),
        "provenance": _provenance(document),
    }
    if pooled is not None:
        views["most"] = max(one["pixels"] for one in pooled["reliability"]["bins"])
        views["reliability_facts"] = _reliability_facts(document)
    split = f", split {document['split']}" if document["split"] else ""
    plain = Plain(
        kind="evaluation",
        title=f"{bundle['name']} {bundle['version']}",
        subtitle=f"on {document['source']}{split}",
        figures=_cards(document),
        warnings=_warnings(document),
        documents={"evaluation.json": document},
    )
    return render_plain("evaluation.html", plain, views, made=made)


def _cards(document: Mapping[str, Any]) -> tuple[Card, ...]:
    pooled, seams = document["pooled"], document["seams"]
    cards = []
    if pooled is not None:
        images = len(document["images"])
        detail = f"{pooled['labelled_pixels']:,} pixels of {images} image{'s' if images > 1 else ''}"
        cards = [
            Card(label="Accuracy", value=percent(pooled["accuracy"]), detail=detail),
            Card(label="Mean IoU", value=percent(pooled["mean_iou"]), detail="over the classes, pixels pooled"),
            Card(
                label="Expected calibration error",
                value=percent(pooled["expected_calibration_error"]),
                detail="how far confidence and accuracy are apart",
            ),
        ]
    if seams is not None:
        cards.append(
            Card(
                label="Depends on the tiling", value=percent(seams["share"], 3), detail=f"of {seams['pixels']:,} pixels"
            )
        )
    return tuple(cards)


def _warnings(document: Mapping[str, Any]) -> tuple[str, ...]:
    trained, seams = document["trained_on"], document["seams"]
    found = []
    if trained:
        found.append(
            f"{len(trained)} images were trained on ({', '.join(trained[:5])}{' …' if len(trained) > 5 else ''}): "
            "these figures say nothing of other images."
        )
    if seams is not None and seams["share"] is not None and seams["share"] > seams["tolerance"]:
        found.append(
            "More pixels depend on where tiles lie than the bundle says: give a larger tiling.margin or tiling.tile."
        )
    return tuple(found)


def _reliability_facts(document: Mapping[str, Any]) -> list[Fact]:
    found, fitted = document["pooled"]["reliability"], document.get("calibration")
    facts = [
        Fact(label="Expected calibration error", value=f"{found['expected_calibration_error']:.4f}", note="20 bins"),
        Fact(label="Negative log-likelihood", value=f"{found['log_loss']:.4f}", note="nats per pixel"),
        Fact(label="Brier score", value=f"{found['brier']:.4f}", note="0 to 2"),
        Fact(label="Temperature of the bundle", value=f"{document['bundle']['temperature']:g}"),
    ]
    if fitted is not None:
        before, after = (fitted[key]["expected_calibration_error"] for key in ("before", "after"))
        note = (
            f"on these images the error goes from {before:.4f} to {after:.4f}; the classes stay nearly all as they are"
        )
        facts.append(Fact(label="Fitted temperature", value=f"{fitted['temperature']:g}", note=note))
    return facts


def _provenance(document: Mapping[str, Any]) -> list[Fact]:
    bundle = document["bundle"]
    tile = " x ".join(map(str, document["tile"]))
    passes = "8 symmetries of each tile, averaged: geoseg run does not do this" if document["symmetries"] > 1 else "1"
    return [
        Fact(label="Bundle", value=f"{bundle['name']} {bundle['version']}", note=bundle["architecture"]),
        Fact(label="sha256 of the bundle", value=bundle["sha256"], code=True),
        Fact(label="Computed by", value=f"{document['engine']}, {document['precision']}"),
        Fact(label="Tiles", value=f"{tile} pixels, margin {document['margin']}"),
        Fact(label="Passes", value=passes),
    ]
