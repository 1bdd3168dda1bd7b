"""What planning says of a source: results in it that are no scenes, and scenes that came after it was frozen."""

import io
import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from geoseg.batch.plan import BatchRequest, Planned, plan_batch
from geoseg.config import Config
from tests.batch.test_batch import pipeline
from tests.model.bundles import tiny_bundle
from tests.workflows.test_segment import write_scene


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two scenes, one of which is done in parts where these are 512 wide, beside results of geoseg."""
    folder = tmp_path / "archive"
    (folder / "done").mkdir(parents=True)
    write_scene(folder / "wide.tif", height=64, width=1100)
    (folder / "b.tif").write_text("hello")
    for name in ("run.json", "classes.tif"):
        (folder / "done" / name).write_text(json.dumps({"format": "geoseg run 1"}))
    tiny_bundle(tmp_path / "bundle")
    return folder


def plan(archive: Path, out: Path, source: str = "", block: int = 0) -> Planned:
    config = Config.model_validate({"threads": 1, "cluster": {"block": block}})
    return plan_batch(BatchRequest(source=source or str(archive), pipeline=pipeline(archive), config=config), out)


@pytest.mark.parametrize("block", [0, 512])
def test_scenes_that_came_later_are_told(archive: Path, tmp_path: Path, block: int) -> None:
    out = archive / "out"  # inside its own source: a batch is no scene, neither when it is planned nor later
    first = plan(archive, out, block=block)
    assert first.notes == ("folders left out because they hold results of geoseg: 1",)
    assert first.job.scenes == (2 if block == 0 else 4)
    (out / "mosaic.tif").write_text("x")
    assert plan(archive, out, block=block).notes == ()
    for name in ("c.tif", "d.jp2"):
        (archive / name).write_text("x")
    (archive / "b.tif").unlink()
    again = plan(archive, out, block=block)
    assert again.job == first.job
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    told = f"not in this batch, which was frozen on {today}: 2 scenes of {archive}; plan a new one for them"
    assert again.notes == (told,)
    out.rename(tmp_path / "out")
    shutil.rmtree(archive)
    (gone,) = plan(archive, tmp_path / "out", block=block).notes
    assert gone.startswith(f"scenes added since could not be looked for: {archive} is not there")


def test_standard_input_is_not_listed_again(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{archive}/b.tif\n"))
    plan(archive, tmp_path / "out", source="-")
    monkeypatch.setattr(sys, "stdin", waiting := io.StringIO(f"{archive}/c.tif\n"))
    again = plan(archive, tmp_path / "out", source="-")
    assert (again.is_new, again.notes, waiting.tell()) == (False, (), 0)
