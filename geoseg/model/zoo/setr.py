"""SETR: a plain Vision Transformer of timm under the three heads of the paper (naive, PUP, MLA), which are our own.

Zheng et al. (2021), "Rethinking Semantic Segmentation from a Sequence-to-Sequence Perspective with Transformers",
arXiv:2012.15840, section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any, Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.model.architecture import Architecture

_ENCODERS: Final = tuple(f"tu-vit_{size}_patch16_224" for size in ("tiny", "small", "base", "large"))
_WIDTH: Final = 256
_DEPTHS: Final[Mapping[str, tuple[float, ...]]] = {
    "naive": (10 / 24, 15 / 24, 20 / 24, 1),
    "pup": (10 / 24, 15 / 24, 20 / 24, 1),
    "mla": (0.25, 0.5, 0.75, 1),
}
"""Blocks whose output is used, as shares of all; of naive and PUP all but the last are for auxiliary heads."""


class SETR(nn.Module):
    """Logits at input size."""

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        head: str,
        encoder: str = _ENCODERS[-1],
        image_size: int = 768,
        aux: bool = False,
        lean: bool = False,
    ) -> None:
        """Builds the network with the initialisation of timm.

        Args:
            in_channels: bands of the input.
            classes: channels of the logits.
            head: naive, pup (progressive upsampling) or mla (multi-level aggregation).
            encoder: a plain Vision Transformer of timm with patches of 16 pixels.
            image_size: side of the tiles whose position embedding is learned; it is interpolated for other sides.
            aux: True = the auxiliary heads of the paper, for `forward_train`.
            lean: True = the class token has no position, and convolutions before BatchNorm have no bias.

        Raises:
            ValueError: an unknown head, or a number out of its range.
        """
        super().__init__()
        if head not in _DEPTHS:
            raise ValueError(f"SETR head is {head!r}; it must be one of {', '.join(_DEPTHS)}")
        if in_channels < 1 or classes < 1 or image_size < 16 or image_size % 16:
            raise ValueError(
                f"SETR got {in_channels} bands, {classes} classes, image_size {image_size}: counts are at least 1, "
                "image_size is a multiple of 16"
            )
        import timm

        self.encoder: Any = timm.create_model(
            encoder.removeprefix("tu-"),
            in_chans=in_channels,
            img_size=image_size,
            num_classes=0,
            global_pool="",
            final_norm=False,
            no_embed_class=lean,
            dynamic_img_size=True,
        )
        channels, blocks = cast(int, self.encoder.embed_dim), len(cast(nn.Sequential, self.encoder.blocks))
        self.levels = [round(share * blocks) - 1 for share in _DEPTHS[head]]
        build = _MultiLevel if head == "mla" else partial(_Upsampling, steps=4 if head == "pup" else 0)
        self.head = build(channels, classes, bias=not lean)
        self.aux = nn.ModuleList(_auxiliary(head, channels, classes, bias=not lean) if aux else [])

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w), h and w multiples of 16, at least 32."""
        return self._logits(self._features(pixels), pixels)

    def coarse(self, pixels: Tensor) -> Tensor:
        """Logits before the last upsampling: at 1/16 (naive), 1/4 (MLA) or input size (PUP)."""
        return cast(Tensor, self.head(self._features(pixels)))

    def forward_train(self, pixels: Tensor) -> dict[str, Tensor]:
        """`out`, and with the option aux `aux<n>` for block n, all at input size."""
        features = self._features(pixels)
        outputs = {"out": self._logits(features, pixels)}
        levels = self.head.aggregate(features) if isinstance(self.head, _MultiLevel) else [[one] for one in features]
        for block, head, level in zip(self.levels, self.aux, levels, strict=False):
            outputs[f"aux{block + 1}"] = _resized(head(level), pixels)
        return outputs

    def _features(self, pixels: Tensor) -> list[Tensor]:
        """Outputs of the blocks in `levels`, shallow first, (n, channels, h / 16, w / 16)."""
        return cast(
            list[Tensor],
            self.encoder.forward_intermediates(pixels, indices=self.levels, norm=False, intermediates_only=True),
        )

    def _logits(self, features: list[Tensor], pixels: Tensor) -> Tensor:
        return _resized(self.head(features), pixels)


class _Upsampling(nn.Module):
    """The last of the given features through `steps` 3 x 3 convolutions, each followed by doubling.

    No step: one 1 x 1 convolution (the naive head).
    """

    def __init__(self, channels: int, classes: int, *, steps: int, bias: bool, factor: int = 2) -> None:
        super().__init__()
        self.factor = factor if steps else 1
        self.norm = _channel_norm(channels)
        kernel = 3 if steps else 1
        widths = [channels, *[_WIDTH] * max(steps, 1)]
        self.layers = nn.ModuleList(_convolution(below, above, kernel, bias=bias) for below, above in pairwise(widths))
        self.classify = nn.Conv2d(_WIDTH, classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        value = self.norm(features[-1])
        for layer in self.layers:
            value = layer(value)
            if self.factor > 1:
                value = F.interpolate(value, scale_factor=self.factor, mode="bilinear", align_corners=False)
        return cast(Tensor, self.classify(value))


class _MultiLevel(nn.Module):
    """Four levels, summed from the deep to the shallow, each through its own convolutions, joined at 1/4."""

    def __init__(self, channels: int, classes: int, *, bias: bool) -> None:
        super().__init__()
        levels, half = range(len(_DEPTHS["mla"])), _WIDTH // 2
        self.norms = nn.ModuleList(_channel_norm(channels) for _ in levels)
        self.laterals = nn.ModuleList(_convolution(channels, _WIDTH, 1, bias=bias) for _ in levels)
        self.smooth = nn.ModuleList(_convolution(_WIDTH, _WIDTH, 3, bias=bias) for _ in levels)
        self.branches = nn.ModuleList(
            nn.Sequential(_convolution(_WIDTH, half, 3, bias=bias), _convolution(half, half, 3, bias=bias))
            for _ in levels
        )
        self.classify = nn.Conv2d(half * len(levels), classes, 1)

    def aggregate(self, features: list[Tensor]) -> list[list[Tensor]]:
        """Each level with what is deeper, smoothed; shallow first; each alone in a list."""
        laterals = [lateral(norm(one)) for lateral, norm, one in zip(self.laterals, self.norms, features, strict=True)]
        for level in range(len(laterals) - 2, -1, -1):
            laterals[level] = laterals[level] + laterals[level + 1]
        return [[smooth(one)] for smooth, one in zip(self.smooth, laterals, strict=True)]

    def forward(self, features: list[Tensor]) -> Tensor:
        branches = [branch(one) for branch, (one,) in zip(self.branches, self.aggregate(features), strict=True)]
        joined = F.interpolate(torch.cat(branches, dim=1), scale_factor=4, mode="bilinear", align_corners=False)
        return cast(Tensor, self.classify(joined))


class _Classifier(nn.Module):
    """One 1 x 1 convolution of the last of the given features."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classify = nn.Conv2d(_WIDTH, classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        return cast(Tensor, self.classify(features[-1]))


def _auxiliary(head: str, channels: int, classes: int, *, bias: bool) -> list[nn.Module]:
    """As many as the paper has: three for naive and PUP (there with two doublings by 4), four for MLA."""
    if head == "mla":
        return [_Classifier(classes) for _ in _DEPTHS["mla"]]
    steps = 2 if head == "pup" else 0
    return [_Upsampling(channels, classes, steps=steps, bias=bias, factor=4) for _ in _DEPTHS[head][:-1]]


def _convolution(below: int, above: int, kernel: int, *, bias: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(below, above, kernel, padding=kernel // 2, bias=bias), nn.BatchNorm2d(above), nn.ReLU()
    )


def _channel_norm(channels: int) -> Any:
    from timm.layers.norm import LayerNorm2d

    return LayerNorm2d(channels, eps=1e-6)


def _resized(logits: Tensor, pixels: Tensor) -> Tensor:
    if logits.shape[-2:] == pixels.shape[-2:]:
        return logits
    return F.interpolate(logits, size=pixels.shape[-2:], mode="bilinear", align_corners=False)


ARCHITECTURES: Final = tuple(
    Architecture(
        name=f"setr_{head}",
        title=title,
        build=partial(SETR, head=head),
        source="Zheng et al. 2021, arXiv:2012.15840",
        licence="Apache-2.0 (encoder: timm)",
        divisor=16,
        min_size=32,
        margin=None,
        encoders=_ENCODERS,
        default_encoder=_ENCODERS[-1],
    )
    for head, title in (("naive", "SETR-Naive"), ("pup", "SETR-PUP"), ("mla", "SETR-MLA"))
)
