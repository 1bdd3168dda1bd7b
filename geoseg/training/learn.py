"""One optimiser step: gradients of its batches, clipped, on one device or several; what comes after it is in `fit`."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from geoseg.core.patch_source import IGNORE
from geoseg.errors import InputError, ResourceError, SettingsError
from geoseg.model.framed import Framed
from geoseg.training.config import TrainConfig
from geoseg.training.dataset import Batch
from geoseg.training.evaluate import normalise
from geoseg.training.objective import Objective
from geoseg.training.optimise import average_decay, average_into, rate_factor
from geoseg.training.ranks import Ranks
from geoseg.training.state import TrainingState

Row: TypeAlias = dict[str, Tensor | float]
"""Figures of a step by column; tensors, this process's share of the sum, where they are still on the device."""


class Learner:
    """Moves the networks of a state."""

    def __init__(self, config: TrainConfig, state: TrainingState, *, ranks: Ranks) -> None:
        self._config, self._state, self._ranks = config, state, ranks
        self._objective = Objective(parts=config.losses, aux_weight=config.fit.aux_weight)
        self._parallel: nn.Module = _Outputs(state.network)
        if ranks.count > 1:
            self._parallel = DistributedDataParallel(
                self._parallel, broadcast_buffers=False, find_unused_parameters=True
            )

    def step(self, batches: Iterator[Batch]) -> Row:
        """One step of the optimiser and of the average.

        Raises:
            InputError: a label that is no class id.
            SettingsError, ResourceError: windows that the network or the device cannot take.
        """
        config, state = self._config, self._state
        state.step += 1
        factor = rate_factor(state.step, steps=config.fit.steps, config=config.schedule)
        rate = config.optimiser.learning_rate * factor * state.watch.rate
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        state.train()
        state.optimiser.zero_grad(set_to_none=True)
        losses = self._accumulate(batches)
        state.scaler.unscale_(state.optimiser)
        limit = config.optimiser.clip_norm or float("inf")
        norm = nn.utils.clip_grad_norm_(state.network.parameters(), max_norm=limit)
        state.scaler.step(state.optimiser)
        state.scaler.update()
        self._ranks.mean_statistics(state.network)
        decay = average_decay(state.step, decay=config.fit.average_decay)
        average_into(state.average, state.network, decay=decay)
        return {"step": state.step, "learning_rate": rate, "gradient_norm": norm.detach(), **losses}

    def _accumulate(self, batches: Iterator[Batch]) -> dict[str, Tensor]:
        """Gradients of this process's batches of a step; losses by column, their share of the step's mean."""
        accumulate = self._config.fit.accumulate
        parts = self._ranks.parts(accumulate)
        sums: dict[str, Tensor] = {}
        for part in parts:
            with self._apart(part != parts[-1]):
                losses = self._learn_from(next(batches), part, share=1 / len(parts))
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value / accumulate
        return sums

    def _learn_from(self, batch: Batch, part: int, *, share: float) -> dict[str, Tensor]:
        """Adds the gradients of one batch."""
        config, device = self._config, self._ranks.device
        _check_labels(batch, classes=config.network.classes)
        torch.manual_seed(_torch_seed(config.fit.seed, self._state.step, part))
        pixels = normalise(batch.pixels, config=config.network, device=device)
        kind, precision = torch.device(device).type, getattr(torch, config.fit.precision)
        with _explained(batch, config.network.architecture, device):
            with torch.autocast(kind, precision, enabled=config.fit.precision != "float32"):
                outputs = self._parallel(pixels)
            loss = self._objective(outputs, torch.from_numpy(batch.labels).to(device))
            self._state.scaler.scale(loss.total * share).backward()  # type: ignore[no-untyped-call]
        return {"loss": loss.total.detach()} | {f"loss_{name}": value for name, value in loss.parts.items()}

    def _apart(self, is_apart: bool) -> AbstractContextManager[Any]:
        """Gradients are exchanged once per step, with its last batch."""
        parallel = self._parallel
        return parallel.no_sync() if is_apart and isinstance(parallel, DistributedDataParallel) else nullcontext()


class _Outputs(nn.Module):
    """All outputs of a network by `forward`, which is what wrappers of torch call."""

    def __init__(self, network: Framed) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return self.network.forward_train(pixels)


def _check_labels(batch: Batch, *, classes: int) -> None:
    highest = int(np.where(batch.labels == IGNORE, 0, batch.labels).max())
    if highest >= classes:
        raise InputError(f"a training label is {highest}: there are {classes} classes, ids from 0, and 255 = ignored")


@contextmanager
def _explained(batch: Batch, architecture: str, device: str) -> Iterator[None]:
    """What a network says of windows it cannot take, in one line."""
    count, _, height, width = batch.pixels.shape
    what = f"{count} windows of {height} x {width} pixels"
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"{device} has no room for {what}: lower fit.batch and raise fit.accumulate, or lower fit.window_px"
        ) from error
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(
            f"{architecture} cannot be trained on {what} ({reason}): raise fit.batch or fit.window_px"
        ) from error


def _torch_seed(seed: int, step: int, part: int) -> int:
    return int(np.random.SeedSequence((seed, step, part)).generate_state(1, np.uint64)[0])
