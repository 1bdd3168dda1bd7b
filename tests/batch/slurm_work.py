"""What the workers of test_slurm do; apart from it, so that they load nothing else."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.batch.event import Ticket
from geoseg.config import Config


def work(out: Path, ticket: Ticket, config: Config) -> Mapping[str, Any]:
    """A line with this process's number, then a fifth of a second."""
    with (out / "executions.log").open("a") as log:
        log.write(f"{os.getpid()}\n")
    time.sleep(0.2)
    return {"areas": {}}
