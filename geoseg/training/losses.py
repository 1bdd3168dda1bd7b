"""Losses on logits (n, classes, h, w) and labels (n, h, w) where 255 is ignored."""

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.core.patch_source import IGNORE


def cross_entropy(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy over the pixels that count; 0 when none does."""
    counted = (labels != IGNORE).sum()
    total = functional.cross_entropy(
        logits, labels.long(), ignore_index=IGNORE, label_smoothing=smoothing, reduction="sum"
    )
    return total / counted.clamp(min=1)


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - soft Dice over the whole batch, mean over the classes present; 0 when no pixel counts.

    Milletari, Navab, Ahmadi (2016), with sums instead of sums of squares.
    """
    classes = logits.shape[1]
    counts = (labels != IGNORE)[:, None]
    truth = functional.one_hot(labels.long().masked_fill(labels == IGNORE, 0), classes).permute(0, 3, 1, 2)
    truth = truth.to(logits.dtype) * counts
    probabilities = torch.softmax(logits, dim=1) * counts
    overlap = (probabilities * truth).sum(dim=(0, 2, 3))
    sizes = (probabilities + truth).sum(dim=(0, 2, 3))
    present = truth.sum(dim=(0, 2, 3)) > 0
    per_class = 1 - 2 * overlap / sizes.clamp(min=1e-6)
    return (per_class * present).sum() / present.sum().clamp(min=1)
