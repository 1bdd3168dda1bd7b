"""What every network of the zoo must do, as functions that tests call; nothing of one family."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from geoseg.model.registry import build_network


def on_meta(name: str, *, in_channels: int = 3, classes: int, **options: Any) -> nn.Module:
    """The bare network without memory for its weights."""
    with torch.device("meta"):
        return build_network(name, in_channels=in_channels, classes=classes, options=options)


def parameters(network: nn.Module) -> int:
    return sum(one.numel() for one in network.parameters())


def trained_briefly(network: nn.Module, pixels: Tensor, classes: int, steps: int = 2) -> list[float]:
    """Losses of a few steps on random labels, every output taking part."""
    labels = torch.randint(classes, (pixels.shape[0], *pixels.shape[2:]), generator=torch.Generator().manual_seed(1))
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(steps):
        outputs = all_outputs(network, pixels)
        loss = sum((F.cross_entropy(one, labels) for one in outputs.values()), torch.zeros(()))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    return losses


def all_outputs(network: nn.Module, pixels: Tensor) -> Mapping[str, Tensor]:
    compute = getattr(network, "forward_train", None)
    outputs: Mapping[str, Tensor] = {"out": network(pixels)} if compute is None else compute(pixels)
    return outputs


def tiling_difference(network: nn.Module, in_channels: int, divisor: int, margin: int) -> float:
    """Largest difference of a logit between a strip and the same strip with more image on its left and right.

    The strip is cut at a multiple of the divisor and is compared from `margin` on; BatchNorm has seen the image, so
    that no layer is silent.
    """
    torch.manual_seed(0)
    height = max(64, divisor)
    width = 2 * margin + 4 * divisor
    image = torch.randn(1, in_channels, height, width + 2 * divisor)
    network = calibrated(network, image)
    with torch.inference_mode():
        whole = network(image)[..., divisor : divisor + width]
        tile = network(image[..., divisor : divisor + width])
    inside = slice(margin, width - margin)
    return float((whole[..., inside] - tile[..., inside]).abs().max() / whole.abs().max().clamp(min=1.0))


def calibrated(network: nn.Module, pixels: Tensor) -> nn.Module:
    """In evaluation, with the statistics of these pixels, nothing being dropped."""
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    with torch.no_grad():
        network(pixels)
    return network.eval()


def overfitted(network: nn.Module, *, in_channels: int, classes: int, side: int = 64, steps: int = 60) -> float:
    """Share of the pixels of one image whose class is learnt: two halves, a stripe, and noise.

    The two pixels on each side of a border are not counted, as most networks score at a fraction of the size.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(side, side, dtype=torch.long)
    labels[:, side // 2 :] = 1
    if classes > 2:
        labels[3 * side // 4 :] = 2
    pixels = torch.randn(2, in_channels, side, side, generator=generator) * 0.3 + labels
    pixels[:, 1:] *= -1
    truth = labels.expand(2, -1, -1)
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    network.train()
    for _ in range(steps):
        loss = F.cross_entropy(network(pixels), truth)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()  # a running variance is another one where a deep layer has a few pixels
    with torch.no_grad():
        right = network(pixels).argmax(1) == truth
    one = labels.double()[None]
    inner = F.max_pool2d(one, 5, stride=1, padding=2) == -F.max_pool2d(-one, 5, stride=1, padding=2)
    return float(right[inner.expand_as(right)].double().mean())
