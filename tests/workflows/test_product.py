"""Law 6: a product exists exactly when it is complete, whatever kills the run that makes it."""

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from geoseg.errors import InterruptedRun, ProductError, ResourceError
from geoseg.workflows.product import MARKER, RECORD, check_output, interruptible, read_product, stage
from tests.faults import KILLED, count_faults, run_with_fault
from tests.test_outcome import a_record

FIRST = {"classes.tif": b"first map", "polygons.parquet": b"first polygons", "areas.json": b"{}"}
SECOND = {"classes.tif": b"the second map", "polygons.gpkg": b"second polygons", "areas.json": b'{"a": 1}'}


def make(out: Path, files: dict[str, bytes], *, overwrite: bool = False) -> None:
    with stage(out, overwrite=overwrite) as staging:
        for name, content in files.items():
            (staging.folder / name).write_bytes(content)
        staging.publish(a_record())


def visible(out: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in out.iterdir() if one.name not in (RECORD, MARKER)}


def state(out: Path) -> dict[str, bytes] | None:
    """The files of the product, None where there is none."""
    try:
        record = read_product(out, checksums=True)
    except ProductError:
        return None
    return {name: (out / name).read_bytes() for name in record.products}


def test_a_product_is_all_its_files_and_their_checksums(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    make(out, FIRST)
    record = read_product(out, checksums=True)
    assert {name: (one.bytes, one.sha256) for name, one in record.products.items()} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in FIRST.items()
    }
    assert list(record.products) == ["classes.tif", "areas.json", "polygons.parquet"]
    assert visible(out) == FIRST


def test_a_report_may_be_made_again_without_breaking_the_product(tmp_path: Path) -> None:
    """It is a view of the other files: no checksum of it is kept, and a run that makes none removes the old one."""
    out = tmp_path / "out"
    make(out, {**FIRST, "report.html": b"a page"})
    (out / "report.html").write_bytes(b"another page, with a sample")
    assert list(read_product(out, checksums=True).products) == ["classes.tif", "areas.json", "polygons.parquet"]
    make(out, SECOND, overwrite=True)
    assert visible(out) == SECOND


@pytest.mark.alone
@pytest.mark.parametrize("before", ["nothing", "empty folder", "product", "killed run"])
def test_a_kill_at_every_step_leaves_a_product_or_none(tmp_path: Path, before: str) -> None:
    """The earlier product, the new one, or none that is refused; then a rerun leaves the new one and no rest."""
    old = FIRST if before == "product" else None
    overwrite = old is not None

    def prepare(name: str) -> Path:
        out = tmp_path / name
        if before == "empty folder":
            out.mkdir()
        if before == "product":
            make(out, FIRST)
        if before == "killed run":
            last = count_faults(work(tmp_path / f"{name}-probe", FIRST)) - 8
            assert run_with_fault(work(out, FIRST), last) == KILLED
            assert state(out) is None
        return out

    def work(out: Path, files: dict[str, bytes], *, overwrite: bool = False) -> Callable[[], None]:
        return lambda: make(out, files, overwrite=overwrite)

    total = count_faults(work(prepare("count"), SECOND, overwrite=overwrite))
    assert total >= 12
    seen = set()
    for kill_at in range(total):
        out = prepare(str(kill_at))
        assert run_with_fault(work(out, SECOND, overwrite=overwrite), kill_at) == KILLED
        found = state(out)
        assert found in (old, None, SECOND), kill_at
        seen.add("old" if found == old and old else "new" if found else "none")
        make(out, SECOND, overwrite=found is not None)
        assert state(out) == SECOND
        assert visible(out) == SECOND, kill_at
    assert seen == {"new", "none", "old"} - (set() if overwrite else {"old"})
    assert run_with_fault(work(prepare("whole"), SECOND, overwrite=overwrite), total) == 0


def test_overwriting_removes_what_the_new_run_does_not_make_and_nothing_else(tmp_path: Path) -> None:
    make(tmp_path, FIRST)
    (tmp_path / "notes.txt").write_text("the user's")
    make(tmp_path, SECOND, overwrite=True)
    assert visible(tmp_path) == {**SECOND, "notes.txt": b"the user's"}


def test_a_run_json_that_lists_a_file_of_the_users_does_not_remove_it(tmp_path: Path) -> None:
    make(tmp_path, {**FIRST, "thesis.docx": b"the user's"})
    assert "thesis.docx" in (tmp_path / RECORD).read_text()
    make(tmp_path, SECOND, overwrite=True)
    assert visible(tmp_path) == {**SECOND, "thesis.docx": b"the user's"}


def test_nothing_is_lost_that_is_not_to_be_overwritten(tmp_path: Path) -> None:
    make(tmp_path / "done", FIRST)
    with pytest.raises(ProductError, match=r"already holds a product \(run\.json\): give --overwrite"):
        make(tmp_path / "done", SECOND)
    assert state(tmp_path / "done") == FIRST
    (tmp_path / "file").write_text("x")
    with pytest.raises(ProductError, match="is a file"):
        make(tmp_path / "file", SECOND)
    for name in ("classes.tif", "run.json"):
        folder = tmp_path / f"foreign {name}"
        folder.mkdir()
        (folder / name).write_text("{}")
        for overwrite in (False, True):
            with pytest.raises(ProductError, match=f"holds {name}, which no run of geoseg left there"):
                make(folder, SECOND, overwrite=overwrite)
        assert [one.name for one in folder.iterdir()] == [name]
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ProductError, match="link to nothing"):
        make(tmp_path / "link", SECOND)


def test_a_copied_product_is_still_ours(tmp_path: Path) -> None:
    make(tmp_path / "a", FIRST)
    (tmp_path / "a" / MARKER).unlink()
    assert state(tmp_path / "a") == FIRST
    make(tmp_path / "a", SECOND, overwrite=True)
    assert state(tmp_path / "a") == SECOND


def test_checking_an_output_changes_nothing(tmp_path: Path) -> None:
    check_output(tmp_path / "a" / "b", overwrite=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, InterruptedRun])
def test_a_run_that_fails_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    def fail(out: Path, *, overwrite: bool) -> None:
        with stage(out, overwrite=overwrite) as staging:
            (staging.folder / "classes.tif").write_bytes(b"half")
            raise error

    with pytest.raises(error):
        fail(tmp_path / "new", overwrite=False)
    assert list(tmp_path.iterdir()) == []
    make(tmp_path / "old", FIRST)
    with pytest.raises(error):
        fail(tmp_path / "old", overwrite=True)
    assert state(tmp_path / "old") == FIRST
    assert visible(tmp_path / "old") == FIRST


@pytest.mark.parametrize("damage", ["gone", "short", "bit", "record", "no record", "no folder"])
def test_a_damaged_product_is_refused(tmp_path: Path, damage: str) -> None:
    make(tmp_path / "out", FIRST)
    path, record = tmp_path / "out" / "classes.tif", tmp_path / "out" / RECORD
    words = {
        "gone": r"classes\.tif is missing",
        "short": r"classes\.tif has 8 bytes where run\.json says 9",
        "bit": "other bytes than when it was made",
        "record": r"run\.json is damaged",
        "no record": "holds no finished product",
        "no folder": "holds no finished product",
    }
    if damage == "gone":
        path.unlink()
    if damage == "short":
        path.write_bytes(path.read_bytes()[:-1])
    if damage == "bit":
        path.write_bytes(b"First map")
        assert read_product(tmp_path / "out")
    if damage == "record":
        record.write_bytes(record.read_bytes()[:-5])
    if damage == "no record":
        record.unlink()
    with pytest.raises(ProductError, match=words[damage]):
        read_product(tmp_path / ("absent" if damage == "no folder" else "out"), checksums=True)


def test_a_damaged_record_of_ours_can_be_overwritten(tmp_path: Path) -> None:
    make(tmp_path, FIRST)
    (tmp_path / RECORD).write_bytes(b"{")
    with pytest.raises(ProductError, match="--overwrite"):
        make(tmp_path, SECOND)
    make(tmp_path, SECOND, overwrite=True)
    assert visible(tmp_path) == SECOND


HOLD = """
import sys, time
from pathlib import Path
from geoseg.workflows.product import interruptible, stage
with interruptible(), stage(Path(sys.argv[1]), overwrite=False) as staging:
    (staging.folder / "classes.tif").write_bytes(b"half")
    print("ready", flush=True)
    time.sleep(60)
"""


def hold(out: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_runs_cannot_write_into_one_folder(tmp_path: Path) -> None:
    with hold(tmp_path / "out") as process:
        try:
            with pytest.raises(ProductError, match=f"is being written by process {process.pid} on "):
                make(tmp_path / "out", SECOND)
        finally:
            process.kill()
    make(tmp_path / "out", SECOND)
    assert visible(tmp_path / "out") == SECOND


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_removes_what_was_staged(tmp_path: Path, number: signal.Signals) -> None:
    with hold(tmp_path / "out") as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert "InterruptedRun: stopped by SIG" in err
    assert list(tmp_path.iterdir()) == []


def test_a_signal_while_publishing_comes_too_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = os.replace

    def replace(source: Path, target: Path) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        honest(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with interruptible():
        make(tmp_path, FIRST)
    assert state(tmp_path) == FIRST
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_bytes_reach_the_disk_before_the_names_that_promise_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill cannot show and a power cut would: the order of fsync and rename."""
    events: list[tuple[str, str]] = []
    sync, replace = os.fsync, os.replace

    def recorded_sync(descriptor: int) -> None:
        events.append(("sync", Path(f"/proc/self/fd/{descriptor}").resolve().name))
        sync(descriptor)

    def recorded_replace(source: Path, target: Path) -> None:
        events.append(("name", target.name))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_sync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    make(tmp_path / "out", FIRST)
    record = events.index(("name", RECORD))
    for name in FIRST:
        assert events.index(("sync", name)) < events.index(("name", name)) < record
    assert events.index(("sync", RECORD)) < record
    assert events[record - 1] == events[record + 1] == ("sync", "out")


def test_a_thread_may_publish(tmp_path: Path) -> None:
    thread = threading.Thread(target=make, args=(tmp_path, FIRST))
    thread.start()
    thread.join()
    assert state(tmp_path) == FIRST


@pytest.mark.parametrize("full", ["write_text", "replace"])
def test_a_full_disk_while_publishing(tmp_path: Path, full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything old is lost where it can be known; else no product."""

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    make(tmp_path, FIRST)
    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "write_text", fail) if full == "write_text" else (os, "replace", fail)))
        with pytest.raises(ResourceError, match=r"cannot be written .No space left on device.: free space") as caught:
            make(tmp_path, SECOND, overwrite=True)
    assert str(tmp_path) in str(caught.value)
    assert state(tmp_path) == (FIRST if full == "write_text" else None)
    make(tmp_path, SECOND, overwrite=True)
    assert state(tmp_path) == SECOND


def test_where_files_cannot_be_locked_a_run_still_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    make(tmp_path, FIRST)
    assert state(tmp_path) == FIRST
