"""`geoseg change` as a user types it: from two scenes to what changed, and one line for every mistake."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geoseg.cli import main
from tests.model.bundles import tiny_bundle
from tests.raster.factory import make_raster
from tests.workflows.test_segment import write_scene

FAST = ["--set", "tiling.tile=128", "--set", "tiling.margin=16", "--set-config", "threads=1", "--quiet"]


def geoseg(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code if isinstance(stop.value.code, int) else 1


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """A folder with one.tif, two.tif and their legend."""
    for name, labels in {"one": [[0, 1, 1]], "two": [[0, 1, 0]]}.items():
        make_raster(tmp_path / f"{name}.tif", pixels=np.array([labels], np.uint8))
    (tmp_path / "legend.yaml").write_text("0: other\n1: forest\n")
    return tmp_path


def test_from_two_scenes_to_what_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two runs of the same model, compared by the folders they left."""
    tiny_bundle(tmp_path / "bundle", kind="pointwise", bands=["red", "green", "blue"])
    for year in (2010, 2020):
        write_scene(tmp_path / f"{year}.tif", seed=year)
        scene, out = tmp_path / f"{year}.tif", tmp_path / f"run{year}"
        assert geoseg("run", scene, out, "--model", tmp_path / "bundle", "--products", "classes,areas", *FAST) == 0
    capsys.readouterr()
    runs = (tmp_path / "run2010", tmp_path / "run2020")
    days = ("--date1", "2010-07-01", "--date2", "2020-07-01")
    assert geoseg("change", *runs, tmp_path / "out", *days) == 0
    printed, said = capsys.readouterr()
    names = [Path(line).name for line in printed.split()]
    assert set(names) == {"change.tif", "change.json", "change.csv", "polygons.gpkg", "report.html"}
    assert "warning: these are counted pixels" in said
    with rasterio.open(runs[0] / "classes.tif") as one, rasterio.open(runs[1] / "classes.tif") as two:
        first, second = one.read(1), two.read(1)
    document = json.loads((tmp_path / "out" / "change.json").read_text())
    for transition in document["transitions"]:
        pixels = ((first == transition["from"]) & (second == transition["to"])).sum()
        assert transition["pixels"] == pixels
    assert document["years"] == 10
    assert document["map1"]["bundle_sha256"] == document["map2"]["bundle_sha256"] is not None


def test_json_is_the_document_of_the_folder(maps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [maps / "one.tif", maps / "two.tif", maps / "out", "--legend", maps / "legend.yaml"]
    assert geoseg("change", *words, "--years", 2, "--class", "forest", "--json") == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == json.loads((maps / "out" / "change.json").read_text())
    assert geoseg("change", *words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert geoseg("change", *words, "--overwrite") == 0


def test_the_change_map_is_sampled_and_assessed_as_any_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every point is labelled as it is mapped: the estimates are the mapped areas."""
    first, second = np.random.default_rng(0).integers(0, 2, (2, 1, 60, 50)).astype(np.uint8)
    for name, labels in {"one": first, "two": second}.items():
        make_raster(tmp_path / f"{name}.tif", pixels=labels)
    (tmp_path / "legend.yaml").write_text("0: other\n1: forest\n")
    words = [tmp_path / "one.tif", tmp_path / "two.tif", tmp_path / "out", "--legend", tmp_path / "legend.yaml"]
    assert geoseg("change", *words) == 0
    change_map, table = tmp_path / "out" / "change.tif", tmp_path / "sample.csv"
    assert geoseg("sample", change_map, table, "--n", 160) == 0
    with table.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    with table.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, rows[0])
        writer.writeheader()
        writer.writerows({**row, "reference_class": row["map_class"]} for row in rows)
    assert geoseg("assess", change_map, table, tmp_path / "assessment") == 0, capsys.readouterr().err
    assessed = json.loads((tmp_path / "assessment" / "assessment.json").read_text())
    changed = json.loads((tmp_path / "out" / "change.json").read_text())
    mapped = {one["name"]: one["area_m2"] for one in changed["change_map"]}
    assert {one["name"]: one["area_m2"]["value"] for one in assessed["classes"]} == pytest.approx(mapped, rel=1e-9)
    assert geoseg("report", tmp_path / "out", "--assessment", tmp_path / "assessment") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--class", "wood"], "the maps have other, forest"),
        (["--date1", "2010"], "Invalid value for '--date1'"),
        (["--date1", "2010-01-01", "--years", "3"], "give one of them"),
        (["--align", "bilinear"], "Invalid value for '--align'"),
        (["--legend2", "absent.yaml"], "not a legend"),
        (["--zones", "absent.gpkg"], "absent.gpkg"),
    ],
)
def test_a_mistake_is_one_line(maps: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    places = [maps / "one.tif", maps / "two.tif", maps / "out", "--legend", maps / "legend.yaml"]
    assert geoseg("change", *places, *words) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.startswith("geoseg: ")
    assert err.count("\n") == 1
    assert not (maps / "out").exists()
