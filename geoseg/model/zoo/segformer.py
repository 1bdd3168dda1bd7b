"""SegFormer b0 … b5: the Mix Transformer and its all-MLP head, written from the paper.

Xie, Wang, Yu, Anandkumar, Alvarez, Luo (2021), "SegFormer: Simple and Efficient Design for Semantic Segmentation with
Transformers", arXiv:2105.15203: sections 3.1 (overlapping patches, efficient attention, Mix-FFN) and 3.2 (head).
Positions come from the zero padding of the Mix-FFN's 3 x 3 convolution, so that any size is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.model.architecture import Architecture
from geoseg.model.zoo.drop_path import DropPath, growing_rates

_SIZES: Final[Mapping[str, tuple[int, tuple[int, int, int, int], int]]] = {
    "b0": (32, (2, 2, 2, 2), 256),
    "b1": (64, (2, 2, 2, 2), 256),
    "b2": (64, (3, 4, 6, 3), 768),
    "b3": (64, (3, 4, 18, 3), 768),
    "b4": (64, (3, 8, 27, 3), 768),
    "b5": (64, (3, 6, 40, 3), 768),
}
"""Channels of the first stage, blocks of each stage (table 6 of the paper), channels of the head."""
_WIDENING: Final = (1, 2, 5, 8)
"""Channels of a stage over those of the first; the number of its attention heads as well."""
_REDUCTION: Final = (8, 4, 2, 1)
"""Keys and values are taken from one in so many squared positions."""
_EXPANSION: Final = 4


class SegFormer(nn.Module):
    """Logits at input size, upsampled from a quarter of it (`coarse`)."""

    def __init__(
        self, *, in_channels: int, classes: int, size: str, drop_path: float = 0.1, dropout: float = 0.1
    ) -> None:
        """Builds the network with the initialisation of the Vision Transformer.

        Args:
            in_channels: bands of the input.
            classes: channels of the logits.
            size: b0 … b5.
            drop_path: probability with which the last block is skipped in training; it grows linearly from 0.
            dropout: of the head's channels, before the classifier.

        Raises:
            ValueError: an unknown size, a count below 1 or a probability outside [0, 1).
        """
        super().__init__()
        if size not in _SIZES:
            raise ValueError(f"SegFormer size is {size!r}; it must be one of {', '.join(_SIZES)}")
        if in_channels < 1 or classes < 1:
            raise ValueError(f"SegFormer got {in_channels} bands and {classes} classes; both must be at least 1")
        if not 0 <= drop_path < 1 or not 0 <= dropout < 1:
            raise ValueError(f"SegFormer drop_path {drop_path} and dropout {dropout} must lie in [0, 1)")
        first, depths, width = _SIZES[size]
        channels = [first * factor for factor in _WIDENING]
        self.encoder = MixTransformer(in_channels, channels, depths, drop_path=drop_path)
        self.head = _Head(channels, width, classes, dropout=dropout)
        self.apply(_initialise)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w), h and w multiples of 32."""
        return F.interpolate(self.coarse(pixels), size=pixels.shape[-2:], mode="bilinear", align_corners=False)

    def coarse(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h / 4, w / 4)."""
        return cast(Tensor, self.head(self.encoder(pixels)))


class MixTransformer(nn.Module):
    """Features at 1/4, 1/8, 1/16 and 1/32 of the input, channels first."""

    def __init__(
        self, in_channels: int, channels: list[int], depths: tuple[int, int, int, int], *, drop_path: float
    ) -> None:
        super().__init__()
        rates = growing_rates(drop_path, sum(depths))
        stages: list[nn.Module] = []
        for level, (below, above) in enumerate(zip([in_channels, *channels], channels, strict=False)):
            begin = sum(depths[:level])
            stages.append(_Stage(below, above, rates[begin : begin + depths[level]], level=level))
        self.stages = nn.ModuleList(stages)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """The four levels, finest first."""
        features: list[Tensor] = []
        for stage in self.stages:
            pixels = stage(pixels)
            features.append(pixels)
        return features


class _Stage(nn.Module):
    """Overlapping patches, blocks of attention and Mix-FFN, LayerNorm."""

    def __init__(self, below: int, above: int, rates: list[float], *, level: int) -> None:
        super().__init__()
        kernel, stride = (3, 2) if level else (7, 4)
        self.patch = nn.Conv2d(below, above, kernel, stride=stride, padding=kernel // 2)
        self.patch_norm = nn.LayerNorm(above)
        self.blocks = nn.ModuleList(_Block(above, _WIDENING[level], _REDUCTION[level], rate) for rate in rates)
        self.norm = nn.LayerNorm(above)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch(pixels)
        shape = (patches.shape[2], patches.shape[3])
        tokens = self.patch_norm(_as_tokens(patches))
        for block in self.blocks:
            tokens = block(tokens, shape)
        return _as_pixels(self.norm(tokens), shape)


class _Block(nn.Module):
    def __init__(self, channels: int, heads: int, reduction: int, rate: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = _EfficientAttention(channels, heads, reduction)
        self.mix_norm = nn.LayerNorm(channels)
        self.mix = _MixFFN(channels)
        self.drop_path = DropPath(rate)

    def forward(self, tokens: Tensor, shape: tuple[int, int]) -> Tensor:
        tokens = tokens + self.drop_path(self.attention(self.attention_norm(tokens), shape))
        return tokens + cast(Tensor, self.drop_path(self.mix(self.mix_norm(tokens), shape)))


class _EfficientAttention(nn.Module):
    """Every position asks; keys and values are at one in reduction² positions (equation 2 of the paper)."""

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)
        self.reduce = nn.Conv2d(channels, channels, reduction, stride=reduction) if reduction > 1 else None
        self.reduce_norm = nn.LayerNorm(channels) if reduction > 1 else None

    def forward(self, tokens: Tensor, shape: tuple[int, int]) -> Tensor:
        asked = tokens
        if self.reduce is not None and self.reduce_norm is not None:
            asked = self.reduce_norm(_as_tokens(self.reduce(_as_pixels(tokens, shape))))
        query = self._by_head(self.query(tokens))
        key, value = (self._by_head(part) for part in self.key_value(asked).chunk(2, dim=-1))
        mixed = F.scaled_dot_product_attention(query, key, value)
        return cast(Tensor, self.out(mixed.transpose(1, 2).flatten(2)))

    def _by_head(self, tokens: Tensor) -> Tensor:
        """(n, positions, channels) -> (n, heads, positions, channels / heads)."""
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class _MixFFN(nn.Module):
    """Linear, depthwise 3 x 3 convolution, GELU, linear (equation 3 of the paper)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = _EXPANSION * channels
        self.expand = nn.Linear(channels, inner)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.reduce = nn.Linear(inner, channels)

    def forward(self, tokens: Tensor, shape: tuple[int, int]) -> Tensor:
        inner = self.depthwise(_as_pixels(self.expand(tokens), shape))
        return cast(Tensor, self.reduce(F.gelu(_as_tokens(inner))))


class _Head(nn.Module):
    """Each level through a linear layer to one width, upsampled to 1/4, fused by a 1 x 1 convolution."""

    def __init__(self, channels: list[int], width: int, classes: int, *, dropout: float) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Conv2d(below, width, 1) for below in channels)
        self.fuse = nn.Sequential(
            nn.Conv2d(len(channels) * width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        shape = features[0].shape[-2:]
        levels = [
            F.interpolate(linear(level), size=shape, mode="bilinear", align_corners=False)
            for linear, level in zip(self.levels, features, strict=True)
        ]
        return cast(Tensor, self.classify(self.dropout(self.fuse(torch.cat(levels[::-1], dim=1)))))


def _as_tokens(pixels: Tensor) -> Tensor:
    """(n, channels, h, w) -> (n, h * w, channels)."""
    return pixels.flatten(2).transpose(1, 2)


def _as_pixels(tokens: Tensor, shape: tuple[int, int]) -> Tensor:
    """(n, h * w, channels) -> (n, channels, h, w)."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, *shape)


def _initialise(module: nn.Module) -> None:
    """Truncated normal of 0.02 for linear layers, He by fan-out for convolutions, zeros for biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


ARCHITECTURES: Final = tuple(
    Architecture(
        name=f"segformer_{size}",
        title=f"SegFormer-{size.upper()}",
        build=partial(SegFormer, size=size),
        source="Xie et al. 2021, arXiv:2105.15203",
        licence="Apache-2.0",
        divisor=32,
        min_size=32,
        margin=None,
    )
    for size in _SIZES
)
