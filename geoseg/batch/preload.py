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
    await worker.scheduler.retire_workers(workers=[worker.address], close_workers=False, remove=False)
    while worker.state.executing_count or len(worker.data):
        await asyncio.sleep(_LOOK_SECONDS)
    await worker.close(reason="its job is about to end")
