"""The parts of a training loss as values: which, with what weight and options. How they are computed: `losses`."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from geoseg.section import Section

ClassWeights: TypeAlias = tuple[Annotated[float, Field(ge=0)], ...]
"""One per class, or none: all classes weigh the same."""


class CrossEntropyPart(Section):
    """Mean cross-entropy over the pixels that count."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    weight: float = Field(default=1.0, gt=0, description="of this part in the sum")
    smoothing: float = Field(default=0.0, ge=0, lt=1, description="label smoothing")
    class_weights: ClassWeights = Field(default=(), description="one per class; empty: all alike")


class FocalPart(Section):
    """Cross-entropy that looks at pixels which are still wrong; Lin et al. 2017."""

    kind: Literal["focal"] = "focal"
    weight: float = Field(default=1.0, gt=0, description="of this part in the sum")
    gamma: float = Field(default=2.0, ge=0, description="0: the cross-entropy")
    class_weights: ClassWeights = Field(default=(), description="alpha, one per class; empty: all alike")


class TverskyPart(Section):
    """1 - overlap of regions; Salehi et al. 2017. Dice has 0.5 and 0.5, Jaccard 1 and 1."""

    kind: Literal["tversky"] = "tversky"
    weight: float = Field(default=1.0, gt=0, description="of this part in the sum")
    false_positive: float = Field(default=0.5, ge=0, description="weight of what is mapped and not true")
    false_negative: float = Field(default=0.5, ge=0, description="weight of what is true and not mapped")


class OverlapPart(Section):
    """The Dice or the Jaccard loss."""

    kind: Literal["dice", "jaccard"]
    weight: float = Field(default=1.0, gt=0, description="of this part in the sum")


class LovaszPart(Section):
    """The Lovász extension of the Jaccard loss; Berman et al. 2018."""

    kind: Literal["lovasz"] = "lovasz"
    weight: float = Field(default=1.0, gt=0, description="of this part in the sum")


class BoundaryPart(Section):
    """Signed distances to the true boundary, in pixels, where a class is mapped; Kervadec et al. 2019."""

    kind: Literal["boundary"] = "boundary"
    weight: float = Field(default=0.01, gt=0, description="of this part in the sum; it is in pixels, so small")


class EdgePart(Section):
    """The dual task of networks with an edge output; Takikawa et al. 2019."""

    kind: Literal["dual_task"] = "dual_task"
    weight: float = Field(default=1.0, gt=0, description="of this part in the sum")
    edge: float = Field(default=20.0, ge=0, description="balanced cross-entropy of the edge output")
    attention: float = Field(
        default=1.0, ge=0, description="cross-entropy of the classes where the edge output is sure"
    )
    consistency: float = Field(default=1.0, ge=0, description="edges of the mapped classes against the true ones")
    edge_px: int = Field(default=1, ge=1, le=8, description="pixels on each side of a true edge that belong to it")


LossPart: TypeAlias = Annotated[
    CrossEntropyPart | FocalPart | TverskyPart | OverlapPart | LovaszPart | BoundaryPart | EdgePart,
    Field(discriminator="kind"),
]
