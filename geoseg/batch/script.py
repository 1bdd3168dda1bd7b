"""The text of a job that runs a batch in shards on a SLURM or Kubernetes cluster; nothing is submitted."""

import json
import shlex
from pathlib import Path
from string import Template
from typing import Final

from geoseg.batch.job import read_job
from geoseg.errors import SettingsError

SCENES_PER_SHARD = 50
MOST_SHARDS = 1000


def shard_count(scenes: int) -> int:
    """Shards of about fifty scenes, as the limits of array jobs allow."""
    return max(1, min(MOST_SHARDS, -(-scenes // SCENES_PER_SHARD)))


def slurm_script(out: Path) -> str:
    """An sbatch file: one array task for each shard. Two minutes before its time is up a task is asked to stop.

    Raises:
        ProductError: the folder holds no batch.
        SettingsError: its name cannot stand in a comment line.
    """
    job, folder = read_job(out), _name(out)
    count = shard_count(job.scenes)
    return f"""\
#!/bin/bash
# {job.scenes} scenes in {count} shards, counted from 0: task I does shard I. Adapt the lines below to your cluster;
# submit with: sbatch FILE. Requeued or submitted again, a task goes on with its own ledger; no scene is done twice.
#SBATCH --job-name=geoseg
#SBATCH --array=0-{count - 1}
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output="{folder}/logs/%A_%a.log"

set -u
# The shell waits in the background, so that it can pass the signal on; exit code 130 means: submit again to resume.
geoseg batch run {shlex.quote(folder)} --config slurm-array --shard "$SLURM_ARRAY_TASK_ID/{count}" &
child=$!
trap 'kill -TERM "$child"' TERM
wait "$child"
status=$?
# 143: not the end, but the signal that was passed on.
if [ "$status" -eq 143 ]; then
  wait "$child"
  status=$?
fi
# 3: some scenes failed, which running again would not change (geoseg batch failures); the task itself is done.
if [ "$status" -eq 3 ]; then exit 0; fi
exit "$status"
"""


def kubernetes_manifest(out: Path) -> str:
    """An indexed Job: one pod for each shard, tried again when it was interrupted or evicted.

    Raises:
        ProductError: the folder holds no batch.
    """
    job, folder = read_job(out), _name(out)
    count = shard_count(job.scenes)
    run = f'exec geoseg batch run {shlex.quote(folder)} --config kubernetes --shard "$JOB_COMPLETION_INDEX/{count}"'
    return _KUBERNETES.substitute(
        scenes=job.scenes,
        count=count,
        parallel=min(count, 20),
        folder=folder,
        mount=json.dumps(str(Path(folder).parent)),
        command=json.dumps(["/bin/sh", "-c", run]),
    )


def _name(out: Path) -> str:
    folder = str(out.absolute())
    if not folder.isprintable() or any(character in folder for character in "%'\"\\$`"):
        raise SettingsError(f"{folder!r} has characters that mean something else in a job file: rename the folder")
    return folder


_KUBERNETES: Final = Template("""\
# $scenes scenes in $count shards, counted from 0. Set image and volume; the volume holds the scenes and $folder
# at these paths. Kubernetes 1.29 or later.
apiVersion: batch/v1
kind: Job
metadata:
  name: geoseg
spec:
  completionMode: Indexed
  completions: $count
  parallelism: $parallel
  backoffLimitPerIndex: 3
  podFailurePolicy:
    rules:
      # 3: scenes failed, 4: stopped by policy, 2: refused. Running again would not change that.
      - action: FailIndex
        onExitCodes: {operator: In, values: [2, 3, 4]}
      - action: Ignore
        onPodConditions: [{type: DisruptionTarget, status: "True"}]
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 120
      containers:
        - name: geoseg
          image: geoseg
          command: $command
          resources:
            requests: {cpu: "4", memory: 8Gi}
            limits: {memory: 8Gi}
          volumeMounts:
            - {name: data, mountPath: $mount}
      volumes:
        - name: data
          persistentVolumeClaim: {claimName: geoseg}
""")
