"""What users install: the wheel has the presets and bundles, and an sdist builds the same wheel."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _build(source: Path, kind: str, out: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.iterdir()
    return built


def _files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def _names(folder: Path, pattern: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob(pattern) if path.is_file()}


@pytest.mark.slow
def test_a_wheel_holds_what_a_run_needs(tmp_path: Path) -> None:
    """Sources, py.typed, every pipeline, config and bundle; and the licence."""
    wheel = _build(ROOT, "wheel", tmp_path / "wheel")
    files = _files(wheel)
    expected = {f"geoseg/_pipelines/{name}" for name in _names(ROOT / "pipelines", "*.yaml")}
    expected |= {f"geoseg/_configs/{name}" for name in _names(ROOT / "configs", "*.yaml")}
    for pattern in ("*.safetensors", "*.yaml", "*.md"):
        expected |= {f"geoseg/bundles/{name}" for name in _names(ROOT / "geoseg" / "bundles", pattern)}
    for pattern in ("*.html", "*.css", "*.js", "LICENSE"):
        expected |= {f"geoseg/report/{name}" for name in _names(ROOT / "geoseg" / "report", pattern)}
    expected |= {f"geoseg/{name}" for name in _names(ROOT / "geoseg", "*.py")} | {"geoseg/py.typed"}
    assert expected <= files
    assert {name.partition("/")[0] for name in files} == {"geoseg"}
    with zipfile.ZipFile(wheel) as archive:
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in archive.namelist())
        entry_points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "geoseg = geoseg.cli:main" in archive.read(entry_points).decode()


@pytest.mark.slow
def test_an_sdist_builds_the_same_wheel(tmp_path: Path) -> None:
    """Nothing that the wheel needs is missing from the sdist."""
    sdist = _build(ROOT, "sdist", tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert _files(_build(unpacked, "wheel", tmp_path / "again")) == _files(_build(ROOT, "wheel", tmp_path / "here"))
