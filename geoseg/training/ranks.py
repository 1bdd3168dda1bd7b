"""The devices that train together, one process each, as torchrun starts them; a single process is one of one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from geoseg.errors import ResourceError, SettingsError

_PATIENCE = timedelta(hours=2)
"""What a process waits for the others at most: the first one also writes, measures margins and packs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This process among those that train together."""

    index: int = 0
    count: int = 1
    device: str = "cpu"
    """cpu or cuda:<number>."""

    @property
    def is_first(self) -> bool:
        """The first writes files and speaks; the others compute."""
        return self.index == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes; every one of them must call it."""
        if self.count > 1:
            values = values.to(self.device)
            distributed.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            distributed.barrier()

    def mean_statistics(self, network: nn.Module) -> None:
        """BatchNorm's running statistics become their mean over the processes."""
        buffers = [one for one in network.buffers() if one.is_floating_point()]
        if self.count == 1 or not buffers:
            return
        mean = self.sum(torch.cat([one.float().flatten() for one in buffers])) / self.count
        for buffer, part in zip(buffers, torch.split(mean, [one.numel() for one in buffers]), strict=True):
            buffer.copy_(part.view_as(buffer))

    def parts(self, accumulate: int) -> tuple[int, ...]:
        """The batches of a step that are this process's."""
        return tuple(range(self.index, accumulate, self.count))


@contextmanager
def join_ranks(device: str = "auto") -> Iterator[Ranks]:
    """This process as torchrun's variables say (WORLD_SIZE, RANK, LOCAL_RANK): nccl on CUDA, gloo on CPUs.

    Args:
        device: auto, cpu, cuda or cuda:<number>; with several processes cuda means one device each.

    Raises:
        ResourceError: CUDA was asked for and is not there.
    """
    count, index = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    chosen = _resolve(device, local=int(os.environ.get("LOCAL_RANK", "0")))
    if count == 1:
        yield Ranks(device=chosen)
        return
    if chosen != "cpu":
        torch.cuda.set_device(chosen)
    distributed.init_process_group("gloo" if chosen == "cpu" else "nccl", timeout=_PATIENCE)
    try:
        yield Ranks(index=index, count=count, device=chosen)
    finally:
        distributed.destroy_process_group()


def check_parts(accumulate: int, *, ranks: Ranks) -> None:
    """Every process has equally many batches per step.

    Raises:
        SettingsError: it cannot have.
    """
    if accumulate % ranks.count:
        raise SettingsError(
            f"fit.accumulate is {accumulate}: with {ranks.count} processes it must be a multiple of {ranks.count}"
        )


def _resolve(device: str, *, local: int) -> str:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return device
    name = f"cuda:{local}" if device == "cuda" else device
    number = int(name.partition(":")[2])
    if not torch.cuda.is_available() or number >= torch.cuda.device_count():
        raise ResourceError(f"device {name} is not there ({torch.cuda.device_count()} CUDA devices): say --device cpu")
    return name
