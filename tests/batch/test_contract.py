"""What a script may rely on: exit codes, refusals in one line, what is said how often."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from geoseg import errors
from geoseg.batch.event import State, Stop
from geoseg.batch.loop import Summary
from geoseg.batch.place import Place, Shard, locked
from geoseg.batch.run import RunOptions, run_batch
from geoseg.batch.status import read_failures, read_status
from geoseg.batch.worker import JobError
from geoseg.cli import batch_progress, show
from geoseg.config import Config
from tests.batch.chaos import Told, make_batch

ROOT = Path(__file__).resolve().parent.parent.parent
COUNTS: dict[State, int] = {
    "pending": 0,
    "running": 0,
    "done": 5,
    "skipped": 0,
    "suspect": 0,
    "failed": 0,
    "quarantined": 0,
}


@pytest.mark.parametrize(
    ("stop", "states", "code"),
    [
        (0, {}, 0),
        (0, {"failed": 1}, 3),
        (0, {"quarantined": 1}, 3),
        (4, {"pending": 9}, 4),
        (4, {"pending": 9, "failed": 1}, 4),
        (130, {"pending": 9}, 130),
        (130, {"failed": 1}, 130),
    ],
)
def test_how_a_batch_ended_is_its_exit_code(stop: int, states: dict[State, int], code: int) -> None:
    """The table of docs/batch.md: what stopped it counts before what failed in it."""
    counts = {**COUNTS, **states}
    assert Summary(stop=Stop(code=stop, reason="x"), counts=counts).exit_code == code


def test_every_error_has_the_exit_code_of_the_tree() -> None:
    """As drawn in errors.py: 2 for what is refused, 1 for the machine."""
    refused = (
        errors.SceneError, errors.BundleError, errors.SettingsError, errors.OffMapError, errors.ProductError,
        errors.BusyError,
    )  # fmt: skip
    assert {one.exit_code for one in refused} == {2}
    assert {one.exit_code for one in (errors.ResourceError, JobError, errors.GeosegError)} == {1}
    drawn = str(errors.__doc__)
    assert [one.__name__ for one in (*refused, errors.ResourceError) if one.__name__ not in drawn] == []


def test_a_second_driver_is_told_who_is_at_it(tmp_path: Path) -> None:
    make_batch(tmp_path, 3)
    command = [sys.executable, "-m", "geoseg", "batch", "run", str(tmp_path)]
    with locked(Place(out=tmp_path).lock(Shard())):
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, len(found.stderr.splitlines())) == (2, 1), found.stderr
    assert f"process {os.getpid()} on {socket.gethostname()}" in found.stderr


def test_who_was_killed_holds_nothing(tmp_path: Path) -> None:
    """A lock file that a dead process left, on this host or another, stops nobody."""
    lock = Place(out=tmp_path).lock(Shard())
    lock.write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    with locked(lock):
        assert json.loads(lock.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"", b"SQLite format 3\0" + b"x" * 5000])
def test_a_damaged_ledger_is_told_with_its_remedy(tmp_path: Path, content: bytes) -> None:
    make_batch(tmp_path, 3)
    Place(out=tmp_path).ledger(Shard()).write_bytes(content)
    for look in (
        lambda: read_status(tmp_path),
        lambda: list(read_failures(tmp_path)),
        lambda: run_batch(tmp_path, RunOptions(config=Config()), Told()),
    ):
        with pytest.raises(errors.ProductError, match=r"journal.sqlite is damaged .*: run geoseg batch repair"):
            look()


def test_a_log_has_a_line_per_half_minute(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An hour of scenes, one in each second."""
    now = 0.0
    monkeypatch.setattr("geoseg.cli.show.time.monotonic", lambda: now)
    progress = show.LineProgress()
    progress.begin("scenes", 3600)
    for second in range(1, 3601):
        now = float(second)
        progress.advance()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 120
    assert said[0] == "scenes: 30 of 3600, about 3570 s left"


def test_each_way_to_show_progress_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    """A bar, lines, JSON lines, or nothing at all."""
    said, counts = {}, COUNTS.copy()
    counts["pending"] = 3
    for kind in ("bar", "lines", "json", "none"):
        with batch_progress.listener_of(kind) as listener:
            listener.begin(counts, 2)
            listener.say("a note")
        said[kind] = capsys.readouterr().err
    assert [json.loads(line)["event"] for line in said["json"].splitlines()] == ["begin", "note"]
    assert said["lines"].splitlines() == ["8 scenes, 3 to do, 2 workers", "a note"]
    assert said["none"] == ""
    assert "a note" in said["bar"]
