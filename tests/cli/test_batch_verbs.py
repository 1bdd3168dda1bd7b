"""The batch verbs as a user types them: outputs, exit codes, and one line for what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model.bundles import tiny_bundle
from tests.workflows.test_segment import write_scene

SETTINGS = ["--set", "tiling.tile=64", "--set", "tiling.margin=0", "--set-config", "threads=1"]


def geoseg(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "geoseg", "batch", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_story_of_an_archive(tmp_path: Path) -> None:
    archive, out, bundle = tmp_path / "archive", tmp_path / "out", tmp_path / "bundle"
    archive.mkdir()
    write_scene(archive / "a.tif", height=70, width=80)
    (archive / "b.tif").write_text("hello")
    tiny_bundle(bundle)
    planned = geoseg("plan", archive, out, "--model", bundle, *SETTINGS)
    assert (planned.returncode, planned.stdout) == (0, f"{out}\n"), planned.stderr
    assert "2 scenes" in planned.stderr
    refused = geoseg("run", out, "--scheduler", "tcp://10.0.0.1:8786")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "tcp://10.0.0.1:8786 is not encrypted" in refused.stderr
    ran = geoseg("run", out, *SETTINGS[4:], "--json", "--progress", "json")
    assert ran.returncode == 3, ran.stderr
    document = json.loads(ran.stdout)
    assert document["schema"] == "geoseg/batch-run/1"
    assert (document["exit_code"], document["counts"]["done"], document["counts"]["failed"]) == (3, 1, 1)
    events = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [one["event"] for one in events] == ["begin", "scene", "scene"]
    assert (events[-1]["ended"], events[-1]["total"], events[-1]["eta_s"]) == (2, 2, 0)
    status = geoseg("status", out, "--json")
    assert (status.returncode, json.loads(status.stdout)["failures_by_class"]) == (3, {"scene": 1})
    failures = geoseg("failures", out)
    assert failures.stdout.startswith(f"failed\tscene\t{archive / 'b.tif'}\t")
    write_scene(archive / "b.tif", height=70, width=80, seed=2)
    retried = geoseg("run", out, *SETTINGS[4:], "--retry", "failed")
    assert retried.returncode == 3
    assert "has changed since the batch was planned" in retried.stderr
    repaired = geoseg("repair", out)
    assert (repaired.returncode, repaired.stdout) == (0, f"{out}\n")
    assert "1 done, 1 known as failed" in repaired.stderr


@pytest.mark.parametrize(
    "asked", [(), ("--products", "classes,report"), ("--set", "products=[classes,report]"), ("file",)]
)
def test_a_page_for_every_scene_is_made_where_it_is_asked_for(tmp_path: Path, asked: tuple[str, ...]) -> None:
    """By an option or by the user's own pipeline; `geoseg run` makes it without being asked."""
    (tmp_path / "scene.tif").write_text("no scene yet")
    tiny_bundle(tmp_path / "bundle")
    if asked == ("file",):
        own = tmp_path / "own.yaml"
        own.write_text(f"name: own\nmodel: {tmp_path / 'bundle'}\nproducts: [classes, report]\n")
        asked = ("--pipeline", str(own))
    found = geoseg("plan", tmp_path / "scene.tif", tmp_path / "out", "--model", tmp_path / "bundle", *asked, "--json")
    products = json.loads(found.stdout)["pipeline"]["products"]
    assert products == (["classes", "report"] if asked else ["classes", "confidence", "areas", "polygons"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "Missing argument '[SOURCE] OUT'"),
        (["run", "a", "b", "c"], "3 places: give SOURCE and OUT"),
        (["run", "nowhere"], "nowhere holds no batch"),
        (["run", "nowhere", "--model", "forest-s2-rgb"], "model is frozen in nowhere"),
        (["run", "nowhere", "--definition", "fao"], "definition is frozen in nowhere"),
        (["run", "nowhere", "--zones", "z.gpkg"], "zones is frozen in nowhere"),
        (["run", "nowhere", "--shard", "3/3"], "--shard 3/3: write I/N"),
        (["plan", "s3://bucket/x", "out"], "s3://bucket/x is remote"),
        (["status", "nowhere"], "nowhere holds no batch"),
        (["failures", "nowhere"], "nowhere holds no batch"),
        (["repair", "nowhere"], "nowhere holds no batch"),
        (["script", "nowhere"], "say for which cluster"),
        (["script", "nowhere", "--slurm"], "nowhere holds no batch"),
    ],
)
def test_what_is_refused_is_refused_in_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = geoseg(*words)
    assert found.returncode == 2
    (line,) = found.stderr.splitlines()
    assert message in line
    assert list(tmp_path.iterdir()) == []
