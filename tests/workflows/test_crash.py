"""Law 6 on the whole job: whatever kills a run, and whenever, the folder holds a product or is refused as none."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from geoseg.errors import ProductError
from geoseg.workflows.product import read_product
from tests.faults import count_faults, run_with_fault, start_fork, wait_for
from tests.model.bundles import tiny_bundle
from tests.workflows.test_segment import write_scene

pytestmark = pytest.mark.alone

COMMAND = ["--set", "tiling.tile=64", "--set", "tiling.margin=0", "--set-config", "threads=1", "--quiet"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_scene(folder / "scene.tif", height=150, width=180)
    tiny_bundle(folder / "bundle", kind="pointwise", bands=["red", "green", "blue"])
    return folder


def is_product(out: Path) -> bool:
    """True: complete. False: refused as none."""
    try:
        record = read_product(out)
    except ProductError:
        return False
    return all((out / name).is_file() for name in record.products)


def job(inputs: Path, out: Path, *words: str) -> list[str]:
    scene, bundle = str(inputs / "scene.tif"), str(inputs / "bundle")
    return [sys.executable, "-m", "geoseg", "run", scene, str(out), "--model", bundle, *COMMAND, *words]


def segment_again(inputs: Path, out: Path, *, overwrite: bool) -> Callable[[], None]:
    def call() -> None:
        from geoseg.config import Config
        from geoseg.pipeline import Pipeline
        from geoseg.workflows.plan import Request, plan_scene
        from geoseg.workflows.segment import segment

        pipeline = Pipeline.model_validate(
            {
                "name": "test",
                "model": str(inputs / "bundle"),
                "tiling": {"tile": 64, "margin": 0},
                "inference": {"engine": "torch-cpu", "precision": "fp32"},
            }
        )
        request = Request(source=str(inputs / "scene.tif"), pipeline=pipeline, config=Config(threads=1))
        segment(plan_scene(request), out, overwrite=overwrite)

    return call


@pytest.mark.parametrize("overwrite", [False, True], ids=["fresh", "overwrite"])
def test_a_kill_at_every_rename_and_fsync(inputs: Path, tmp_path: Path, *, overwrite: bool) -> None:
    def prepare(name: str) -> Path:
        out = tmp_path / name
        if overwrite:
            assert run_with_fault(segment_again(inputs, out, overwrite=False), kill_at=None) == 0
        return out

    total = count_faults(segment_again(inputs, prepare("count"), overwrite=overwrite))
    assert total >= 10
    for kill_at in range(total):
        out = prepare(str(kill_at))
        assert run_with_fault(segment_again(inputs, out, overwrite=overwrite), kill_at=kill_at) != 0
        complete = is_product(out) if out.exists() else False
        assert run_with_fault(segment_again(inputs, out, overwrite=complete), kill_at=None) == 0
        assert is_product(out)
        assert not list(out.glob(".tmp*")), kill_at


def test_random_kills(inputs: Path, tmp_path: Path) -> None:
    begin = time.monotonic()
    assert run_with_fault(segment_again(inputs, tmp_path / "timing", overwrite=False), kill_at=None) == 0
    whole = time.monotonic() - begin
    dice = random.Random(7)
    killed = 0
    for k in range(20):
        out = tmp_path / str(k % 4)
        child = start_fork(segment_again(inputs, out, overwrite=is_product(out)))
        time.sleep(dice.uniform(0.0, 1.0) * whole)
        os.kill(child, signal.SIGKILL)
        killed += wait_for(child) == -signal.SIGKILL
        is_product(out)  # complete, or refused as none: never another error
    assert killed >= 10
    for k in range(4):
        out = tmp_path / str(k)
        assert run_with_fault(segment_again(inputs, out, overwrite=is_product(out)), kill_at=None) == 0
        assert is_product(out)
        assert not list(out.glob(".tmp*"))


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_stop_exits_130_and_leaves_nothing_half_made(inputs: Path, tmp_path: Path, signal_: int) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(job(inputs, out), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(out.glob(".tmp*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal_)
    _, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the run was over before the signal")
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not is_product(out)
    assert not list(out.glob(".tmp*"))
