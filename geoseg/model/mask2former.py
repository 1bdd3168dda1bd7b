"""Mask2Former of transformers as a network of semantic logits; its matching loss is not here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.errors import ResourceError
from geoseg.model.architecture import Architecture

_HEAD_CHANNELS: Final = 32
_LEAST_SCORE: Final = 1e-6
"""Scores are taken no lower before their logarithm: far below what a class needs to win."""


class Mask2Former(nn.Module):
    """Logits at input size: logarithms of the sums over the queries of class probability times mask probability.

    The softmax of such logits is the scores of the paper's semantic inference (section 3 of MaskFormer,
    arXiv:2107.06278), scaled to a sum of one, so any loss for logits trains it.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        queries: int = 100,
        width: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
    ) -> None:
        """Builds the network over a Swin Transformer, with the initialisation of transformers.

        Args:
            in_channels: bands of the input.
            classes: channels of the logits; the network has one more inside, for queries of nothing.
            queries: masks it proposes.
            width: channels of the Swin Transformer's first stage (96: Swin-T and -S), a multiple of 32.
            depths: blocks of its four stages.

        Raises:
            ValueError: a number out of its range.
            ResourceError: transformers is not installed.
        """
        super().__init__()
        if min(in_channels, classes, queries, width) < 1 or width % _HEAD_CHANNELS or len(depths) != 4:
            raise ValueError(
                f"Mask2Former got {in_channels} bands, {classes} classes, {queries} queries, width {width}, depths "
                f"{tuple(depths)}: counts are at least 1, width is a multiple of {_HEAD_CHANNELS}, depths are four"
            )
        self.network = _build(in_channels, classes, queries, width, depths)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w), h and w multiples of 32."""
        return F.interpolate(self._scores(pixels), size=pixels.shape[-2:], mode="bilinear").clamp(_LEAST_SCORE).log()

    def coarse(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h / 4, w / 4)."""
        return self._scores(pixels).clamp(_LEAST_SCORE).log()

    def _scores(self, pixels: Tensor) -> Tensor:
        outputs = self.network(pixel_values=pixels)
        classes = outputs.class_queries_logits.float().softmax(-1)[..., :-1]
        masks = outputs.masks_queries_logits.float().sigmoid()
        return torch.einsum("nqc,nqhw->nchw", classes, masks)


def _build(in_channels: int, classes: int, queries: int, width: int, depths: Sequence[int]) -> nn.Module:
    try:
        import transformers
    except ImportError as error:
        raise ResourceError("mask2former needs transformers: pip install 'geoseg[transformers]'") from error
    library: Any = transformers
    swin = library.SwinConfig(
        num_channels=in_channels,
        embed_dim=width,
        depths=list(depths),
        num_heads=[width // _HEAD_CHANNELS * 2**level for level in range(4)],
        out_features=[f"stage{level}" for level in (1, 2, 3, 4)],
    )
    config = library.Mask2FormerConfig(backbone_config=swin, num_labels=classes, num_queries=queries)
    return cast(nn.Module, library.Mask2FormerForUniversalSegmentation(config))


ARCHITECTURES: Final = (
    Architecture(
        name="mask2former",
        title="Mask2Former, Swin-T",
        build=Mask2Former,
        source="Cheng et al. 2022, arXiv:2112.01527",
        licence="Apache-2.0 (transformers)",
        divisor=32,
        min_size=32,
        margin=None,
        extra="transformers",
    ),
)
