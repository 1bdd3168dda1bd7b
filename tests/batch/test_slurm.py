"""Workers that are jobs of SLURM, without SLURM: stand-ins for sbatch and scancel start and end real processes."""

import os
import re
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from geoseg.batch import run as batch_run
from geoseg.batch.ledger import Ledger
from geoseg.batch.loop import Summary
from geoseg.batch.place import Place, Shard
from geoseg.batch.run import RunOptions, run_batch
from geoseg.config import Config
from geoseg.errors import ResourceError, SettingsError
from geoseg.presets import load_config
from tests.batch.chaos import CLUSTER, Told, make_batch

pytest.importorskip("dask_jobqueue", reason="the extra geoseg[slurm] is not installed")
from geoseg.batch.cluster_slurm import SlurmJobs, slurm_cluster

WORK = "tests.batch.slurm_work:work"
GOLDEN = Path(__file__).resolve().parent / "golden" / "worker.sbatch"
ROOT = Path(__file__).resolve().parent.parent.parent

SBATCH = """#!/bin/bash
cp "$1" "$JOBS/$$.sh"   # dask-jobqueue removes its file
setsid bash "$JOBS/$$.sh" > "$JOBS/$$.log" 2>&1 < /dev/null &
echo "$!" >> "$JOBS/submitted"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/bash
kill -TERM -- "-$1" 2> /dev/null
for _ in $(seq 50); do kill -0 -- "-$1" 2> /dev/null || exit 0; sleep 0.1; done
kill -KILL -- "-$1"
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the stand-ins' jobs; `submitted` in it lists them. Missing workers are replaced after a second."""
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    write_program(jobs / "bin/sbatch", SBATCH)
    write_program(jobs / "bin/scancel", SCANCEL)
    monkeypatch.setenv("PATH", f"{jobs / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("JOBS", str(jobs))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    real = batch_run.policy_of
    monkeypatch.setattr(batch_run, "policy_of", lambda config: replace(real(config), missing_s=1.0))
    yield jobs
    for job in submitted(jobs):
        if psutil.pid_exists(job):
            os.killpg(job, signal.SIGKILL)


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def submitted(jobs: Path) -> list[int]:
    file = jobs / "submitted"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def config_of(jobs: int = 2, **slurm: Any) -> Config:
    """Jobs that reach this machine by its loopback."""
    section = {**CLUSTER, "kind": "slurm", "workers": jobs, "memory_mb": 1024, "deserted_s": 60}
    return Config.model_validate({"threads": 1, "cluster": {**section, "slurm": {"interface": "lo", **slurm}}})


def run(out: Path, config: Config) -> Summary:
    (out / "logs").mkdir(parents=True)
    return run_batch(out, RunOptions(config=config, work=WORK), Told())


def deaths(out: Path) -> int:
    with Ledger(Place(out=out).ledger(Shard())) as ledger:
        return sum(row["deaths"] for row in ledger.rows())


def check_clean(out: Path, jobs: Path) -> None:
    """No job is left, and no key."""
    deadline = time.monotonic() + 20
    while any(psutil.pid_exists(job) for job in submitted(jobs)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [job for job in submitted(jobs) if psutil.pid_exists(job)]
    assert list((out / "running").iterdir()) == []


@pytest.mark.alone
@pytest.mark.slow
def test_a_job_that_is_killed_is_replaced_and_nothing_is_lost(tmp_path: Path, slurm: Path) -> None:
    out = tmp_path / "out"
    make_batch(out, 60)
    log = out / "executions.log"

    def kill() -> None:
        """As when a node fails: the whole job at once."""
        while not log.exists() or log.read_text().count("\n") < 5:
            time.sleep(0.05)
        worker = int(log.read_text().split()[-1])
        os.killpg(os.getpgid(worker), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    summary = run(out, config_of())
    killer.join()
    assert (summary.exit_code, summary.counts["done"]) == (0, 60), summary
    assert deaths(out) <= 1, "only the scene that it was at"
    assert log.read_text().count("\n") <= 61
    assert len(submitted(slurm)) == 3
    check_clean(out, slurm)


@pytest.mark.alone
@pytest.mark.slow
def test_a_worker_leaves_before_its_job_ends(tmp_path: Path, slurm: Path) -> None:
    """Between two scenes, so that no scene is blamed or done twice; another job takes its place."""
    out = tmp_path / "out"
    make_batch(out, 80)
    summary = run(out, config_of(jobs=1, walltime="00:00:32", drain_s=20))
    assert (summary.exit_code, summary.counts["done"]) == (0, 80), summary
    assert deaths(out) == 0
    assert (out / "executions.log").read_text().count("\n") == 80
    assert len(submitted(slurm)) >= 2, "sixteen seconds of work, twelve of a worker"
    check_clean(out, slurm)


def test_the_job_file(tmp_path: Path) -> None:
    """To the last character, but for the paths of this machine."""
    config = config_of(walltime="2-12:00:00", directives=["--partition=long"], prologue=["module load python"])
    cluster = slurm_cluster(config, tmp_path / "out/running/all-keys", None)
    try:
        text = cluster.job_script()
    finally:
        cluster.close()
    text = re.sub(r"(?<=127.0.0.1:)\d+", "PORT", text.replace(str(tmp_path), "/data"))
    text = re.sub(r"^\S+ -m distributed", "python -m distributed", text, flags=re.MULTILINE)
    assert text == GOLDEN.read_text()
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_keys_are_for_their_owner_only(tmp_path: Path, slurm: Path) -> None:
    keys = tmp_path / "out/running/all-keys"
    jobs = SlurmJobs(config_of(), keys)
    jobs.open()
    try:
        files = list(keys.iterdir())
        assert len(files) == 3
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
        assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    finally:
        jobs.close()
    assert not keys.exists()


def test_what_slurm_refuses_is_told_in_its_words(tmp_path: Path, slurm: Path) -> None:
    write_program(slurm / "bin/sbatch", "#!/bin/bash\necho 'sbatch: error: invalid partition: x' >&2; exit 1\n")
    jobs = SlurmJobs(config_of(), tmp_path / "out/running/all-keys")
    with pytest.raises(ResourceError, match=r"sbatch refused a job \(sbatch: error: invalid partition: x\)"):
        jobs.open()
    jobs.close()
    (slurm / "bin/sbatch").unlink()
    with pytest.raises(ResourceError, match="there is no sbatch here"):
        SlurmJobs(config_of(), tmp_path / "keys")


def test_folders_and_times_that_no_job_can_have_are_refused(tmp_path: Path, slurm: Path) -> None:
    with pytest.raises(SettingsError, match="rename the folder"):
        SlurmJobs(config_of(), tmp_path / "a b/running/keys")
    with pytest.raises(SettingsError, match="leaves nothing of the walltime"):
        load_config("slurm", overrides=["cluster.slurm.walltime=00:10:00"])
    assert load_config("slurm").cluster.slurm.walltime_s == 4 * 3600
    assert config_of(walltime="1-02:03:04").cluster.slurm.walltime_s == 93784
