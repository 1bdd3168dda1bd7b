"""What every network of the transformer families must do, asked by the tests of each of them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.model.registry import create_model, find_architecture


def count(build: Callable[[], nn.Module]) -> int:
    """Parameters, without memory for them."""
    with torch.device("meta"):
        return sum(one.numel() for one in build().parameters())


def check_sizes(network: nn.Module, *, name: str, in_channels: int, classes: int) -> None:
    """The smallest tile, the next one, and one that is wider than high."""
    facts = find_architecture(name)
    least, step = facts.min_size, facts.divisor
    network.eval()
    for height, width in ((least, least), (least + step, least + step), (least, least + 3 * step)):
        with torch.inference_mode():
            logits = network(torch.zeros(2, in_channels, height, width))
        assert logits.shape == (2, classes, height, width)


def check_any_size(name: str, options: dict[str, object]) -> None:
    """97 x 131 through the frame."""
    network = create_model(name, in_channels=2, classes=3, options=options).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 2, 97, 131)).shape == (1, 3, 97, 131)


def check_training_step(network: nn.Module, pixels: Tensor, classes: int) -> None:
    """Batch of one, channels last, bfloat16 autocast: each parameter gets a finite gradient, the loss falls."""
    network.train().to(memory_format=torch.channels_last)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(
        0, classes, (pixels.shape[0], *pixels.shape[-2:]), generator=torch.Generator().manual_seed(0)
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(pixels)
    loss = F.cross_entropy(logits.float(), labels)
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    missing = [name for name, one in network.named_parameters() if one.grad is None or not one.grad.isfinite().all()]
    assert missing == []


def overfit(network: nn.Module, *, steps: int, side: int = 64, rate: float = 2e-3, border: int = 0) -> float:
    """Accuracy on the two images of 3 bands that it was trained on: blobs of 3 classes, each in its noisy colour.

    Pixels within `border` of another class are left out: a network with coarse logits cannot draw them.
    """
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randn(2, 3, 2, 2, generator=generator)
    labels = F.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=True).argmax(1)
    colours = torch.randn(3, 3, generator=generator)
    pixels = colours[labels].movedim(-1, 1) + 0.1 * torch.randn(2, 3, side, side, generator=generator)
    near = F.max_pool2d(F.one_hot(labels, 3).movedim(-1, 1).float(), 2 * border + 1, stride=1, padding=border)
    inside = near.sum(1) == 1
    assert inside.float().mean() > 0.5
    labels[~inside] = 255
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate)
    network.train()
    for _ in range(steps):
        optimiser.zero_grad()
        torch.autograd.backward(F.cross_entropy(network(pixels), labels, ignore_index=255))
        optimiser.step()
    network.eval()
    with torch.inference_mode():
        return float((network(pixels).argmax(1) == labels)[inside].float().mean())


def changed_rows(network: nn.Module, pixels: Tensor, row: int, col: int) -> Tensor:
    """(h, w) True where the logits change if one input pixel does."""
    network.eval()
    other = pixels.clone()
    other[..., row, col] += 5
    with torch.inference_mode():
        changed: Tensor = (network(pixels) != network(other)).any(dim=1)[0]
    return changed
