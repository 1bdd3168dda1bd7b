"""Plots, and the pages of evaluation and training: what they show is what the documents say, and nothing is loaded."""

import html
import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.io import MemoryFile

from geoseg.core.legend import LandClass, Legend
from geoseg.raster.tile_picture import MAX_SIDE, draw_labels, draw_pixels
from geoseg.report.evaluation_page import render_evaluation
from geoseg.report.line_plot import Series, plot_series
from geoseg.report.training_page import ShownImage, render_training

LEGEND = Legend(
    classes=(LandClass(id=0, name="<b>bare</b>", color="#ff0000"), LandClass(id=1, name="wood", color="#00ff00"))
)


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60),
    first=st.integers(0, 10**6),
    step=st.integers(1, 5000),
)
def test_a_plot_can_be_read_back(values: list[float], first: int, step: int) -> None:
    """By two ticks of each axis every point is where it was; nothing leaves the box."""
    points = [(first + k * step, value) for k, value in enumerate(values)]
    plot = plot_series("loss", [Series(name="loss", points=points)])
    assert plot is not None
    drawn = [tuple(map(float, one.split(","))) for one in plot.lines[0].points.split()]
    assert len(drawn) == len(points)
    assert all(59.9 <= x <= 630.1 and 9.9 <= y <= 210.1 for x, y in drawn)
    ticks = [(y, float(text)) for y, text in plot.y_ticks]
    (low, low_value), (high, high_value) = ticks[0], ticks[-1]
    span = high_value - low_value
    for (_, value), (_, y) in zip(points, drawn, strict=True):
        read = low_value + (y - low) / (high - low) * span
        assert read == pytest.approx(value, abs=2e-3 * span)
    assert 2 <= len(ticks) <= 12


def test_a_long_run_is_averaged_and_an_empty_one_not_drawn() -> None:
    points = [(k, float(k % 2)) for k in range(100_000)]
    plot = plot_series("loss", [Series(name="a", points=points), Series(name="b", points=[])])
    assert plot is not None
    assert len(plot.lines) == 1
    drawn = plot.lines[0].points.split()
    assert len(drawn) <= 400
    ticks = {text: y for y, text in plot.y_ticks}
    middle = float(drawn[7].split(",")[1])
    assert min(ticks.values()) < middle < max(ticks.values())
    assert plot_series("nothing", [Series(name="b", points=[])]) is None


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_pictures_of_a_tile_show_its_labels() -> None:
    labels = np.random.default_rng(0).integers(0, 2, (2 * MAX_SIDE, 20)).astype(np.uint8)
    labels[:, 3] = 255
    with MemoryFile(draw_labels(labels, LEGEND).content) as memory, memory.open() as file:
        drawn, table = file.read(1), file.colormap(1)
    assert np.array_equal(drawn, labels[::2, ::2])
    assert table[0] == (255, 0, 0, 255)
    assert table[1] == (0, 255, 0, 255)
    assert table[255][3] == 0
    pixels = np.random.default_rng(1).integers(1, 4000, (4, 50, 60)).astype(np.uint16)
    pixels[:, :5] = 0
    with MemoryFile(draw_pixels(pixels, rgb=[2, 1, 0]).content) as memory, memory.open() as file:
        alpha = file.read(4)
    assert not alpha[:5].any()
    assert alpha[5:].all()


def summary() -> dict[str, Any]:
    legend = [{"id": one.id, "name": one.name, "color": one.color} for one in LEGEND]
    return {
        "state": "interrupted", "ended": "SIGTERM", "step": 30, "steps": 40, "seconds": 12.5, "parameters": 1234567,
        "best": {"metric": "mean_iou", "value": 0.4321, "step": 20}, "device": "cpu", "ranks": 1, "torch": "2",
        "identity": "f" * 64, "classes": ["<b>bare</b>", "wood"], "confusion": [[70, 30], [10, 90]],
        "images": [{"name": "a", "confusion": [[70, 30], [10, 90]]}],
        "config": {
            "name": "small", "bundle": {"legend": legend}, "network": {"architecture": "unet"},
            "losses": [{"kind": "dice", "weight": 0.5}], "optimiser": {"kind": "adamw", "learning_rate": 0.002},
            "fit": {"batch": 2, "accumulate": 3, "window_px": 64, "seed": 1, "precision": "float32"},
        },
    }  # fmt: skip


def test_the_page_of_a_training_run_says_what_its_files_say() -> None:
    rows = [{"step": k, "learning_rate": 0.1, "gradient_norm": 1.0, "loss": 2.0, "loss_dice": 2.0} for k in range(30)]
    rows[19] |= {"held_mean_iou": 0.4321, "held_iou_0": 0.5, "held_iou_1": 0.3642}
    picture = draw_labels(np.zeros((4, 4), np.uint8), LEGEND)
    worst = ShownImage(name="tile <7>", mean_iou=0.1234, accuracy=0.5, pixels=picture, truth=picture, mapped=picture)
    page = render_training(summary(), rows, [worst])
    assert len(re.findall("<polyline", page)) == 2 + 1 + 2 + 1 + 1
    for text in ("43.21 %", "80.00 %", "12.34 %", "tile &lt;7&gt;", "&lt;b&gt;bare&lt;/b&gt;", "stopped by SIGTERM"):
        assert text in page
    assert "<b>bare" not in page.split("<script")[0]
    assert page.count("data:image/png;base64,") == 3
    check_nothing_is_loaded(page)
    assert json.loads(re.findall(r'id="geoseg-documents">(.*?)</script>', page, flags=re.DOTALL)[0])


def check_nothing_is_loaded(page: str) -> None:
    assert "script-src 'none'" in html.unescape(page)
    assert set(re.findall(r"<script([^>]*)>", page)) == {' type="application/json" id="geoseg-documents"'}
    assert not re.search(r"\b(?:src|href)=\"(?!data:)", page)
    assert not re.search(r"<[^>]* style=", page)


def test_the_page_of_seams_alone_and_of_figures_that_are_not_defined() -> None:
    """No labels: no tables of them; a share above the bundle's is a warning."""
    classes = [{"id": one.id, "name": one.name, "color": one.color} for one in LEGEND]
    seam = [{"id": one.id, "name": one.name, "area_m2": 1e6, "change_m2": -2e4} for one in LEGEND]
    document: dict[str, Any] = {
        "bundle": {"name": "b", "version": "1", "sha256": "0" * 64, "architecture": "unet", "temperature": 1.0},
        "source": "scene.tif", "split": None, "engine": "torch-cpu", "precision": "fp32", "tile": [64, 64],
        "margin": 0, "symmetries": 8, "trained_on": ["scene.tif"], "classes": classes, "pooled": None, "images": [],
        "area_bias": None,
        "seams": {
            "tolerance": 0.001, "margin_tolerance": 16, "margin_exact": None, "pixels": 1000, "differing": 25,
            "share": 0.025,
            "scenes": [{"name": "scene.tif", "tiles": 4, "pixels": 1000, "differing": 25, "share": 0.025,
                        "classes": seam}],
        },
    }  # fmt: skip
    page = render_evaluation(document)
    assert "2.500 %" in page
    assert "−2.00" in page
    assert "By class" not in page
    assert "give a larger tiling.margin" in page
    assert "1 images were trained on" in page
    check_nothing_is_loaded(page)
