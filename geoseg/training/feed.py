"""Batches in the order a run needs them, made ahead by other processes where there are any."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader, Dataset

from geoseg.training.dataset import Batch, Supply


@dataclass(frozen=True, slots=True)
class _Numbered(Dataset[Batch]):
    """Batches by number, in the order of steps and parts."""

    supply: Supply
    steps: range
    parts: Sequence[int]

    def __len__(self) -> int:
        return len(self.steps) * len(self.parts)

    def __getitem__(self, number: int) -> Batch:
        step, part = divmod(number, len(self.parts))
        return self.supply.batch(self.steps[step], self.parts[part])


def feed(supply: Supply, *, steps: range, parts: Sequence[int], workers: int) -> Iterator[Batch]:
    """The batches of these parts of these steps, step by step."""
    return iter(
        DataLoader(
            _Numbered(supply, steps, parts),
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
            worker_init_fn=_ignore_interrupts if workers else None,
        )
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _ignore_interrupts(worker: int) -> None:
    """Ctrl-C goes to all processes of a terminal; the main one decides when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
