"""The training loop: AdamW, warm-up and cosine, a running average of the weights. Arrays in, weights out."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from geoseg.core.patch_source import LabelledImage
from geoseg.model.zoo.unet import UNet
from geoseg.training.config import FitConfig, NetworkConfig, TrainConfig
from geoseg.training.dataset import Batch, Mixture, batches
from geoseg.training.losses import cross_entropy, dice_loss
from geoseg.training.metrics import Confusion, confusion

WARM_UP_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a training run is."""

    step: int
    """Steps done, from 1."""
    loss: float
    """Mean over the steps since the last report."""
    seconds: float
    """Since the start."""
    network: nn.Module
    """The averaged network, in eval mode; not to be changed."""


def train_network(
    config: TrainConfig, mixture: Mixture, *, report: Callable[[Progress], None], report_every: int = 100
) -> nn.Module:
    """Trains from random weights and gives the averaged network, in eval mode.

    Args:
        config: network, augmentation and optimisation.
        mixture: the images windows are cut from.
        report: called every `report_every` steps and after the last.
        report_every: steps between two reports.
    """
    torch.manual_seed(config.fit.seed)
    network = build_network(config.network)
    average = copy.deepcopy(network).eval()
    optimiser = _optimiser(network, config=config.fit)
    windows = batches(mixture, config=config)
    start, losses = time.monotonic(), list[float]()
    for step in range(1, config.fit.steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = config.fit.learning_rate * learning_rate_factor(step, steps=config.fit.steps)
        losses.append(_step(network, next(windows), optimiser=optimiser, config=config))
        _average_into(average, network, decay=min(config.fit.average_decay, step / (step + 10)))
        if step % report_every == 0 or step == config.fit.steps:
            mean = float(np.mean(losses))
            report(Progress(step=step, loss=mean, seconds=time.monotonic() - start, network=average))
            losses.clear()
    return average


def build_network(config: NetworkConfig) -> nn.Module:
    """A network with random weights, channels last."""
    network = UNet(in_channels=config.in_channels, classes=config.classes, init_features=config.init_features)
    return network.to(memory_format=torch.channels_last)


def learning_rate_factor(step: int, *, steps: int) -> float:
    """Share of the peak learning rate at a step (from 1): a linear warm-up, then half a cosine down to 0."""
    warm_up = max(1, round(steps * WARM_UP_SHARE))
    if step <= warm_up:
        return step / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def normalise(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.float32], *, config: NetworkConfig) -> Tensor:
    """Display values (n, bands, h, w) as the network takes them: (value - mean) / std, channels last."""
    mean = torch.tensor(config.mean).view(1, -1, 1, 1)
    std = torch.tensor(config.std).view(1, -1, 1, 1)
    values = torch.from_numpy(np.ascontiguousarray(pixels)).float()
    return ((values - mean) / std).contiguous(memory_format=torch.channels_last)


def map_classes(network: nn.Module, image: LabelledImage, *, config: NetworkConfig) -> npt.NDArray[np.uint8]:
    """The class of each pixel of an image, in one piece; the lowest id wins a tie.

    The image is padded to the divisor by repeating its edge and cropped afterwards.
    """
    height, width = image.labels.shape
    padding = ((0, 0), (0, -height % 16), (0, -width % 16))
    with torch.inference_mode():
        logits = network(normalise(np.pad(image.pixels, padding, mode="edge")[None], config=config))[0]
    classes = np.argmax(logits.float().numpy(), axis=0)[:height, :width]
    return np.asarray(classes, dtype=np.uint8)


def evaluate(network: nn.Module, images: Sequence[LabelledImage], *, config: NetworkConfig) -> Confusion:
    """The confusion over all pixels of the images together."""
    total = Confusion(counts=np.zeros((config.classes, config.classes), dtype=np.int64))
    for image in images:
        total += confusion(image.labels, map_classes(network, image, config=config), classes=config.classes)
    return total


def _step(network: nn.Module, batch: Batch, *, optimiser: torch.optim.Optimizer, config: TrainConfig) -> float:
    """One optimiser step; gives the loss before it."""
    network.train()
    labels = torch.from_numpy(batch.labels)
    with torch.autocast("cpu", torch.bfloat16, enabled=config.fit.bfloat16):
        logits = network(normalise(batch.pixels, config=config.network))
    logits = logits.float()
    loss = cross_entropy(logits, labels, smoothing=config.fit.label_smoothing)
    if config.fit.dice_weight:
        loss = loss + config.fit.dice_weight * dice_loss(logits, labels)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), max_norm=5.0)
    optimiser.step()
    return float(loss.detach())


def _optimiser(network: nn.Module, *, config: FitConfig) -> torch.optim.Optimizer:
    """AdamW; biases and BatchNorm's scales do not decay."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate)


@torch.no_grad()
def _average_into(average: nn.Module, network: nn.Module, *, decay: float) -> None:
    """Moves the average a little towards the network; BatchNorm's statistics are averaged alike."""
    current = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[name], 1 - decay)
        else:
            value.copy_(current[name])
