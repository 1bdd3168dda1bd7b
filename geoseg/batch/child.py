"""The process behind `executor_here`: takes scenes from a pipe, one at a time, and sends their endings back."""

import os
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Final

from geoseg.batch.worker import prepare_worker, try_scene

_LOOK_SECONDS: Final = 0.5


def main(read: int, write: int) -> None:
    """Works until the pipe closes or the parent is gone."""
    prepare_worker()
    threading.Thread(target=_die_with, args=(os.getppid(),), daemon=True).start()
    orders, endings = Connection(read, writable=False), Connection(write, readable=False)
    try:
        assignment = orders.recv()
        endings.send("ready")
        while True:
            ticket, timeout_s = orders.recv()
            endings.send(try_scene(assignment, ticket, timeout_s=timeout_s))
    except (EOFError, BrokenPipeError):
        return


def _die_with(parent: int) -> None:
    """A scene of many minutes is not finished for a driver that was killed: another one may already begin it."""
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
