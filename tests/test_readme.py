"""README.md is true: every command in it runs, in its order, and leaves the files it names."""

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def _commands() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line.strip()]


def test_every_command_is_of_a_known_kind() -> None:
    """A block of README is run below, or is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {command[0] for command in _commands()} <= {"make", "geoseg"}
    assert {command[1] for command in _commands() if command[0] == "make"} <= targets
    named = set(re.findall(r"`make ([a-z-]+)`", README))
    assert named <= targets


def test_named_files_exist() -> None:
    """Links of README point into the repository."""
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.slow
def test_the_commands_run(tmp_path: Path) -> None:
    """Each on the same small scene, in one folder, the sample labelled by hand; what is promised is there."""
    _write_scene(tmp_path / "scene.tif", forest_cols=200)
    _write_scene(tmp_path / "earlier.tif", forest_cols=260)
    _write_districts(tmp_path / "districts.gpkg")
    (tmp_path / "archive").mkdir()
    for name in ("scene.tif", "earlier.tif"):
        shutil.copy2(tmp_path / name, tmp_path / "archive")
    for command in _commands():
        if command[0] == "geoseg":
            done = subprocess.run(
                [sys.executable, "-m", "geoseg", *command[1:]],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
        if command[:2] == ["geoseg", "sample"]:
            _label(tmp_path / command[3], forest_cols=200)
    table = README.split("## What comes out")[1].split("\n## ")[0]
    named = re.findall(
        r"`([a-z]+\.[a-z]+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line)
    )
    assert named
    assert {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")} == set(named)
    _check_figures(tmp_path)
    _check_archive(tmp_path)


def _check_archive(folder: Path) -> None:
    """The map of a scene is that of `geoseg run` with the same definition, and so are its areas."""
    runs = {json.loads(path.read_text())["scene"]: path.parent for path in folder.glob("many/scenes/*/*/run.json")}
    assert runs.keys() == {"scene.tif", "earlier.tif"}
    for name, single in (("scene.tif", "reported"), ("earlier.tif", "before")):
        with rasterio.open(runs[name] / "classes.tif") as one, rasterio.open(folder / single / "classes.tif") as other:
            assert np.array_equal(one.read(), other.read())
    figures = [
        json.loads((path / "areas.json").read_text())["classes"] for path in (runs["earlier.tif"], folder / "before")
    ]
    assert figures[0] == figures[1]


def _check_figures(folder: Path) -> None:
    """The map is poor on these painted colours, and the sample mends its figure: 200 of 420 columns are forest."""
    areas = json.loads((folder / "reported/areas.json").read_text())
    true_m2 = 200 / 420 * areas["footprint_m2"]
    [mapped_m2] = [one["area_m2"] for one in areas["classes"] if one["name"] == "forest"]
    assessed = json.loads((folder / "accuracy/assessment.json").read_text())
    [adjusted] = [one["area_m2"] for one in assessed["classes"] if one["name"] == "forest"]
    assert abs(adjusted["value"] - true_m2) < min(4 * adjusted["se"], abs(mapped_m2 - true_m2))
    assert "Error-adjusted area" in (folder / "reported/report.html").read_text()
    assert "Error-adjusted area" not in (folder / "out/report.html").read_text()
    change = json.loads((folder / "changed/change.json").read_text())
    [forest] = [one for one in change["classes"] if one["name"] == "forest"]
    assert forest["area2_m2"] == pytest.approx(mapped_m2, rel=1e-12)
    assert forest["loss_m2"] - forest["gain_m2"] == pytest.approx(forest["area1_m2"] - mapped_m2)
    assert forest["annual_loss_ha"] == pytest.approx(forest["loss_m2"] / 1e5, rel=0.001)
    assert [one["zone"] for one in change["zones"]] == ["North", "South"]


def _label(sample: Path, *, forest_cols: int) -> None:
    """What an interpreter does by hand: what is on the ground goes into reference_class."""
    with sample.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["reference_class"] = "forest" if float(row["x"]) < 500_000 + 10 * forest_cols else "other"
    with sample.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _write_districts(path: Path) -> None:
    """Two halves of the scene."""
    left, top, right = 500_000, 9_000_000, 504_200
    halves = [shapely.box(left, top - 1500, right, top), shapely.box(left, top - 3000, right, top - 1500)]
    geopandas.GeoDataFrame({"name": ["North", "South"]}, geometry=halves, crs="EPSG:32721").to_file(path)


def _write_scene(path: Path, *, forest_cols: int) -> None:
    """An 8-bit true-colour scene of dark green left of bright brown, at 10 m."""
    rng = np.random.default_rng(1)
    pixels = np.empty((3, 300, 420), np.uint8)
    for band, (forest, field) in enumerate([(30, 150), (50, 120), (35, 90)]):
        pixels[band] = np.where(np.arange(420) < forest_cols, forest, field) + rng.integers(0, 8, (300, 420))
    profile = {"driver": "GTiff", "count": 3, "height": 300, "width": 420, "dtype": "uint8", "photometric": "RGB"}
    transform = from_origin(500_000, 9_000_000, 10, 10)
    with rasterio.open(path, "w", crs="EPSG:32721", transform=transform, **profile) as target:
        target.write(pixels)
