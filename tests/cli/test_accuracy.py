"""`geoseg sample` and `geoseg assess` as they are typed."""

import json
from pathlib import Path

import numpy as np
import pytest

from geoseg.cli import main
from tests.raster.factory import make_raster


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.fixture
def classmap(tmp_path: Path) -> Path:
    values = np.repeat(np.array([0, 1], np.uint8), 60)[None, None] * np.ones((1, 90, 120), np.uint8)
    (tmp_path / "legend.yaml").write_text("0: other\n1: forest\n")
    return make_raster(tmp_path / "map.tif", pixels=values).path


def fill(path: Path) -> None:
    """Every point gets the class of the map, every twentieth the other."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    filled = [
        f"{line[: line.index(',,')]},{'other' if number % 20 else 'forest'},me,,,,"
        for number, line in enumerate(lines[1:])
    ]
    path.write_text("\n".join([lines[0], *filled]))


def test_sample_then_assess(classmap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = tmp_path / "points.csv"
    assert (
        call("sample", classmap, points, "--counts", "forest=75,other=100", "--legend", tmp_path / "legend.yaml") == 0
    )
    said = capsys.readouterr()
    assert said.out.strip() == str(points)
    assert "175 points, seed 0" in said.err
    assert len(points.read_text().splitlines()) == 176
    fill(points)
    assert call("assess", classmap, points, tmp_path / "out", "--confidence-level", "0.9") == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == str(tmp_path / "out")
    assert "90 % confidence, approximate" in said.out
    assert "forest:" in said.out
    assert call("assess", classmap, points, tmp_path / "out", "--overwrite", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((tmp_path / "out/assessment.json").read_text())
    assert document["overall_accuracy"]["low"] < document["overall_accuracy"]["value"]


def test_another_map_ends_with_2_and_one_line(
    classmap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = tmp_path / "points.csv"
    assert call("sample", classmap, points, "--n", 100, "--json") == 0
    assert json.loads(capsys.readouterr().out)["points"] == 100
    other = make_raster(tmp_path / "other.tif", pixels=np.zeros((1, 90, 120), np.uint8)).path
    assert call("assess", other, points, tmp_path / "out") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("geoseg: the sample was drawn from map.tif, not from other.tif")
    assert len(said.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give one of --n, --se and --counts"),
        (["--n", "100", "--se", "0.01"], "give one of --n, --se and --counts"),
        (["--counts", "forest"], "'forest' is not CLASS=NUMBER"),
        (["--counts", "forest=a"], "is not CLASS=NUMBER"),
        (["--counts", "forest=1.5"], "is not CLASS=NUMBER"),
        (["--counts", "forest=10,forest=20"], "each class once"),
        (["--se", "0.02", "--expected-ua", "wood=0.9"], "'wood' is no class that can be sampled"),
        (["--n", "100", "--allocation", "random"], "'random' is not one of"),
        (["--n", "100", "--seed", "-1"], "--seed -1 is negative"),
    ],
)
def test_what_is_asked_wrongly_is_refused(
    classmap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert call("sample", classmap, tmp_path / "points.csv", *words) == 2
    message = capsys.readouterr().err
    assert said in message
    assert len(message.splitlines()) == 1
    assert not (tmp_path / "points.csv").exists()


def test_a_size_by_precision(classmap: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """SE 0.02 with half the area at U = 0.9 and half at 0.8: ((0.15 + 0.2) / 0.02)^2 = 306.25."""
    words = ("--se", 0.02, "--expected-ua", "class 1=0.9", "--allocation", "neyman", "--hide-class", "--seed", 4)
    assert call("sample", classmap, tmp_path / "points.gpkg", *words) == 0
    assert "307 points, seed 4; SE(OA) 0.02 is expected of 307 points (0.02 was asked" in capsys.readouterr().err
