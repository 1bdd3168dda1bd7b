"""The demo: a scene whose truth is known, mapped, compared; and nothing of the user's is lost."""

import json
from pathlib import Path

import pytest

from tests.cli.test_run import geoseg

SMALL = ["--size", "512", "--set-config", "threads=1", "--quiet"]


def test_the_demo_compares_mapped_with_true_hectares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert geoseg("demo", tmp_path / "demo", "--seed", "7", "--json", *SMALL) == 0
    shown = json.loads(capsys.readouterr().out)
    areas = json.loads((tmp_path / "demo/result/areas.json").read_text())
    mapped = {one["class"]: one["mapped_ha"] for one in shown["classes"]}
    assert mapped == {one["name"]: one["area_ha"] for one in areas["classes"]}
    total = [sum(one[key] for one in shown["classes"]) for key in ("mapped_ha", "true_ha")]
    assert total[0] == pytest.approx(total[1], rel=1e-9)
    assert all(Path(path).is_file() for path in shown["paths"])


def test_the_demo_replaces_only_when_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scene.tif").write_bytes(b"the user's")
    assert geoseg("demo", tmp_path, *SMALL) == 2
    assert "already holds scene.tif" in capsys.readouterr().err
    assert (tmp_path / "scene.tif").read_bytes() == b"the user's"
