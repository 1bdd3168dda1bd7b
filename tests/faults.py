"""Killing a process at every step that touches the disk, to see what it leaves."""

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final

KILLED: Final = 137
"""Exit status of a child that was killed at its fault."""
STEPS: Final = ("replace", "rename", "unlink", "remove", "rmdir", "fsync")
"""Functions of `os` that change what a crash leaves behind; each call is a place to be killed, before it acts."""


def run_with_fault(work: Callable[[], object], kill_at: int | None, *, report: int | None = None) -> int:
    """Run `work` in a forked child that dies, without any clean-up, before its disk step number `kill_at` (from 0).

    A child has none of its parent's threads: work that waits for a pool which the parent has started never ends, so
    it must use one thread (GDAL, torch).

    Returns:
        The child's exit status: KILLED, 0 when the work ended first, 1 when it raised.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        steps = _arm(kill_at)
        work()
        if report is not None:
            os.write(report, str(steps[0]).encode())
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def count_faults(work: Callable[[], object]) -> int:
    """How many disk steps `work` takes when nothing kills it; it runs in a forked child, and must succeed."""
    read_end, write_end = os.pipe()
    status = run_with_fault(work, kill_at=None, report=write_end)
    os.close(write_end)
    with os.fdopen(read_end) as stream:
        text = stream.read()
    if status:
        raise RuntimeError(f"the work failed with exit status {status} without any fault")
    return int(text)


def _arm(kill_at: int | None) -> list[int]:
    """Wrap the functions of `os`; the list's one number counts their calls. `pathlib` and `shutil` call them too."""
    steps = [0]

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            if steps[0] == kill_at:
                os._exit(KILLED)
            steps[0] += 1
            return real(*args, **kwargs)

        return step

    for name in STEPS:
        setattr(os, name, wrap(getattr(os, name)))
    return steps
