"""Inside a worker: what an error means for the batch, what a claim says of a worker that died, what threads it has."""

import errno
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.batch.claim import ClaimFile, read_claim
from geoseg.batch.cluster import check_address, environments
from geoseg.batch.event import Broke, Died, Finished, Submit, Ticket
from geoseg.batch.executor import Executor
from geoseg.batch.executor_here import Here
from geoseg.batch.worker import Assignment, JobError, explain, try_scene
from geoseg.config import Config
from geoseg.errors import (
    BundleError,
    BusyError,
    GeosegError,
    ProductError,
    ResourceError,
    SceneError,
    SettingsError,
)


def caused(error: Exception, cause: Exception) -> Exception:
    try:
        raise error from cause
    except type(error) as found:
        return found


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (SceneError("x"), "data", "scene"),
        (BundleError("x"), "data", "bundle"),
        (SettingsError("x"), "data", "settings"),
        (ProductError("x"), "data", "product"),
        (BusyError("x"), "transient", "busy"),
        (FileNotFoundError(errno.ENOENT, "x"), "data", "file"),
        (JobError("x"), "job", "job"),
        (ResourceError("x"), "transient", "resource"),
        (MemoryError(), "transient", "memory"),
        (OSError(errno.EIO, "x"), "transient", "io"),
        (TimeoutError("x"), "transient", "io"),
        (ConnectionResetError("x"), "transient", "io"),
        (OSError(errno.ENOSPC, "x"), "disk", "disk"),
        (caused(ResourceError("x"), OSError(errno.EDQUOT, "x")), "disk", "disk"),
        (caused(SceneError("x"), caused(ValueError("y"), OSError(errno.ENOSPC, "x"))), "disk", "disk"),
        (GeosegError("x"), "internal", "GeosegError"),
        (ZeroDivisionError("x"), "internal", "ZeroDivisionError"),
        (sqlite3.OperationalError("x\ny\x1b[31m"), "internal", "OperationalError"),
    ],
)
def test_what_an_error_means(error: Exception, kind: str, code: str) -> None:
    found_kind, found_code, text = explain(error)
    assert (found_kind, found_code) == (kind, code)
    assert text
    assert text.isprintable(), "it is shown on terminals and written to tables"


FINISHED = Finished(at=1.0, row=7, seconds=0.5, result={"areas": {"é": 1.5}})
BROKE = Broke(at=2.0, row=8, kind="data", code="scene", error="why", seconds=0.1)


@given(cut=st.integers(0, 400))
def test_a_claim_that_was_cut_off_names_the_guilty_scene(tmp_path: Path, cut: int) -> None:
    """Whatever the last byte that reached the disk: what has ended is told, and at most one scene is begun."""
    path = tmp_path / "claim"
    path.unlink(missing_ok=True)
    with ClaimFile(path) as claim:
        claim.begin(7)
        claim.end(FINISHED)
        claim.begin(8)
        claim.end(BROKE)
        claim.begin(9)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    found = read_claim(path)
    assert found.endings in ({}, {7: FINISHED}, {7: FINISHED, 8: BROKE})
    assert found.begun in (None, 7, 8, 9)
    assert found.begun not in found.endings
    if cut >= len(whole):
        assert (found.begun, len(found.endings)) == (9, 2)


def test_a_claim_taken_over_twice_remembers_both_deaths(tmp_path: Path) -> None:
    """A scheduler that sends a pack on after each death: who takes it over leaves a word on the dead one."""
    path = tmp_path / "claim"
    with ClaimFile(path) as first:
        first.begin(1)
    died = Died(at=1.0, row=1, reason="its worker died")
    with ClaimFile(path) as second:
        second.end(died)
        second.begin(2)
    found = read_claim(path)
    assert (found.endings, found.begun) == ({1: died}, 2)


def raising(out: Path, ticket: Ticket, config: Config) -> dict[str, object]:
    raise SceneError("x is no scene")


@pytest.mark.parametrize(
    ("work", "code"), [("tests.batch.test_worker:raising", "scene"), ("no.such:work", "ModuleNotFoundError")]
)
def test_whatever_a_scene_breaks_of_is_told_and_not_raised(tmp_path: Path, work: str, code: str) -> None:
    ticket = Ticket(row=3, scene="a", uri="a", fingerprint="")
    ending = try_scene(Assignment(out=str(tmp_path / "out"), work=work, config=Config()), ticket, timeout_s=60)
    assert isinstance(ending, Broke)
    assert (ending.row, ending.code) == (3, code)
    (tmp_path / "file").write_text("")
    blocked = Assignment(out=str(tmp_path / "file"), work=work, config=Config())
    assert isinstance(try_scene(blocked, ticket, timeout_s=60), Broke), "its hang file cannot be made"


def test_no_claim_is_nobodys(tmp_path: Path) -> None:
    assert read_claim(tmp_path / "none").begun is None


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "tcp://localhost:1", "tls://far.example:8786"])
def test_addresses_that_are_safe(address: str) -> None:
    assert check_address(address, insecure=False) == address


def test_a_scheduler_that_anybody_could_use_is_refused() -> None:
    for address in ("tcp://far.example:8786", "tcp://10.0.0.1:8786", "tcp://127.0.0.1.far.example:1"):
        with pytest.raises(SettingsError, match="not encrypted"):
            check_address(address, insecure=False)
        assert check_address(address, insecure=True) == address
    for wrong in (None, "", "far:8786", "http://far"):
        with pytest.raises(SettingsError, match="--scheduler"):
            check_address(wrong, insecure=True)


def config(threads: int = 0, **cluster: object) -> Config:
    return Config.model_validate({"threads": threads, "cluster": {"kind": "local", **cluster}})


def test_each_gpu_has_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-abc,6")
    found = [one["CUDA_VISIBLE_DEVICES"] for one in environments(config(gpus="all"))]
    assert found == ["4", "GPU-abc", "6"]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in environments(config(gpus=2))] == ["4", "GPU-abc"]
    with pytest.raises(ResourceError, match=r"cluster.gpus=4, but only 3 CUDA devices"):
        environments(config(gpus=4))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ResourceError, match=r"cluster.gpus=all, but no CUDA device is here: give --config"):
        environments(config(gpus="all"))


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.batch.cluster.CPU_COUNT", 8)
    monkeypatch.setattr("geoseg.batch.cluster.MEMORY_LIMIT", 2**36)

    def shape(settings: Config) -> tuple[int, str]:
        found = environments(settings)
        return len(found), found[0]["OMP_NUM_THREADS"]

    assert shape(config()) == (8, "1")
    assert shape(config(threads=4)) == (2, "4")
    assert shape(config(workers=2)) == (2, "4")
    assert shape(config(threads=1, workers=3)) == (3, "1")
    monkeypatch.setattr("geoseg.batch.cluster.MEMORY_LIMIT", 4 * 2**30)
    assert shape(config()) == (2, "1"), "what does not fit into the memory is not started"


def test_a_worker_that_cannot_start_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.batch.executor_here.sys.executable", "/bin/false")
    ticket = Ticket(row=1, scene="a", uri="a", fingerprint="")
    assignment = Assignment(out=str(tmp_path), work="x:y", config=Config())
    here: Executor
    with Here(assignment) as here, pytest.raises(ResourceError, match="cannot be started"):
        here.submit(Submit(tickets=(ticket,), timeout_s=5))
