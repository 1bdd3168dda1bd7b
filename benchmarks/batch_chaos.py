"""The chaos test at length: scenes that crash, hang and break by lot, a driver that is killed and interrupted.

python -m benchmarks.batch_chaos [--scenes 2000] [--kind local]

Fails unless nothing is lost and the failed and quarantined sets are exact; prints what it took.
"""

import argparse
import json
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.batch.test_chaos import Run, check, executions, plan


def drill(scenes: int, kind: str) -> dict[str, object]:
    """A worker killed, the driver killed, an interrupt, a resumption to the end, and a run with nothing to do."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        expected = plan(out, scenes)
        begin = time.perf_counter()
        first = Run(out, kind).until(scenes // 5)
        first.kill_a_worker()
        first.until(scenes // 3).signal(signal.SIGKILL, group=False)
        interrupted = Run(out, kind).until(scenes // 2).signal(signal.SIGINT, group=True)
        resumed = Run(out, kind).finish()
        seconds = time.perf_counter() - begin
        check(out, expected, victims=1)
        idle = Run(out, kind).finish()
        begun = executions(out)
        return {
            "scenes": scenes,
            "kind": kind,
            "lost": 0,
            "quarantined": len(expected["quarantined"]),
            "failed": len(expected["failed"]),
            "executions": len(begun),
            "most_of_one_scene": max(Counter(begun).values()),
            "exit_codes": [-signal.SIGKILL, interrupted, resumed["status"], idle["status"]],
            "seconds": round(seconds, 1),
        }


def main() -> None:
    """Runs it and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--kind", choices=["here", "local"], default="local")
    asked = parser.parse_args()
    print(json.dumps(drill(asked.scenes, asked.kind), indent=1))


if __name__ == "__main__":
    main()
