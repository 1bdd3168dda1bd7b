"""What a network maps and how well it agrees with labels; from what windows it learns is of no concern here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from geoseg.core.patch_source import LabelledImage
from geoseg.training.config import MetricName, NetworkConfig
from geoseg.training.ground import Views
from geoseg.training.metrics import BoundaryCounts, Confusion, boundary_counts, confusion
from geoseg.training.ranks import Ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Agreement over held-out images."""

    images: dict[str, Confusion]
    """Name -> its confusion, in the order of the images."""
    boundary: BoundaryCounts
    classes: int
    confusion: Confusion = field(init=False)
    """Of all pixels together."""

    def __post_init__(self) -> None:
        zero = Confusion(counts=np.zeros((self.classes, self.classes), dtype=np.int64))
        object.__setattr__(self, "confusion", sum(self.images.values(), start=zero))

    def value(self, metric: MetricName) -> float:
        """One figure."""
        value: float = getattr(self.confusion, metric)
        return value

    def figures(self) -> dict[str, float]:
        """Every figure by the name of its column in metrics.csv; nan where a class is absent."""
        total = self.confusion
        names: tuple[MetricName, ...] = (
            "accuracy",
            "mean_accuracy",
            "mean_iou",
            "weighted_iou",
            "mean_dice",
            "kappa",
        )
        figures = {f"held_{name}": self.value(name) for name in names}
        figures["held_boundary_f1"] = self.boundary.mean_f1
        return figures | {f"held_iou_{one}": value for one, value in enumerate(total.iou)}


def figure_names(classes: int) -> tuple[str, ...]:
    """The columns of `Scores.figures`."""
    nothing = np.zeros(classes, dtype=np.int64)
    counts = BoundaryCounts(true=nothing, true_met=nothing, mapped=nothing, mapped_met=nothing)
    return tuple(Scores(images={}, boundary=counts, classes=classes).figures())


def evaluate(
    network: nn.Module, images: Sequence[LabelledImage], *, config: NetworkConfig, ranks: Ranks | None = None
) -> Scores:
    """The agreement over all pixels of the images; with several processes each maps its share of them.

    Args:
        network: in eval mode, on the device of `ranks`.
        images: mapped one at a time, each in one piece.
        config: classes and normalisation.
        ranks: none: this process alone, on the CPU.

    Raises:
        ValueError: a label that is no class id.
    """
    ranks = ranks or Ranks()
    size = config.classes**2
    counts = np.zeros((len(images), size + 4 * config.classes), dtype=np.int64)
    for number in range(ranks.index, len(images), ranks.count):
        image = images[number]
        mapped = map_classes(network, image, config=config, device=ranks.device)
        edges = boundary_counts(image.labels, mapped, classes=config.classes)
        agreement = confusion(image.labels, mapped, classes=config.classes)
        parts = (agreement.counts.ravel(), edges.true, edges.true_met, edges.mapped, edges.mapped_met)
        counts[number] = np.concatenate(parts)
    counts = ranks.sum(torch.from_numpy(counts)).cpu().numpy()
    square = (config.classes, config.classes)
    names = images.names() if isinstance(images, Views) else [image.name for image in images]
    each = {name: Confusion(counts=row[:size].reshape(square)) for name, row in zip(names, counts, strict=True)}
    true, true_met, mapped_edges, mapped_met = counts[:, size:].sum(axis=0).reshape(4, config.classes)
    boundary = BoundaryCounts(true=true, true_met=true_met, mapped=mapped_edges, mapped_met=mapped_met)
    return Scores(images=each, boundary=boundary, classes=config.classes)


def map_classes(
    network: nn.Module, image: LabelledImage, *, config: NetworkConfig, device: str = "cpu"
) -> npt.NDArray[np.uint8]:
    """The class of each pixel of an image, in one piece; the lowest id wins a tie."""
    with torch.inference_mode():
        logits = network(normalise(image.pixels[None], config=config, device=device))[0]
    return np.asarray(np.argmax(logits.float().cpu().numpy(), axis=0), dtype=np.uint8)


def normalise(pixels: npt.NDArray[Any], *, config: NetworkConfig, device: str = "cpu") -> Tensor:
    """Physical values (n, bands, h, w) as the network takes them: (value - mean) / std, channels last."""
    mean = torch.tensor(config.mean, device=device).view(1, -1, 1, 1)
    std = torch.tensor(config.std, device=device).view(1, -1, 1, 1)
    values = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32)).to(device)
    return ((values - mean) / std).contiguous(memory_format=torch.channels_last)
