"""Real imagery through the command and the shipped bundle: processed, or refused with the remedy."""

import csv
import json
from pathlib import Path

import pytest
import rasterio

from tests.cli.test_run import geoseg

AUSTRIA = "scenes/s2_austria_ftw/inference-img.tif"
BANDS = ["--bands", "red=1,green=2,blue=3"]
QUIET = ["--set-config", "threads=1", "--quiet"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--bands"),
        (BANDS, "--radiometry"),
        ([*BANDS, "--radiometry", "surface"], "accepts uint8 display8 or uint16 toa"),
    ],
)
def test_uint16_is_refused_until_bands_and_level_fit(
    test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert geoseg("run", test_data / AUSTRIA, tmp_path / "out", *options, *QUIET) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_uint16_top_of_atmosphere_runs_through_the_declared_conversion(test_data: Path, tmp_path: Path) -> None:
    options = [*BANDS, "--radiometry", "toa", *QUIET]
    assert geoseg("run", test_data / AUSTRIA, tmp_path / "out", *options) == 0
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert any("conversion" in note for note in record["notes"])
    with rasterio.open(test_data / AUSTRIA) as scene, rasterio.open(tmp_path / "out/classes.tif") as classes:
        assert (scene.crs, scene.transform, scene.shape) == (classes.crs, classes.transform, classes.shape)


@pytest.mark.slow
def test_a_labelled_tile_it_never_saw_is_mapped_well(test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "amazon_s2_forest"
    rows = csv.DictReader((folder / "tiles.csv").read_text().splitlines())
    name = next(row["file"] for row in rows if row["split"] == "validation")
    assert geoseg("run", folder / "images" / name, tmp_path / "out", *QUIET) == 0
    with rasterio.open(tmp_path / "out/classes.tif") as file:
        mapped = file.read(1)
    with rasterio.open(folder / "masks" / f"{name.removesuffix('.tiff')}.tif") as file:
        truth = file.read(1)
    assert (mapped == truth)[truth != 255].mean() > 0.85
