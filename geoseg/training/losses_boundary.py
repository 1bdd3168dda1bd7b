"""Losses that know where the true boundaries are; conventions as in `losses`."""

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from geoseg.core.patch_source import IGNORE
from geoseg.training.losses import cross_entropy

SURE = 0.8
"""Edge probability from which on the attention term looks at a pixel."""
TEMPERATURE = 0.5
"""Of the Gumbel softmax in the consistency term."""
_NOTHING = 1e-8
"""Gradient magnitude below which there is no edge."""


def boundary_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of probability x signed distance to the class's true boundary (pixels, negative inside), over the classes.

    Kervadec et al. 2019, arXiv:1812.07032, for every class that the image has together with others. May be negative:
    least where each class is mapped in its own middle. Distances are computed on the CPU.
    """
    probabilities = torch.softmax(logits.float(), dim=1)
    maps = np.stack([signed_distances(one, classes=logits.shape[1]) for one in labels.cpu().numpy()])
    distances = torch.from_numpy(maps).to(logits.device)
    counted = (labels != IGNORE).sum().clamp(min=1)
    return (probabilities * distances).sum() / (counted * logits.shape[1])


def signed_distances(labels: npt.NDArray[np.uint8], *, classes: int) -> npt.NDArray[np.float32]:
    """Distance of each pixel's centre to the nearest one across each class's boundary, (classes, h, w), pixels.

    Negative within the class, where 1 is taken off, so that both sides begin at 0 and 1. Ignored pixels are 0 and
    make no boundary; so is a class that is absent, or alone.
    """
    maps = np.zeros((classes, *labels.shape), dtype=np.float32)
    counted = labels != IGNORE
    for one, distances in enumerate(maps):
        inside, outside = labels == one, counted & (labels != one)
        if inside.any() and outside.any():
            to_class = ndimage.distance_transform_edt(~inside)
            to_others = ndimage.distance_transform_edt(~outside)
            distances[outside] = to_class[outside]
            distances[inside] = 1 - to_others[inside]
    return maps


def edge_map(labels: Tensor, *, edge_px: int = 1) -> Tensor:
    """1 within `edge_px` pixels (square) of another class, else 0, 255 where ignored; (n, h, w) uint8.

    An ignored pixel makes no edge with its neighbours.
    """
    ids = labels.float()[:, None]
    ignored = (labels == IGNORE)[:, None]
    side = 2 * edge_px + 1
    highest = functional.max_pool2d(ids.masked_fill(ignored, -1), side, stride=1, padding=edge_px)
    lowest = -functional.max_pool2d(-ids.masked_fill(ignored, IGNORE), side, stride=1, padding=edge_px)
    return (highest != lowest).masked_fill(ignored, False).to(torch.uint8).masked_fill(ignored, IGNORE)[:, 0]


def edge_loss(edge: Tensor, labels: Tensor, *, edge_px: int = 1) -> Tensor:
    """Balanced binary cross-entropy of edge logits (n, 1, h, w) against the edges of the labels.

    Edge and other pixels weigh as much as there are of the other kind.
    """
    truth = edge_map(labels, edge_px=edge_px)
    counted = truth != IGNORE
    is_edge = (truth == 1).float()
    edges, count = is_edge.sum(), counted.sum().clamp(min=1)
    weights = torch.where(truth == 1, 1 - edges / count, edges / count)
    each = functional.binary_cross_entropy_with_logits(edge.float()[:, 0], is_edge, weight=weights, reduction="none")
    return each.masked_fill(~counted, 0).sum() / count


def attention_loss(logits: Tensor, edge: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the classes on the pixels that the edge output is sure of."""
    sure = torch.sigmoid(edge.detach().float()[:, 0]) > SURE
    return cross_entropy(logits, labels.masked_fill(~sure, IGNORE))


def consistency_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean |edge strength mapped - true| where either has an edge and the label counts.

    Takikawa et al. 2019, arXiv:1907.05740, eq. 4-6: edge strength is the gradient of the smoothed class indicator,
    the mapped indicator a Gumbel softmax.
    """
    classes = logits.shape[1]
    counted = labels != IGNORE
    safe = labels.long().masked_fill(~counted, 0)
    truth = functional.one_hot(safe, classes).permute(0, 3, 1, 2).float()
    mapped = functional.gumbel_softmax(logits.float(), tau=TEMPERATURE, dim=1)
    near = functional.max_pool2d((~counted)[:, None].float(), 5, stride=1, padding=2) > 0  # the gradient's reach
    mapped_edges, true_edges = _gradient_magnitude(mapped), _gradient_magnitude(truth)
    chosen = ((mapped_edges.detach() > _NOTHING) | (true_edges > _NOTHING)) & ~near
    difference = (mapped_edges - true_edges).abs().masked_fill(~chosen, 0)
    return difference.sum() / chosen.sum().clamp(min=1)


def _gradient_magnitude(values: Tensor) -> Tensor:
    """Length of the gradient (n, c, h, w) by central differences, after a 3 x 3 binomial filter, over sqrt 2."""
    channels = values.shape[1]
    binomial = torch.tensor([0.25, 0.5, 0.25], device=values.device)
    kernel = (binomial[:, None] * binomial).expand(channels, 1, 3, 3)
    smooth = functional.conv2d(functional.pad(values, (1, 1, 1, 1), mode="replicate"), kernel, groups=channels)
    padded = functional.pad(smooth, (1, 1, 1, 1), mode="replicate")
    down = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    right = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    return ((down**2 + right**2 + _NOTHING**2) / 2).sqrt()
