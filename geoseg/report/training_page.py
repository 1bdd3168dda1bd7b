"""The page of a training run: curves, confusion, worst images, settings; what the run left is read in `workflows`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from geoseg.core.picture import Picture
from geoseg.report.facts import Fact
from geoseg.report.frame import data_uri
from geoseg.report.line_plot import LinePlot, Series, plot_series
from geoseg.report.numbers import percent
from geoseg.report.plain_page import Card, Plain, render_plain

_HELD = ("accuracy", "mean_accuracy", "mean_iou", "mean_dice", "boundary_f1", "kappa")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownImage:
    """An image that was held out, as it looks, as it is labelled and as it is mapped."""

    name: str
    mean_iou: float
    accuracy: float
    pixels: Picture
    truth: Picture
    mapped: Picture


def render_training(
    summary: Mapping[str, Any],
    rows: Sequence[Mapping[str, float]],
    worst: Sequence[ShownImage],
    *,
    made: datetime | None = None,
) -> str:
    """The page.

    Args:
        summary: training.json.
        rows: of metrics.csv; what was empty is missing.
        worst: images to be shown, worst first.
        made: when; None: now.
    """
    legend = summary["config"]["bundle"]["legend"]
    names = [one["name"] for one in legend]
    views = {
        "curves": _plots(rows, names),
        "summary": summary,
        "names": names,
        "colors": [one["color"] for one in legend],
        "worst": [(one, *map(data_uri, (one.pixels, one.truth, one.mapped))) for one in worst],
        "provenance": _provenance(summary),
    }
    plain = Plain(
        kind="training report",
        title=summary["config"]["name"],
        subtitle=f"{summary['config']['network']['architecture']}, {summary['step']:,} of {summary['steps']:,} steps",
        figures=_cards(summary, rows),
        warnings=() if summary["state"] == "complete" else (f"the run was stopped by {summary['ended']}",),
        documents={"training.json": summary},
    )
    return render_plain("training.html", plain, views, made=made)


def _plots(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> list[LinePlot]:
    losses = [name for name in (rows[0] if rows else {}) if name.startswith("loss")]
    held = [(f"held_{name}", name.replace("_", " ").replace("iou", "IoU")) for name in _HELD]
    by_class = [(f"held_iou_{k}", name) for k, name in enumerate(names)]
    wanted = [
        ("Loss", [(name, name.replace("_", " ")) for name in losses]),
        ("Held-out images", held),
        ("Held-out IoU by class", by_class),
        ("Learning rate", [("learning_rate", "")]),
        ("Norm of the gradient before clipping", [("gradient_norm", "")]),
    ]
    plots = [
        plot_series(title, [Series(name=name, points=_points(rows, key)) for key, name in columns])
        for title, columns in wanted
    ]
    return [one for one in plots if one is not None]


def _points(rows: Sequence[Mapping[str, float]], key: str) -> list[tuple[float, float]]:
    return [(row["step"], row[key]) for row in rows if key in row and math.isfinite(row[key])]


def _cards(summary: Mapping[str, Any], rows: Sequence[Mapping[str, float]]) -> tuple[Card, ...]:
    best, cards = summary["best"], []
    if best is not None:
        name = best["metric"].replace("_", " ").replace("iou", "IoU")
        cards.append(
            Card(label=f"Best {name}", value=percent(best["value"]), detail=f"held-out, step {best['step']:,}")
        )
    if summary["confusion"] is not None:
        counts = summary["confusion"]
        total = sum(map(sum, counts))
        right = sum(row[k] for k, row in enumerate(counts))
        images = len(summary["images"])
        detail = f"{total:,} held-out pixels of {images} images, weights that are kept"
        cards.append(Card(label="Accuracy", value=percent(right / total if total else None), detail=detail))
    if rows:
        tail = [row["loss"] for row in rows[-50:]]
        cards.append(
            Card(label="Loss", value=f"{sum(tail) / len(tail):.4f}", detail=f"mean of the last {len(tail)} steps")
        )
    return tuple(cards)


def _provenance(summary: Mapping[str, Any]) -> list[Fact]:
    config = summary["config"]
    fit, optimiser = config["fit"], config["optimiser"]
    losses = ", ".join(f"{one['kind']} x {one.get('weight', 1):g}" for one in config["losses"])
    return [
        Fact(label="Ended by", value=str(summary["ended"]), note=f"{summary['seconds']:,.0f} s"),
        Fact(label="Network", value=config["network"]["architecture"], note=f"{summary['parameters']:,} parameters"),
        Fact(label="Losses", value=losses),
        Fact(label="Optimiser", value=f"{optimiser['kind']}, learning rate {optimiser['learning_rate']:g}"),
        Fact(
            label="Windows",
            value=f"{fit['batch'] * fit['accumulate']} of {fit['window_px']} pixels a step, seed {fit['seed']}",
        ),
        Fact(label="Computed by", value=f"{summary['device']} x {summary['ranks']}, {fit['precision']}"),
        Fact(label="torch", value=summary["torch"]),
        Fact(label="Identity of settings and data", value=summary["identity"], code=True),
    ]
