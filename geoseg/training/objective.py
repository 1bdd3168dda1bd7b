"""What training minimises: the configured losses over all outputs of a network, weighted, each part by its name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geoseg.errors import SettingsError
from geoseg.training.config_loss import (
    BoundaryPart,
    CrossEntropyPart,
    EdgePart,
    FocalPart,
    LossPart,
    LovaszPart,
    OverlapPart,
    TverskyPart,
)
from geoseg.training.losses import cross_entropy, dice_loss, focal_loss, jaccard_loss, lovasz_loss, tversky_loss
from geoseg.training.losses_boundary import attention_loss, boundary_loss, consistency_loss, edge_loss

MAIN, EDGE = "out", "edge"
"""Outputs of `forward_train`: logits and edge logits (n, 1, h, w); all others are logits of auxiliary heads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """One value to go down, and what it is made of."""

    total: Tensor
    """0-d, with its gradient."""
    parts: dict[str, Tensor]
    """Name -> 0-d, detached, before its weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A weighted sum of losses."""

    parts: tuple[LossPart, ...]
    aux_weight: float
    """Weight of the sum over each auxiliary output."""

    def names(self, outputs: Sequence[str]) -> tuple[str, ...]:
        """The parts there will be for a network with these outputs."""
        aux = [name for name in outputs if name not in (MAIN, EDGE)]
        return (*(part.kind for part in self.parts), *aux)

    def __call__(self, outputs: Mapping[str, Tensor], labels: Tensor) -> Loss:
        """The loss of a network's outputs at the labels' size.

        Raises:
            SettingsError: an edge loss for a network that has no edge output.
        """
        with torch.autocast(labels.device.type, enabled=False):
            values: dict[str, Tensor] = {part.kind: _value(part, outputs, labels) for part in self.parts}
            total = torch.stack([part.weight * values[part.kind] for part in self.parts]).sum()
            for name, logits in outputs.items():
                if name not in (MAIN, EDGE):
                    values[name] = self._aux(logits, labels)
                    total = total + self.aux_weight * values[name]
        return Loss(total=total, parts={name: value.detach() for name, value in values.items()})

    def _aux(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Deep supervision: every loss but that of edges."""
        parts = [part for part in self.parts if not isinstance(part, EdgePart)]
        values = [part.weight * _value(part, {MAIN: logits}, labels) for part in parts]
        return torch.stack(values).sum() if values else logits.float().sum() * 0


def _value(part: LossPart, outputs: Mapping[str, Tensor], labels: Tensor) -> Tensor:
    logits = outputs[MAIN]
    match part:
        case CrossEntropyPart():
            value = cross_entropy(logits, labels, smoothing=part.smoothing, class_weights=part.class_weights)
        case FocalPart():
            value = focal_loss(logits, labels, gamma=part.gamma, class_weights=part.class_weights)
        case TverskyPart():
            value = tversky_loss(logits, labels, false_positive=part.false_positive, false_negative=part.false_negative)
        case OverlapPart():
            value = (dice_loss if part.kind == "dice" else jaccard_loss)(logits, labels)
        case LovaszPart():
            value = lovasz_loss(logits, labels)
        case BoundaryPart():
            value = boundary_loss(logits, labels)
        case EdgePart():
            value = _dual_task(part, outputs, labels)
    return value


def _dual_task(part: EdgePart, outputs: Mapping[str, Tensor], labels: Tensor) -> Tensor:
    if EDGE not in outputs:
        raise SettingsError("losses: dual_task needs a network with an edge output: take gscnn, or leave it out")
    logits, edge = outputs[MAIN], outputs[EDGE]
    return (
        part.edge * edge_loss(edge, labels, edge_px=part.edge_px)
        + part.attention * attention_loss(logits, edge, labels)
        + part.consistency * consistency_loss(logits, labels)
    )
