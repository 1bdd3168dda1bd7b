"""The job files: bash and YAML take them, and the SLURM task ends as it should whatever the batch exits with."""

import os
import shlex
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from geoseg.batch import script
from geoseg.batch.job import BatchJob, write_job
from geoseg.batch.place import Place, Shard
from geoseg.batch.script import kubernetes_manifest, shard_count, slurm_script
from geoseg.batch.status import read_status
from geoseg.errors import SettingsError
from geoseg.pipeline import Pipeline
from geoseg.presets import load_config
from tests.batch.test_batch import plan
from tests.model.bundles import tiny_bundle
from tests.workflows.test_segment import write_scene

ROOT = Path(__file__).resolve().parent.parent.parent
GOLDEN = Path(__file__).resolve().parent / "golden"


def make_job(out: Path, scenes: int = 120) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    job = BatchJob(
        geoseg="0", source="test", scenes=scenes, manifest_sha256="0" * 64, bundle="none", bundle_sha256="0" * 64,
        pipeline=Pipeline(name="none", model="none"), output_version=1, created=datetime.now(UTC),
    )  # fmt: skip
    write_job(job, Place(out=out))
    return out


def test_there_are_enough_shards_and_not_too_many() -> None:
    assert [shard_count(n) for n in (1, 50, 51, 10_000, 10**7)] == [1, 1, 2, 200, 1000]


def test_the_slurm_file(tmp_path: Path) -> None:
    out = make_job(tmp_path / "a b")
    text = slurm_script(out)
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash"
    assert "#SBATCH --array=0-2" in lines
    assert "#SBATCH --signal=B:TERM@120" in lines
    (output,) = [line for line in lines if line.startswith("#SBATCH --output")]
    assert shlex.split(output, comments=False)[1:] == [f"--output={out}/logs/%A_%a.log"], "sbatch parts words at blanks"
    assert f"geoseg batch run '{out}' --config slurm-array --shard \"$SLURM_ARRAY_TASK_ID/3\" &" in lines


@pytest.mark.parametrize(("kind", "name"), [("--slurm", "array.sbatch"), ("--k8s", "job.yaml")])
def test_the_whole_file_is_what_was_read_and_found_right(tmp_path: Path, kind: str, name: str) -> None:
    """`geoseg batch script` to the last character; a change of it is seen in the file beside this test."""
    command = [sys.executable, "-m", "geoseg", "batch", "script", str(make_job(tmp_path / "batch")), kind]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    expected = (GOLDEN / name).read_text(encoding="utf-8")
    assert found.stdout.replace(str(tmp_path), "/data") == expected
    if kind == "--slurm":
        subprocess.run(["bash", "-n"], input=expected, text=True, check=True)


@pytest.mark.slow
def test_the_pods_of_the_kubernetes_job_do_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line of the file, word for word, in each pod's environment; together they do every scene."""
    monkeypatch.setattr(script, "SCENES_PER_SHARD", 1)
    archive, out = tmp_path / "archive", tmp_path / "out"
    archive.mkdir()
    tiny_bundle(tmp_path / "bundle")
    for k in range(2):
        write_scene(archive / f"{k}.tif", height=64, width=70, seed=k)
    plan(archive, out)
    job: Any = yaml.safe_load(kubernetes_manifest(out))
    assert job["spec"]["completions"] == 2
    (tmp_path / "bin").mkdir()
    stand_in(tmp_path / "bin", f'cd {shlex.quote(str(ROOT))}; exec {shlex.quote(sys.executable)} -m geoseg "$@"')
    (container,) = job["spec"]["template"]["spec"]["containers"]
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    for index in range(2):
        environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "JOB_COMPLETION_INDEX": str(index)}
        done = subprocess.run(container["command"], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert read_status(out).counts["done"] == index + 1
    assert len(list(out.glob("scenes/*/*/run.json"))) == 2


def stand_in(folder: Path, geoseg: str) -> None:
    """A program of the name geoseg."""
    (folder / "geoseg").write_text(f"#!/bin/bash\n{geoseg}\n")
    (folder / "geoseg").chmod(0o755)


def run_task(folder: Path, geoseg: str) -> "subprocess.Popen[str]":
    """A task of the file with a stand-in for geoseg on the path."""
    stand_in(folder, geoseg)
    return subprocess.Popen(
        ["bash", "-c", slurm_script(make_job(folder / "out"))],
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "2"},
        stdout=subprocess.PIPE, text=True, cwd=folder,
    )  # fmt: skip


@pytest.mark.parametrize(("code", "status"), [(0, 0), (3, 0), (1, 1), (2, 2), (4, 4), (130, 130)])
def test_a_task_fails_only_when_running_it_again_may_help(tmp_path: Path, code: int, status: int) -> None:
    task = run_task(tmp_path, f'echo "$@"; exit {code}')
    said, _ = task.communicate(timeout=30)
    assert said.split() == ["batch", "run", str(tmp_path / "out"), "--config", "slurm-array", "--shard", "2/3"]
    assert task.returncode == status


def test_a_task_passes_the_signal_on_and_waits(tmp_path: Path) -> None:
    task = run_task(
        tmp_path, "trap 'sleep 0.3; touch drained; exit 130' TERM; touch begun; while :; do sleep 0.05; done"
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    task.send_signal(signal.SIGTERM)
    assert task.wait(30) == 130
    assert (tmp_path / "drained").exists()


def test_the_kubernetes_job(tmp_path: Path) -> None:
    out = make_job(tmp_path / "batch")
    job: Any = yaml.safe_load(kubernetes_manifest(out))
    spec = job["spec"]
    assert (job["kind"], spec["completionMode"], spec["completions"]) == ("Job", "Indexed", 3)
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["restartPolicy"] == "Never", "what podFailurePolicy needs"
    command = f'exec geoseg batch run {out} --config kubernetes --shard "$JOB_COMPLETION_INDEX/3"'
    assert container["command"] == ["/bin/sh", "-c", command]
    exits = spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"]
    assert 3 in exits
    assert 130 not in exits
    assert container["volumeMounts"][0]["mountPath"] == str(tmp_path)
    for condition in spec["podFailurePolicy"]["rules"][1]["onPodConditions"]:
        assert condition.keys() == {"type", "status"}, "both are required by its schema, from 1.29 to 1.37"


def test_a_folder_that_a_job_file_cannot_name_is_refused(tmp_path: Path) -> None:
    for name in ("a$b", "a%b", "a`b", 'a"b', "a'b"):
        with pytest.raises(SettingsError, match="rename the folder"):
            slurm_script(make_job(tmp_path / name))


def test_the_configs_of_the_job_files_are_there() -> None:
    assert load_config("slurm-array").cluster.kind == load_config("kubernetes").cluster.kind == "here"
    assert load_config("dask").cluster.kind == "address"
    assert (load_config("gpu").cluster.gpus, load_config("workstation").cluster.kind) == ("all", "local")
    assert Shard.parse("2/3").index == 2
