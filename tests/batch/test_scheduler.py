"""A Dask scheduler that somebody else runs, with its own settings: reached by TLS only, and no scene lost on it."""

import logging
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from distributed import LocalCluster, Worker
from distributed.security import Security

from geoseg.batch.cluster import LocalWorkers
from geoseg.batch.run import RunOptions, run_batch
from geoseg.config import Config
from geoseg.errors import ResourceError, SettingsError
from tests.batch.chaos import CLUSTER, WORK, Told
from tests.batch.test_chaos import check, plan

pytestmark = [pytest.mark.alone, pytest.mark.slow]


@contextmanager
def cluster(security: Security, *, threads: int = 1) -> Iterator[str]:
    """Two workers with Dask's default settings; gives the address."""
    with LocalCluster(
        n_workers=2, threads_per_worker=threads, security=security, protocol="tls", dashboard_address=None,
        silence_logs=logging.CRITICAL, memory_limit=0,
    ) as found:  # fmt: skip
        yield found.scheduler_address


def config(address: str, folder: Path, security: Security) -> Config:
    """With the keys of the cluster in files."""
    files = {"tls_ca": "tls_ca_file", "tls_cert": "tls_client_cert", "tls_key": "tls_client_key"}
    for name, attribute in files.items():
        (folder / f"{name}.pem").write_text(getattr(security, attribute))
    keys = {name: str(folder / f"{name}.pem") for name in files}
    section = {**CLUSTER, "kind": "address", "address": address, **keys}
    return Config.model_validate({"threads": 1, "cluster": section})


def test_a_foreign_scheduler_loses_nothing(tmp_path: Path) -> None:
    """Though it would send a poison scene to one worker after another: the claims tell."""
    expected = plan(tmp_path / "out", 60)
    security = Security.temporary()
    with cluster(security) as address:
        settings = config(address, tmp_path, security)
        summary = run_batch(tmp_path / "out", RunOptions(config=settings, work=WORK), Told())
    assert summary.exit_code == 3
    check(tmp_path / "out", expected)


def test_workers_of_several_threads_are_refused(tmp_path: Path) -> None:
    """The hang guard is one for a process; a second scene in it would take it from the first."""
    plan(tmp_path / "out", 5)
    security = Security.temporary()
    with cluster(security, threads=2) as address:
        settings = config(address, tmp_path, security)
        summary = run_batch(tmp_path / "out", RunOptions(config=settings, work=WORK), Told())
    assert summary.exit_code == 4
    assert "--nthreads 1" in summary.stop.reason
    assert summary.counts["pending"] == 5


def test_without_the_keys_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.batch.cluster._CONNECT_SECONDS", 5)
    plan(tmp_path / "out", 5)
    ours, theirs = Security.temporary(), Security.temporary()
    with cluster(theirs) as address:
        settings = config(address, tmp_path, ours)
        with pytest.raises(ResourceError, match="no scheduler answers at tls://"):
            run_batch(tmp_path / "out", RunOptions(config=settings, work=WORK), Told())


def threads() -> str:
    return os.environ["OMP_NUM_THREADS"]


def test_a_worker_that_is_gone_for_good_is_replaced() -> None:
    """With the environment of its own: on a machine with GPUs, its device."""
    workers = LocalWorkers(Config.model_validate({"threads": 3, "cluster": {"kind": "local", "workers": 2}}))
    client = workers.open()
    try:
        client.wait_for_workers(2, timeout=60)
        before = client.run(os.getpid)
        assert set(client.run(threads).values()) == {"3"}
        cluster = client.cluster
        cluster.sync(cluster.workers[1].close)
        assert workers.workers == 1
        workers.restore()
        client.wait_for_workers(2, timeout=60)
        after = client.run(os.getpid)
        assert len(set(before.values()) & set(after.values())) == 1, "the other one worked on"
        assert set(client.run(threads).values()) == {"3"}
    finally:
        workers.close()


def folder_and_port(dask_worker: Worker) -> tuple[str, int]:
    return dask_worker.local_directory, dask_worker.http_server.port


def ask(port: int, page: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", page)
    status = connection.getresponse().status
    connection.close()
    return status


def test_workers_of_this_machine_leave_nothing_and_tell_other_users_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask's pages have no TLS: what they say of scenes, anybody on the machine could read."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    workers = LocalWorkers(Config.model_validate({"threads": 1, "cluster": {"kind": "local", "workers": 1}}))
    client = workers.open()
    try:
        ((folder, port),) = client.run(folder_and_port).values()
        assert Path(folder).is_relative_to(tmp_path)
        for one in (port, client.cluster.scheduler.http_server.port):
            assert ask(one, "/health") == 200
            assert {ask(one, page) for page in ("/metrics", "/info/main/workers.html", "/json/counts.json")} == {404}
    finally:
        workers.close()
    assert not list(tmp_path.iterdir())


def sleep_a_while() -> int:
    time.sleep(2)
    return os.getpid()


def test_the_terminals_ctrl_c_does_not_stop_a_worker() -> None:
    """It reaches every process of the group; what is begun is to be finished, and the driver says when to stop."""
    workers = LocalWorkers(Config.model_validate({"threads": 1, "cluster": {"kind": "local", "workers": 1}}))
    client = workers.open()
    try:
        (pid,) = client.run(os.getpid).values()
        future = client.submit(sleep_a_while, pure=False)
        time.sleep(0.5)
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
        assert future.result(timeout=60) == pid
        assert set(client.run(os.getpid).values()) == {pid}
    finally:
        workers.close()


def test_an_open_scheduler_elsewhere_is_refused(tmp_path: Path) -> None:
    plan(tmp_path / "out", 5)
    settings = Config.model_validate({"cluster": {"kind": "address", "address": "tcp://far.example:8786"}})
    with pytest.raises(SettingsError, match="not encrypted"):
        run_batch(tmp_path / "out", RunOptions(config=settings, work=WORK), Told())
