"""What a Dask worker does before its first task: `dask worker --preload geoseg.batch.preload`."""

import asyncio
import os
import time
from typing import Any, Final

from geoseg.batch.worker import prepare_worker

RETIRE_AT: Final = "GEOSEG_RETIRE_AT"
"""Environment variable: seconds since 1970 from which on the worker takes no more work, as its job is about to end."""
_LOOK_SECONDS: Final = 0.2


def dask_setup(worker: Any) -> None:
    """Called by Dask in the main thread of the worker's process."""
    prepare_worker()
    if at := os.environ.get(RETIRE_AT):
        worker.loop.call_later(max(0.0, float(at) - time.time()), _retire, worker)


async def _retire(worker: Any) -> None:
    """Finishes the pack it is at, waits until the driver has the endings, and goes."""
    idle = False
    while not idle:
        # Refused while it is the only worker and an ending has not been fetched: so it is asked until it is granted.
        await worker.scheduler.retire_workers(workers=[worker.address], close_workers=False, remove=False)
        await asyncio.sleep(_LOOK_SECONDS)
        retired = worker.status.name == "closing_gracefully"
        idle = retired and not worker.state.executing_count and not len(worker.data)
    await worker.close(reason="its job is about to end")
