"""What a Dask worker does before its first task: `dask worker --preload geoseg.batch.preload`."""

from geoseg.batch.worker import prepare_worker


def dask_setup(worker: object) -> None:
    """Called by Dask in the main thread of the worker's process."""
    prepare_worker()
