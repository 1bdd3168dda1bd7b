"""README.md is true: every command in it runs, in its order, and leaves the files it names."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
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
    """Each on the same small scene, in one folder; the table of outputs is what is there."""
    _write_scene(tmp_path / "scene.tif")
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
    table = README.split("## What comes out")[1].split("\n## ")[0]
    named = re.findall(
        r"`([a-z]+\.[a-z]+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line)
    )
    assert named
    assert {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")} == set(named)


def _write_scene(path: Path) -> None:
    """An 8-bit true-colour scene of dark green left of bright brown, at 10 m."""
    rng = np.random.default_rng(1)
    pixels = np.empty((3, 300, 420), np.uint8)
    for band, (forest, field) in enumerate([(30, 150), (50, 120), (35, 90)]):
        pixels[band] = np.where(np.arange(420) < 200, forest, field) + rng.integers(0, 8, (300, 420))
    profile = {"driver": "GTiff", "count": 3, "height": 300, "width": 420, "dtype": "uint8", "photometric": "RGB"}
    transform = from_origin(500_000, 9_000_000, 10, 10)
    with rasterio.open(path, "w", crs="EPSG:32721", transform=transform, **profile) as target:
        target.write(pixels)
