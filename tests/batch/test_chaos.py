"""Real processes that crash, hang and are killed from outside: nothing is lost, the guilty are named exactly."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from geoseg.batch.ledger import Ledger
from geoseg.batch.place import Place, Shard
from tests.batch.chaos import area_of, make_batch, natures

pytestmark = [pytest.mark.alone, pytest.mark.slow]

ROOT = Path(__file__).resolve().parent.parent.parent
SCENES = 300
PATIENCE_S = 120


class Run:
    """A driver in a process group of its own."""

    def __init__(self, out: Path, kind: str, shard: str = "0/1") -> None:
        self.out = out
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.batch.chaos", str(out), kind, shard],
            cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self._family: list[psutil.Process] = []

    def until(self, done: int) -> "Run":
        """Waits until so many scenes have been begun since the batch was planned."""
        self._wait(lambda: len(executions(self.out)) >= done)
        self._family = psutil.Process(self.process.pid).children(recursive=True)
        return self

    def kill_a_worker(self) -> None:
        """As the system does when memory runs out: the youngest process that works at a scene."""
        workers = [one for one in self._family if "resource_tracker" not in " ".join(one.cmdline())]
        workers[-1].kill()

    def signal(self, number: int, *, group: bool) -> int:
        """Stops it; gives the exit status. No process of it is left after three seconds."""
        (os.killpg if group else os.kill)(self.process.pid, number)
        status = self.process.wait(PATIENCE_S)
        _, left = psutil.wait_procs(self._family, timeout=3)
        alive = [one for one in left if not _has_ended(one)]
        assert not alive, f"orphans: {alive}"
        return status

    def finish(self) -> dict[str, Any]:
        """What it says at the end, with its exit status."""
        text, _ = self.process.communicate(timeout=PATIENCE_S)
        found: dict[str, Any] = json.loads(text.splitlines()[-1])
        return {**found, "status": self.process.returncode}

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None, "it ended too early"
            assert time.monotonic() < deadline
            time.sleep(0.01)


def _has_ended(process: psutil.Process) -> bool:
    """A process that only waits for its new parent to take note of its end."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def executions(out: Path) -> list[int]:
    log = out / "executions.log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def plan(out: Path, count: int) -> dict[str, set[int]]:
    """A planned batch, and the scenes that are to end in each state."""
    (out / "products").mkdir(parents=True)
    (out / "count").write_text(str(count))
    make_batch(out, count)
    lots = natures(count)
    expected: dict[str, set[int]] = {"done": set(), "failed": set(), "quarantined": set()}
    ends = {"corrupt": "failed", "poison": "quarantined", "hang": "quarantined"}
    for number in range(count):
        expected[ends.get(lots.get(number, ""), "done")].add(number)
    return expected


def ends(out: Path, *shards: Shard) -> dict[str, set[int]]:
    """What the ledgers say; a scene that was found done counts as done, with the area that its product has."""
    found: dict[str, set[int]] = {"done": set(), "failed": set(), "quarantined": set()}
    for shard in shards or (Shard(),):
        with Ledger(Place(out=out).ledger(shard)) as ledger:
            for row in ledger.rows():
                number = int(Path(row["uri"]).stem)
                state = {"skipped": "done"}.get(row["state"], row["state"])
                assert all(number not in others for others in found.values()), "in two shards"
                found[state].add(number)
                if state == "done":
                    assert json.loads(row["areas"]) == {"forest": area_of(number)}
    return found


def wrongly_suspected(out: Path, *shards: Shard) -> set[int]:
    """Scenes in which a worker died though nothing is wrong with them."""
    found = set()
    for shard in shards or (Shard(),):
        with Ledger(Place(out=out).ledger(shard)) as ledger:
            found |= {int(Path(row["uri"]).stem) for row in ledger.rows() if row["deaths"]}
    deadly = {"poison", "hang", "killer"}
    lots = natures(int((out / "count").read_text()))
    return {number for number in found if lots.get(number) not in deadly}


def check(out: Path, expected: dict[str, set[int]], *shards: Shard, victims: int = 0) -> None:
    """Lost 0, the sets exact, nothing half made, nothing done much more often than needed.

    As many scenes as `victims` lost their worker by a kill from outside.
    """
    assert ends(out, *shards) == expected
    assert len(wrongly_suspected(out, *shards)) <= victims
    products = {path.name for path in (out / "products").iterdir()}
    assert products == {str(number) for number in expected["done"]}, "lost, or left half made"
    total = sum(map(len, expected.values()))
    begun = executions(out)
    assert len(begun) <= 1.1 * total
    assert max(Counter(begun).values()) <= 4
    assert not list((out / "running").glob("*")) if (out / "running").exists() else True


@pytest.mark.parametrize("kind", ["here", "local"])
def test_nothing_is_lost_whatever_dies(tmp_path: Path, kind: str) -> None:
    expected = plan(tmp_path, SCENES)
    first = Run(tmp_path, kind).until(SCENES // 5)
    first.kill_a_worker()
    first.until(SCENES // 3)
    assert first.signal(signal.SIGKILL, group=False) == -signal.SIGKILL
    assert Run(tmp_path, kind).until(SCENES // 2).signal(signal.SIGINT, group=True) == 130
    resumed = Run(tmp_path, kind).finish()
    assert resumed["status"] == 3, "some have failed"
    check(tmp_path, expected, victims=1)
    before = len(executions(tmp_path))
    again = Run(tmp_path, kind).finish()
    assert (again["status"], again["outcomes"]) == (3, {})
    assert len(executions(tmp_path)) == before, "a finished batch does nothing"


def test_shards_share_a_folder(tmp_path: Path) -> None:
    """Eight drivers at once: together they do every scene, none twice."""
    expected = plan(tmp_path, 80)
    shards = [Shard(index=k, count=8) for k in range(8)]
    runs = [Run(tmp_path, "here", f"{shard.index}/8") for shard in shards]
    assert {run.finish()["status"] for run in runs} <= {0, 3}
    check(tmp_path, expected, *shards)
    refused = Run(tmp_path, "here", "0/4").process
    assert refused.wait(PATIENCE_S) == 1, "other shards would overlap"


def test_a_second_driver_is_refused(tmp_path: Path) -> None:
    plan(tmp_path, 100)
    first = Run(tmp_path, "here").until(3)
    second = subprocess.run(
        [sys.executable, "-m", "tests.batch.chaos", str(tmp_path), "here"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f"is being worked at by process {first.process.pid} on " in second.stderr
    assert first.signal(signal.SIGTERM, group=False) == 130
