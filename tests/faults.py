"""Killing a process at every step that touches the disk, to see what it leaves."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Final

KILLED: Final = 137
"""Exit status of a child that was killed at its fault."""
HANG_SECONDS: Final = 120
STEPS: Final = ("replace", "rename", "unlink", "remove", "rmdir", "fsync")
"""Functions of `os` that change what a crash leaves behind; each call is a place to be killed, before it acts."""


def run_with_fault(work: Callable[[], object], kill_at: int | None, *, report: int | None = None) -> int:
    """Run `work` in a forked child that dies, without any clean-up, before its disk step number `kill_at` (from 0).

    A child has none of its parent's threads: work that waits for a pool which the parent has started never ends, so
    it must use one thread (GDAL, torch).

    Returns:
        The child's exit status: KILLED, 0 when the work ended first, 1 when it raised.
    """

    def armed() -> None:
        steps = _arm(kill_at)
        work()
        if report is not None:
            os.write(report, str(steps[0]).encode())

    return wait_for(start_fork(armed))


def start_fork(work: Callable[[], object]) -> int:
    """The process id of a forked child that runs `work` and exits 0, or 1 when it raised.

    Forking is safe only where no other thread holds a lock: keep torch and GDAL at one thread, and mark such
    tests `alone`, so that they share a process with no test that starts threads.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def wait_for(child: int) -> int:
    """The exit status of a child; one that hangs is killed.

    Raises:
        TimeoutError: it hung.
    """
    deadline = time.monotonic() + HANG_SECONDS
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"the forked child hung for {HANG_SECONDS} s")


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
