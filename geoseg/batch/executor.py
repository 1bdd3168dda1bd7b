"""What the driver's orders are carried out by: the contract of `executor_here` and `executor_dask`."""

from typing import Protocol

from geoseg.batch.event import Ending, Submit


class Executor(Protocol):
    """Workers; use as a context."""

    @property
    def workers(self) -> int:
        """How many are there now."""

    def submit(self, order: Submit) -> None:
        """Have these scenes done; their endings come from `wait`, each exactly once."""

    def wait(self, seconds: float) -> list[Ending]:
        """Endings since the last call; returns early when there are some, or when `wake` is called."""

    def wake(self) -> None:
        """Ends a `wait`; may be called from a signal handler."""

    def recall(self) -> None:
        """What has not been begun is to come back, as `Returned`; what has been is finished. Nothing follows it."""

    def restore(self) -> None:
        """Start missing workers again."""
