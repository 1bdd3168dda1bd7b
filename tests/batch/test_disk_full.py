"""A disk that fills up stops the batch once, whatever meets it first; with space again it goes on to its end."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from geoseg.batch.event import Ticket
from geoseg.batch.ledger import Ledger
from geoseg.batch.place import Place, Shard
from geoseg.batch.run import RunOptions, run_batch
from geoseg.config import Config
from tests.batch.chaos import CLUSTER, Told, make_batch

pytestmark = [pytest.mark.alone, pytest.mark.slow]
SCENES = 40
WORK = "tests.batch.test_disk_full:work"


def work(out: Path, ticket: Ticket, config: Config) -> Mapping[str, Any]:
    """A product of 200 kB."""
    beside = out / f".{ticket.row}"
    try:
        beside.write_bytes(b"\1" * 200_000)
        beside.replace(out / f"{ticket.row}.bin")
    finally:
        beside.unlink(missing_ok=True)
    return {"areas": {}}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 MB; skips where none may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200m", "geoseg-test", str(place)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path, *, leave: int) -> Path:
    """A file that takes all but so many bytes of a file system."""
    filler = place / "somebody-elses.bin"
    with filler.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, shutil.disk_usage(place).free - leave)
    return filler


def options_of(kind: str, **options: Any) -> RunOptions:
    cluster = {**CLUSTER, "kind": kind, **({"workers": 2} if kind == "local" else {})}
    return RunOptions(config=Config.model_validate({"threads": 1, "cluster": cluster}), **options)


def check_stopped(out: Path, options: RunOptions, scenes: int) -> None:
    """Once it stops with some scenes done, again it stops at once; nobody is to blame."""
    listener = Told()
    summary = run_batch(out, options, listener)
    assert summary.exit_code == 4, summary
    assert "free space" in summary.stop.reason
    assert listener.outcomes["broke"] <= 3, "it goes on against a full disk"
    assert 0 < summary.counts["done"] < scenes
    assert summary.counts["failed"] == 0, "no scene is to blame"
    again = run_batch(out, options, Told())
    assert again.exit_code == 4, "still full"
    assert again.counts["failed"] == 0


def check_finished(out: Path, scenes: int) -> None:
    with Ledger(Place(out=out).ledger(Shard())) as ledger:
        assert ledger.counts()["done"] + ledger.counts()["skipped"] == scenes


@pytest.mark.parametrize("kind", ["here", "local"])
def test_a_full_disk_stops_the_batch_and_it_resumes(small_disk: Path, kind: str) -> None:
    make_batch(small_disk, SCENES)
    filler, options = fill(small_disk, leave=4_000_000), options_of(kind, work=WORK)
    check_stopped(small_disk, options, SCENES)
    filler.unlink()
    assert run_batch(small_disk, options, Told()).exit_code == 0
    check_finished(small_disk, SCENES)
    assert len(list(small_disk.glob("*.bin"))) == SCENES
    assert not list(small_disk.glob(".[0-9]*"))
