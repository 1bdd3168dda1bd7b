"""The main job by the command line, as a user types it."""

import json
from pathlib import Path

import pytest
import rasterio

from geoseg.cli import main
from tests.model.bundles import tiny_bundle
from tests.workflows.test_segment import write_scene

FAST = ["--set", "tiling.tile=128", "--set", "tiling.margin=16", "--set-config", "threads=1", "--quiet"]


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A folder with scene.tif and a bundle."""
    write_scene(tmp_path / "scene.tif")
    tiny_bundle(tmp_path / "bundle", kind="pointwise", bands=["red", "green", "blue"])
    return tmp_path


def geoseg(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code if isinstance(stop.value.code, int) else 1


def test_run_leaves_every_product_and_prints_their_paths(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert geoseg("run", case / "scene.tif", case / "out", "--model", case / "bundle", *FAST) == 0
    printed = capsys.readouterr().out.split()
    expected = {"classes.tif", "confidence.tif", "polygons.gpkg", "areas.csv", "areas.json"}
    expected |= {"report.html", "classes.qml", "item.json"}
    assert {Path(line).name for line in printed} == expected
    assert {path.name for path in (case / "out").iterdir() if not path.name.startswith(".")} == expected | {"run.json"}


def test_json_is_one_document_with_a_schema(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert geoseg("run", case / "scene.tif", case / "out", "--model", case / "bundle", "--json", *FAST) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["format"] == "geoseg run 1"
    assert document == json.loads((case / "out/run.json").read_text())


def test_plan_says_what_run_would_do_and_writes_nothing(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [case / "scene.tif", case / "out", "--model", case / "bundle", *FAST[:-1]]
    assert geoseg("plan", *words, "--json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert geoseg("run", *words, "--dry-run", "--json") == 0
    dry = json.loads(capsys.readouterr().out)
    assert planned["job"] == dry["job"]
    assert planned["estimate"]["seconds"] > 0
    assert not (case / "out").exists()
    assert geoseg("run", *words, "--quiet", "--json") == 0
    assert json.loads(capsys.readouterr().out)["job"] == planned["job"]


def test_a_product_is_replaced_only_when_told(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", case / "scene.tif", case / "out", "--model", case / "bundle", *FAST]
    assert geoseg(*words) == 0
    before = (case / "out/run.json").read_text()
    capsys.readouterr()
    assert geoseg(*words) == 2
    err = capsys.readouterr().err
    assert "--overwrite" in err
    assert err.count("\n") == 1
    assert (case / "out/run.json").read_text() == before
    assert geoseg(*words, "--overwrite", "--set", "polygons.format=parquet") == 0
    assert (case / "out/polygons.parquet").is_file()
    assert not (case / "out/polygons.gpkg").exists()


def test_a_bundle_may_lie_anywhere(case: Path) -> None:
    place = case / ("a long folder: with 'spaces' # and é, " * 3)
    (case / "bundle").rename(place)
    assert geoseg("run", case / "scene.tif", case / "out", "--model", place, *FAST) == 0


def test_a_scene_of_the_wrong_level_is_refused_with_the_remedy(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_bundle(case / "other", kind="pointwise", bands=["red", "green", "blue"], level="surface")
    assert geoseg("run", case / "scene.tif", case / "out", "--model", case / "other", *FAST) == 2
    assert "surface" in capsys.readouterr().err
    assert not (case / "out").exists() or not list((case / "out").glob("*.tif"))


def test_a_folder_of_bands_does_not_take_the_results(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (case / "bands").mkdir()
    (case / "scene.tif").rename(case / "bands/scene.tif")
    assert geoseg("run", case / "bands", case / "bands", "--model", case / "bundle", *FAST) == 2
    assert "is the scene itself" in capsys.readouterr().err
    assert [path.name for path in (case / "bands").iterdir()] == ["scene.tif"]


def test_a_name_that_is_no_text_is_refused_in_one_line(case: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = str(case / "out") + "\udcff"
    assert geoseg("run", case / "scene.tif", out, "--model", case / "bundle", *FAST) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_missing_bands_are_refused_with_the_remedy(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_bundle(case / "four", kind="pointwise", bands=["red", "green", "blue", "nir"])
    assert geoseg("run", case / "scene.tif", case / "out", "--model", case / "four", *FAST) == 2
    err = capsys.readouterr().err
    assert "nir" in err
    assert "--bands" in err


def test_a_damaged_block_is_named_and_nothing_is_left(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with rasterio.open(case / "scene.tif") as file:
        profile, pixels = file.profile, file.read()
    with rasterio.open(case / "bad.tif", "w", **{**profile, "compress": "deflate"}) as file:
        file.write(pixels)
    data = bytearray((case / "bad.tif").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    (case / "bad.tif").write_bytes(data)
    assert geoseg("run", case / "bad.tif", case / "out", "--model", case / "bundle", *FAST) == 2
    assert "bad.tif" in capsys.readouterr().err
    assert not [path for path in (case / "out").rglob("*") if not path.name.startswith(".geoseg")]


def test_area_and_polygons_read_the_map_of_a_run(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert geoseg("run", case / "scene.tif", case / "out", "--model", case / "bundle", *FAST) == 0
    capsys.readouterr()
    classmap = case / "out/classes.tif"
    assert geoseg("area", classmap, "--json", "--patches", "8") == 0
    found = json.loads(capsys.readouterr().out)
    areas = json.loads((case / "out/areas.json").read_text())
    for mine, theirs in zip(found["classes"], areas["classes"], strict=True):
        assert mine["area_m2"] == theirs["area_m2"]
        assert mine["patches"] > 0
    for suffix in ("gpkg", "parquet", "fgb", "geojson"):
        assert geoseg("polygons", classmap, case / f"p.{suffix}") == 0
        assert geoseg("polygons", classmap, case / f"p.{suffix}") == 2
    assert geoseg("area", classmap, case / "a.csv") == 0
    assert (case / "a.csv").read_text() == (case / "out/areas.csv").read_text()
