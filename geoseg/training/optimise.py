"""Optimisers, the learning rate over the steps, the running average of the weights; the loop itself is in `fit`."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from geoseg.training.config import EvaluationConfig, OptimiserConfig, ScheduleConfig

_RISE_SHARE = 0.3
_START_SHARE = 1 / 25
_END_SHARE = 1 / (25 * 10_000)
"""Of one_cycle, as torch has them: Smith, Topin 2017, arXiv:1708.07120."""


def make_optimiser(network: nn.Module, *, config: OptimiserConfig) -> torch.optim.Optimizer:
    """Over the parameters that are trained; biases and scales of normalisation do not decay."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [one for one in trained if one.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [one for one in trained if one.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    match config.kind:
        case "adamw":
            return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.999))
        case "adam":
            return torch.optim.Adam(groups, lr=config.learning_rate, betas=(config.momentum, 0.999))
        case "sgd":
            momentum = config.momentum
            return torch.optim.SGD(groups, lr=config.learning_rate, momentum=momentum, nesterov=momentum > 0)


def rate_factor(step: int, *, steps: int, config: ScheduleConfig) -> float:
    """Share of the top learning rate at a step (from 1); that of plateau is `Watch.rate` besides."""
    if config.kind == "one_cycle":
        return _one_cycle(step, steps=steps)
    warm_up = round(steps * config.warm_up)
    if step <= warm_up:
        return step / warm_up
    if config.kind == "cosine":
        return _cosine(1, 0, (step - warm_up) / max(1, steps - warm_up))
    return 1.0


def _one_cycle(step: int, *, steps: int) -> float:
    top = _RISE_SHARE * steps - 1
    at = step - 1
    if at <= top:
        return _cosine(_START_SHARE, 1, at / top)
    return _cosine(1, _END_SHARE, (at - top) / max(steps - 1 - top, 1e-9))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What the evaluations have come to so far."""

    best: float | None = None
    """Value of the metric that is gone by; None before the first evaluation that gave one."""
    best_step: int = 0
    stale: int = 0
    """Evaluations since the best."""
    lowered: int = 0
    """Evaluations since the best, or since the learning rate was lowered."""
    rate: float = 1.0
    """Factor of the learning rate; below 1 with the schedule plateau only."""

    def after(self, value: float, *, step: int, schedule: ScheduleConfig) -> "Watch":
        """With one more evaluation; nan is never better."""
        if value == value and (self.best is None or value > self.best):  # noqa: PLR0124 - nan is not equal to itself
            return replace(self, best=value, best_step=step, stale=0, lowered=0)
        waited = replace(self, stale=self.stale + 1, lowered=self.lowered + 1)
        if schedule.kind == "plateau" and waited.lowered >= schedule.patience:
            return replace(waited, lowered=0, rate=self.rate * schedule.factor)
        return waited

    def is_over(self, config: EvaluationConfig) -> bool:
        """Whether training stops early."""
        return config.patience is not None and self.stale >= config.patience


@torch.no_grad()
def average_into(average: nn.Module, network: nn.Module, *, decay: float) -> None:
    """Moves the average a little towards the network; BatchNorm's statistics are averaged alike."""
    current = network.state_dict()
    moved: list[Tensor] = []
    towards: list[Tensor] = []
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            moved.append(value)
            towards.append(current[name])
        else:
            value.copy_(current[name])
    get_ema_multi_avg_fn(decay)(moved, towards, 0)  # type: ignore[no-untyped-call]


def average_decay(step: int, *, decay: float) -> float:
    """Decay at a step (from 1): low at first, so that random weights are soon forgotten."""
    return min(decay, step / (step + 10))
