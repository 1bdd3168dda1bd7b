"""Losses of each pixel and of regions on logits (n, classes, h, w) and labels (n, h, w) where 255 is ignored.

Computed in float32 whatever the network computes in; means run over the pixels that count alone. Where none counts,
a loss is 0 and so is its gradient. Those that know of boundaries are in `losses_boundary`, sums of them in `objective`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.core.patch_source import IGNORE

_TINY = 1e-12
"""Smallest 1 - p that is raised to a power, so that gradients stay finite for powers below 1."""


def cross_entropy(
    logits: Tensor, labels: Tensor, *, smoothing: float = 0.0, class_weights: Sequence[float] = ()
) -> Tensor:
    """Mean cross-entropy; with class weights, the weighted mean."""
    weights = _weights(logits, class_weights)
    total = functional.cross_entropy(
        logits.float(), labels.long(), weights, ignore_index=IGNORE, label_smoothing=smoothing, reduction="sum"
    )
    return total / _weight_sum(labels, weights)


def focal_loss(logits: Tensor, labels: Tensor, *, gamma: float = 2.0, class_weights: Sequence[float] = ()) -> Tensor:
    """Mean of -(1 - p)^gamma log p with p the softmax of the true class; gamma 0 is the cross-entropy.

    Lin et al. 2017, arXiv:1708.02002, for classes that exclude each other. With class weights, the weighted mean.
    """
    weights = _weights(logits, class_weights)
    counted = labels != IGNORE
    safe = labels.long().masked_fill(~counted, 0)
    log_p = torch.log_softmax(logits.float(), dim=1).gather(1, safe[:, None])[:, 0]
    wrong = (-torch.expm1(log_p)).clamp(min=_TINY)
    each = -(wrong**gamma) * log_p if gamma else -log_p
    if weights is not None:
        each = each * weights[safe]
    return each.masked_fill(~counted, 0).sum() / _weight_sum(labels, weights)


def tversky_loss(logits: Tensor, labels: Tensor, *, false_positive: float = 0.5, false_negative: float = 0.5) -> Tensor:
    """1 - soft Tversky index over the whole batch, mean over the classes that are in the labels.

    Salehi, Erdogmus, Gholipour 2017, arXiv:1706.05721; 0.5 and 0.5 give the Dice loss, 1 and 1 the Jaccard loss.
    """
    probabilities, truth = _counted(logits, labels)
    overlap = (probabilities * truth).sum(dim=1)
    mapped, true = probabilities.sum(dim=1), truth.sum(dim=1)
    index = overlap / (overlap + false_positive * (mapped - overlap) + false_negative * (true - overlap)).clamp(
        min=1e-6
    )
    return _mean_of_present(1 - index, true > 0)


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - soft Dice; Milletari, Navab, Ahmadi 2016, with sums instead of sums of squares."""
    return tversky_loss(logits, labels)


def jaccard_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - soft intersection over union."""
    return tversky_loss(logits, labels, false_positive=1.0, false_negative=1.0)


def lovasz_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The Lovász extension of 1 - intersection over union, over the whole batch, mean over the classes in the labels.

    Berman, Triki, Blaschko 2018, arXiv:1705.08790 (Lovász-softmax, "present").
    """
    probabilities, truth = _counted(logits, labels)
    ignored = (labels == IGNORE).flatten()
    errors = (truth - probabilities).abs()
    order = errors.detach().masked_fill(ignored, -1).argsort(dim=1, descending=True)  # what is ignored comes last
    errors, sorted_truth = errors.gather(1, order), truth.gather(1, order)
    true = truth.sum(dim=1, keepdim=True)
    left = true - sorted_truth.cumsum(dim=1)
    either = true + (1 - sorted_truth).cumsum(dim=1)
    loss = 1 - left / either
    steps = torch.diff(loss, dim=1, prepend=torch.zeros_like(loss[:, :1]))
    return _mean_of_present((errors * steps).sum(dim=1), true[:, 0] > 0)


def _counted(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities and truth (classes, pixels of the batch), both 0 where the label is ignored."""
    classes = logits.shape[1]
    counted = (labels != IGNORE).flatten()
    probabilities = torch.softmax(logits.float(), dim=1).transpose(0, 1).reshape(classes, -1)
    ids = torch.arange(classes, device=labels.device)[:, None]
    truth = (labels.flatten().long()[None] == ids).float()
    return probabilities.masked_fill(~counted, 0), truth


def _mean_of_present(losses: Tensor, present: Tensor) -> Tensor:
    return (losses * present).sum() / present.sum().clamp(min=1)


def _weights(logits: Tensor, class_weights: Sequence[float]) -> Tensor | None:
    return torch.tensor(class_weights, dtype=torch.float32, device=logits.device) if class_weights else None


def _weight_sum(labels: Tensor, weights: Tensor | None) -> Tensor:
    """What a sum is divided by; 1 where nothing counts."""
    counted = labels != IGNORE
    if weights is None:
        return counted.sum().clamp(min=1)
    total = (weights[labels.long().masked_fill(~counted, 0)] * counted).sum()
    return torch.where(total > 0, total, torch.ones_like(total))
