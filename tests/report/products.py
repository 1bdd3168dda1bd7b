"""Small finished products, as a run and a comparison leave them, with documents made by hand."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.core.legend import LandClass, Legend
from geoseg.core.patch import LabelRows
from geoseg.core.window import Window
from geoseg.outcome import RunRecord
from geoseg.raster.classmap import ClassMapWriter
from geoseg.workflows.product import stage
from tests.report import made_documents

GRID = GeoBox((96, 128), Affine(10, 0, 500_000, 0, -10, 5_400_000), "EPSG:32633")
COLORS = ("#d9c79a", "#1f6b3a", "#3366cc")


def make_labels() -> npt.NDArray[np.uint8]:
    """Three classes in blocks of 8 pixels, a corner without class."""
    labels = np.indices((12, 16)).sum(axis=0).astype(np.uint8) % 3
    labels[:4, :4] = 255
    large: npt.NDArray[np.uint8] = labels.repeat(8, axis=0).repeat(8, axis=1)
    return large


def a_legend(*names: str) -> Legend:
    return Legend(classes=tuple(LandClass(id=k, name=name, color=COLORS[k]) for k, name in enumerate(names)))


def a_record(**more: Any) -> RunRecord:
    """The record of a run, but for its files."""
    return RunRecord.model_validate(
        {
            "geoseg": "1.2.3",
            "scene": "scene.tif",
            "fingerprint": "f" * 64,
            "job": "0123456789abcdef" * 4,
            "pipeline": {"name": "test", "scene": {"bands": {}, "level": "toa", "collar": None}},
            "pipeline_digest": "a" * 64,
            "bundle": "tiny",
            "bundle_sha256": "b" * 64,
            "engine": "torch-cpu",
            "precision": "fp32",
            "device": "cpu",
            "versions": {"geoseg": "1.2.3", "python": "3.11.7"},
            "timings": {"model": 0.5, "classes": 3.25},
            "peak_memory_bytes": 123_456_789,
            "notes": ["a note of the run"],
            "started": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            "finished": datetime(2026, 1, 2, 3, 5, 6, tzinfo=UTC),
            **more,
        }
    )


def make_run(
    out: Path, *, legend: Legend | None = None, areas: dict[str, Any] | None = None, grid: GeoBox = GRID, **record: Any
) -> RunRecord:
    """A finished run in the folder `out`."""
    legend = legend or a_legend("other", "forest", "water")
    document = areas or made_documents.areas()
    with stage(out, overwrite=True) as staging:
        write_map(staging.folder, legend, grid=grid)
        (staging.folder / "areas.json").write_text(json.dumps(document), encoding="utf-8")
        return staging.publish(a_record(areas=document, **record))


def make_change(out: Path, document: dict[str, Any], *, legend: Legend | None = None) -> RunRecord:
    """A finished comparison in the folder `out`."""
    legend = legend or a_legend("stable forest", "forest loss", "forest gain")
    with stage(out, overwrite=True) as staging:
        write_map(staging.folder, legend)
        (staging.folder / "classes.tif").rename(staging.folder / "change.tif")
        (staging.folder / "confidence.tif").unlink()
        (staging.folder / "change.json").write_text(json.dumps(document), encoding="utf-8")
        more = {"scene": "classes 2010 to classes 2020", "bundle": "", "bundle_sha256": "", "change": document}
        return staging.publish(a_record(format="geoseg change 1", **more))


def write_map(folder: Path, legend: Legend, *, grid: GeoBox = GRID) -> None:
    """classes.tif and confidence.tif of `make_labels`, repeated to fill the grid."""
    labels = np.resize(make_labels(), grid.shape) if tuple(grid.shape) != (96, 128) else make_labels()
    confidence = np.full(labels.shape, 87, np.uint8)
    height, width = labels.shape
    with ClassMapWriter(folder, grid=grid, legend=legend, tags={}, confidence=True, threads=1) as writer:
        writer.write(
            LabelRows(window=Window(row=0, col=0, height=height, width=width), labels=labels, confidence=confidence)
        )
        writer.finish()
