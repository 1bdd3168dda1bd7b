"""Forty real scenes with the shipped bundle: two Dask workers make what one process makes, pixel for pixel."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geoseg.batch.event import Record, State
from geoseg.batch.manifest import read_manifest
from geoseg.batch.place import Place
from geoseg.batch.plan import BatchRequest, plan_batch
from geoseg.batch.run import RunOptions, run_batch
from geoseg.config import Config
from geoseg.presets import load_pipeline

pytestmark = [pytest.mark.alone, pytest.mark.slow]


class Quiet:
    def begin(self, counts: dict[State, int], workers: int) -> None:
        pass

    def ended(self, record: Record) -> None:
        assert record.error is None, record

    def say(self, text: str) -> None:
        pass


def run(source: Path, out: Path, **cluster: object) -> Place:
    config = Config.model_validate({"threads": 1, "cluster": cluster})
    pipeline = load_pipeline("forest", overrides=["products=[classes,confidence,areas]", "inference.engine=torch-cpu"])
    plan_batch(BatchRequest(source=str(source), pipeline=pipeline, config=config), out)
    summary = run_batch(out, RunOptions(config=config), Quiet())
    assert (summary.exit_code, summary.counts["done"]) == (0, 40)
    return Place(out=out)


def test_two_workers_make_what_one_makes(test_data: Path, tmp_path: Path) -> None:
    tiles = sorted((test_data / "amazon_s2_forest").rglob("*.tif*"))
    scenes = [tile for tile in tiles if tile.parent.name in {"images", "unlabelled"}][:40]
    if len(scenes) < 40:
        pytest.skip("fewer than 40 scenes in amazon_s2_forest")
    source = tmp_path / "scenes.txt"
    source.write_text("\n".join(map(str, scenes)))
    one = run(source, tmp_path / "one", kind="here")
    two = run(source, tmp_path / "two", kind="local", workers=2)
    for entry in read_manifest(one):
        folders = one.scene(entry.scene), two.scene(entry.scene)
        for name in ("classes.tif", "confidence.tif"):
            with rasterio.open(folders[0] / name) as first, rasterio.open(folders[1] / name) as second:
                assert np.array_equal(first.read(), second.read()), entry.uri
        areas = [json.loads((folder / "areas.json").read_text()) for folder in folders]
        assert areas[0] == areas[1]
