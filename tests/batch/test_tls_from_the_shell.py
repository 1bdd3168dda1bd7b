"""What docs/batch.md says of a running scheduler, typed into a shell: TLS files, two workers, a batch on them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from distributed.security import Security

from geoseg.batch.status import read_status
from tests.batch.test_batch import plan
from tests.model.bundles import tiny_bundle
from tests.workflows.test_segment import write_scene

pytestmark = [pytest.mark.alone, pytest.mark.slow]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 120
SCENES = 4


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Path]:
    """ca, cert and key as PEM files."""
    security, found = Security.temporary(), {}
    for name, attribute in (("ca", "tls_ca_file"), ("cert", "tls_client_cert"), ("key", "tls_client_key")):
        found[name] = tmp_path / f"{name}.pem"
        found[name].write_text(getattr(security, attribute))
    return found


@pytest.fixture
def scheduler(tmp_path: Path, keys: dict[str, Path]) -> Iterator[str]:
    """The address of `dask scheduler` with two `dask worker`s, each started by its documented command."""
    tls = [f"--tls-ca-file={keys['ca']}", f"--tls-cert={keys['cert']}", f"--tls-key={keys['key']}"]
    says = tmp_path / "scheduler.json"
    serve = ["scheduler", "--host", "tls://127.0.0.1:0", "--no-dashboard", f"--scheduler-file={says}", *tls]
    work = ["--nthreads", "1", "--preload", "geoseg.batch.preload", "--no-dashboard", *tls]
    with ExitStack() as stack:
        stack.enter_context(_dask(*serve))
        deadline = time.monotonic() + PATIENCE_S
        while not says.exists() or not says.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        address = json.loads(says.read_text())["address"]
        for _ in range(2):
            stack.enter_context(_dask("worker", address, *work))
        yield address


class _dask:
    """`dask …` with all its children, ended with the context."""

    def __init__(self, *words: str) -> None:
        self._process = psutil.Popen(
            [sys.executable, "-m", "dask", *words], cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        for one in [*self._process.children(recursive=True), self._process]:
            one.kill()
        self._process.wait()


def run(out: Path, address: str, keys: dict[str, Path]) -> "subprocess.CompletedProcess[str]":
    words = ["batch", "run", out, "--config", "dask", "--scheduler", address]
    for name, path in keys.items():
        words += ["--set-config", f"cluster.tls_{name}={path}"]
    command = [sys.executable, "-m", "geoseg", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def test_a_batch_runs_on_a_scheduler_behind_tls(tmp_path: Path, keys: dict[str, Path], scheduler: str) -> None:
    """And what stood there before is still there afterwards; who has other keys is not let in."""
    archive, out = tmp_path / "archive", tmp_path / "out"
    archive.mkdir()
    tiny_bundle(tmp_path / "bundle")
    for k in range(SCENES):
        write_scene(archive / f"{k}.tif", height=64, width=80, seed=k)
    plan(archive, out)
    assert scheduler.startswith("tls://")
    ran = run(out, scheduler, keys)
    assert ran.returncode == 0, ran.stderr
    assert read_status(out).counts["done"] == SCENES
    assert len(list(out.glob("scenes/*/*/run.json"))) == SCENES
    plan(archive, tmp_path / "again")
    assert run(tmp_path / "again", scheduler, keys).returncode == 0, "scheduler and workers go on"
    bare = run(tmp_path / "again", scheduler, {})
    assert bare.returncode == 0, "nothing to do: nobody is asked"
    plan(archive, tmp_path / "third")
    refused = run(tmp_path / "third", scheduler, {})
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1), refused.stderr
    assert "needs keys" in refused.stderr
    mixed = run(tmp_path / "third", scheduler, {**keys, "key": keys["ca"]})
    assert (mixed.returncode, len(mixed.stderr.splitlines())) == (2, 1), mixed.stderr
    assert "give PEM files that belong together" in mixed.stderr
