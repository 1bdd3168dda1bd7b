"""An archive whose scenes overlap: its ground counted once and its mosaic, against painting what its products hold."""

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from geoseg.batch.manifest import read_manifest
from geoseg.batch.place import Place
from geoseg.batch.plan import BatchRequest, plan_batch
from geoseg.batch.run import RunOptions, run_batch
from geoseg.cli import main
from geoseg.config import Config
from geoseg.core.claimed import RULES
from tests.batch.test_batch import Quiet, pipeline
from tests.model.bundles import tiny_bundle
from tests.workflows.stacks import paint
from tests.workflows.test_segment import NORTH_UP, write_scene

CORNERS = {"a_20200101.tif": (0, 0), "b.tif": (20, 60), "c_20210101.tif": (50, 30), "far.tif": (900, 900)}
"""(row, col) of each scene's first pixel."""


def geoseg(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code if isinstance(stop.value.code, int) else 1


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished batch; one file was no scene."""
    folder = tmp_path_factory.mktemp("union_batch")
    (folder / "archive").mkdir()
    for k, (name, (row, col)) in enumerate(CORNERS.items()):
        transform = NORTH_UP * Affine.translation(col, row)
        width = 600 if name == "far.tif" else 120  # done in two parts
        write_scene(folder / "archive" / name, height=90 + 5 * k, width=width, transform=transform, seed=k)
    (folder / "archive" / "bad.tif").write_text("hello")
    tiny_bundle(folder / "bundle", kind="pointwise", bands=["red", "green", "blue"])
    config = Config.model_validate({"threads": 1, "cluster": {"block": 512}})
    request = BatchRequest(source=str(folder / "archive"), pipeline=pipeline(folder / "archive"), config=config)
    plan_batch(request, folder / "out")
    summary = run_batch(folder / "out", RunOptions(config=config), Quiet())
    assert (summary.counts["done"], summary.counts["failed"]) == (5, 1)
    return folder / "out"


def painted(out: Path) -> list[Any]:
    """What the products hold, in the order of the manifest; the dates are those of the names."""
    found = []
    for entry in read_manifest(Place(out=out)):
        name = Path(entry.uri.partition("#part=")[0]).name
        folder = Place(out=out).scene(entry.scene)
        if name in CORNERS and not entry.uri.endswith("#part=1/2"):
            with rasterio.open(folder / "classes.tif") as one, rasterio.open(folder / "confidence.tif") as other:
                labels, confidence = one.read(1), other.read(1)
            dates = {"a_20200101.tif": "2019-12-31", "c_20210101.tif": "2021-01-01"}  # as tests.workflows.stacks ranks
            found.append((labels, confidence, CORNERS[name], dates.get(name)))
    return found


@pytest.mark.parametrize("rule", RULES)
def test_a_batch_is_counted_once(rule: Any, done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """union.json as its contract says, the mosaic with the same pixels, and the scene that failed is told."""
    maps = painted(done)
    ground = paint(maps, rule)
    counts = Counter(ground.values())
    assert geoseg("batch", "report", done, "--union", rule, "--mosaic", "cog", "--json") == 0
    listed = {Path(one).name for one in json.loads(capsys.readouterr().out)["files"]}
    assert {"union.json", "union.csv", "mosaic.tif", "mosaic.tif.json", "report.html", "areas.csv"} <= listed
    page = (done / "report.html").read_text()
    assert [name for name in sorted(listed - {"report.html"}) if not re.search(f'href="(catalog/)?{name}"', page)] == []
    union = json.loads((done / "union.json").read_text())
    assert (union["schema"], union["rule"], union["scenes"]) == ("geoseg/batch-union/1", rule, 4)
    assert {one["id"]: one["pixels"] for one in union["classes"]} == {k: counts[k] for k in (0, 1)}
    whole = sum(one["area_m2"] for one in union["classes"]) + union["nodata_m2"]
    assert whole == pytest.approx(union["footprint_m2"], rel=1e-12)
    assert union["footprint_m2"] == pytest.approx(100 * len(ground), rel=2e-3)  # 10 m pixels, scale 0.9996
    sums = sum(labels.size for labels, *_ in maps)
    assert union["overlap_m2"] == pytest.approx(100 * (sums - len(ground)), rel=2e-3)
    assert union["sum_of_footprints_m2"] == pytest.approx(union["footprint_m2"] + union["overlap_m2"])
    assert any(note.startswith("1 of 5 scenes have no product") for note in union["notes"])
    assert ("2 of 4 maps have no date of acquisition: they come last" in union["notes"]) is (rule == "latest")
    rows = list(csv.DictReader((done / "union.csv").open()))
    assert [float(one["area_m2"]) for one in rows] == [
        *(one["area_m2"] for one in union["classes"]),
        union["nodata_m2"],
        union["footprint_m2"],
    ]
    with rasterio.open(done / "mosaic.tif") as file:
        mosaic = file.read(1)
    assert {(row, col): int(mosaic[row, col]) for row, col in ground} == ground
    assert (mosaic != 255).sum() == counts[0] + counts[1]
    assert geoseg("area", done / "mosaic.tif", "--json") == 0
    measured = json.loads(capsys.readouterr().out)
    for one, other in zip(measured["classes"], union["classes"], strict=True):
        assert one["pixels"] == other["pixels"]
        assert one["area_m2"] == pytest.approx(other["area_m2"], rel=3e-7)


def test_the_verb_takes_batch_and_run_and_file(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All three are the same maps."""
    folders = [Place(out=done).scene(one.scene) for one in read_manifest(Place(out=done))]
    folders = [one for one in dict.fromkeys(folders) if one.exists()]
    made = []
    for name, sources in {
        "batch": [done],
        "runs": folders,
        "files": [one / "classes.tif" for one in folders],
    }.items():
        assert geoseg("mosaic", *sources, tmp_path / f"{name}.tif", "--rule", "latest", "--quiet") == 0
        assert capsys.readouterr().out == f"{tmp_path / f'{name}.tif'}\n"
        with rasterio.open(tmp_path / f"{name}.tif") as file:
            made.append(file.read(1))
    assert np.array_equal(made[0], made[1])
    assert np.array_equal(made[0], made[2])
    assert geoseg("batch", "report", done, "--mosaic", "vrt") == 0
    capsys.readouterr()
    assert geoseg("mosaic", done, tmp_path / "first.tif", "--json") == 0
    assert json.loads(capsys.readouterr().out)["resampled"] == 0
    with rasterio.open(done / "mosaic.vrt") as vrt, rasterio.open(tmp_path / "first.tif") as cog:
        assert np.array_equal(vrt.read(1), cog.read(1))


def test_a_damaged_product_is_one_line_and_nothing_is_lost(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    geoseg("batch", "report", done, "--union", "first")
    before = (done / "union.json").read_bytes()
    entry = next(one for one in read_manifest(Place(out=done)) if one.uri.endswith("b.tif"))
    path = Place(out=done).scene(entry.scene) / "classes.tif"
    whole = path.read_bytes()
    capsys.readouterr()
    try:
        path.write_bytes(whole[:-100])
        assert geoseg("batch", "report", done, "--union", "first") == 2
        line = capsys.readouterr().err.strip()
        assert line.count("\n") == 0
        assert "b.tif: " in line
        assert "make it again" in line
        broken = bytearray(whole)
        broken[len(whole) // 2] ^= 1
        path.write_bytes(broken)
        assert geoseg("mosaic", done, done / "x.tif") == 2
        assert "b.tif: " in (line := capsys.readouterr().err.strip())
        assert "other bytes than when it was made" in line
    finally:
        path.write_bytes(whole)
    assert (done / "union.json").read_bytes() == before
    assert not [one for one in done.iterdir() if one.name.endswith(".tmp") or ".tmp." in one.name]


def test_a_folder_of_no_batch_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert geoseg("batch", "report", tmp_path, "--union", "first") == 2
    assert "holds no batch" in capsys.readouterr().err
    assert geoseg("mosaic", tmp_path, tmp_path / "x.tif") == 2
    assert "no finished product" in capsys.readouterr().err
    assert geoseg("mosaic", tmp_path / "x.tif") == 2
    assert list(tmp_path.iterdir()) == []
