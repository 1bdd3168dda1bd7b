"""Swin-Unet: a U of shifted-window attention, patch merging and patch expanding, written from the papers.

Cao et al. (2021), "Swin-Unet: Unet-like Pure Transformer for Medical Image Segmentation", arXiv:2105.05537; Liu et al.
(2021), "Swin Transformer", arXiv:2103.14030, for the blocks. The papers fix the tile; here features are padded to whole
windows and nobody looks at the padding, so that any multiple of 32 is taken and 224 gives what the papers give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.model.architecture import Architecture
from geoseg.model.zoo.drop_path import DropPath, growing_rates

_WINDOW: Final = 7
_PATCH: Final = 4
_HEAD_CHANNELS: Final = 32
_EXPANSION: Final = 4


class SwinUnet(nn.Module):
    """Logits at input size. Within it pixels are channels last: (n, rows, cols, channels)."""

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        width: int = 96,
        depths: Sequence[int] = (2, 2, 2, 2),
        drop_path: float = 0.1,
    ) -> None:
        """Builds the network with the initialisation of the Swin Transformer.

        Args:
            in_channels: bands of the input.
            classes: channels of the logits.
            width: channels at a quarter of the size, a multiple of 32; doubled at each level.
            depths: blocks of the four levels of the encoder; the decoder has those of the first three.
            drop_path: probability with which the deepest block is skipped in training.

        Raises:
            ValueError: a number out of its range.
        """
        super().__init__()
        if in_channels < 1 or classes < 1 or width < 1 or width % _HEAD_CHANNELS or not 0 <= drop_path < 1:
            raise ValueError(
                f"SwinUnet got {in_channels} bands, {classes} classes, width {width}, drop_path {drop_path}: counts "
                f"are at least 1, width is a multiple of {_HEAD_CHANNELS}, drop_path lies in [0, 1)"
            )
        if len(depths) != 4 or min(depths) < 1:
            raise ValueError(f"SwinUnet depths are {tuple(depths)}; there must be four, each at least 1")
        widths = [width * 2**level for level in range(4)]
        rates = growing_rates(drop_path, sum(depths))
        by_level = [rates[sum(depths[:level]) : sum(depths[: level + 1])] for level in range(4)]
        self.patch = nn.Conv2d(in_channels, width, _PATCH, stride=_PATCH)
        self.patch_norm = nn.LayerNorm(width)
        self.encoder = nn.ModuleList(_level(channels, level) for channels, level in zip(widths, by_level, strict=True))
        self.mergers = nn.ModuleList(_Merging(channels) for channels in widths[:-1])
        self.norm = nn.LayerNorm(widths[-1])
        upwards = list(zip(widths[2::-1], by_level[2::-1], strict=True))
        self.expanders = nn.ModuleList(_Expanding(2 * channels, channels, 2) for channels, _ in upwards)
        self.joins = nn.ModuleList(nn.Linear(2 * channels, channels) for channels, _ in upwards)
        self.decoder = nn.ModuleList(_level(channels, level) for channels, level in upwards)
        self.last_norm = nn.LayerNorm(width)
        self.last_expander = _Expanding(width, width, _PATCH)
        self.head = nn.Conv2d(width, classes, 1, bias=False)
        self.apply(_initialise)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w), h and w multiples of 32."""
        levels = self.encode(pixels)
        value = self.norm(levels.pop())
        for expander, join, blocks in zip(self.expanders, self.joins, self.decoder, strict=True):
            value = blocks(join(torch.cat([expander(value), levels.pop()], dim=-1)))
        value = self.last_expander(self.last_norm(value))
        return cast(Tensor, self.head(value.permute(0, 3, 1, 2)))

    def encode(self, pixels: Tensor) -> list[Tensor]:
        """Features at 1/4, 1/8, 1/16 and 1/32, (n, rows, cols, channels)."""
        value = self.patch_norm(self.patch(pixels).permute(0, 2, 3, 1))
        levels: list[Tensor] = []
        for depth, blocks in enumerate(self.encoder):
            value = blocks(self.mergers[depth - 1](value) if depth else value)
            levels.append(value)
        return levels


def _level(channels: int, rates: Sequence[float]) -> nn.Sequential:
    """Blocks, every second of them with shifted windows."""
    return nn.Sequential(*(_Block(channels, shifted=block % 2 == 1, rate=rate) for block, rate in enumerate(rates)))


class _Block(nn.Module):
    def __init__(self, channels: int, *, shifted: bool, rate: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = _WindowAttention(channels, shifted=shifted)
        self.mlp_norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, _EXPANSION * channels), nn.GELU(), nn.Linear(_EXPANSION * channels, channels)
        )
        self.drop_path = DropPath(rate)

    def forward(self, value: Tensor) -> Tensor:
        value = value + self.drop_path(self.attention(self.attention_norm(value)))
        return value + cast(Tensor, self.drop_path(self.mlp(self.mlp_norm(value))))


class _WindowAttention(nn.Module):
    """Attention within windows of 7 x 7, with a learned bias for each relative place."""

    def __init__(self, channels: int, *, shifted: bool) -> None:
        super().__init__()
        self.heads = channels // _HEAD_CHANNELS
        self.shifted = shifted
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.zeros((2 * _WINDOW - 1) ** 2, self.heads))
        nn.init.trunc_normal_(self.bias, std=0.02)

    def forward(self, value: Tensor) -> Tensor:
        sides = (value.shape[1], value.shape[2])
        shifts = [_WINDOW // 2 if self.shifted and side > _WINDOW else 0 for side in sides]
        below, right = (-side % _WINDOW for side in sides)
        padded = F.pad(value, (0, 0, 0, right, 0, below)).roll([-shift for shift in shifts], (1, 2))
        parts = _windows(self.query_key_value(padded))
        parts = parts.reshape(*parts.shape[:3], 3, self.heads, -1)
        query, key, content = parts.permute(3, 0, 1, 4, 2, 5)
        mask = self._relative().where(_together(sides, shifts, value.device)[:, None], float("-inf"))
        mixed = F.scaled_dot_product_attention(query, key, content, attn_mask=mask.to(query.dtype))
        whole = _whole(mixed.transpose(2, 3).flatten(3), (padded.shape[1], padded.shape[2]))
        return cast(Tensor, self.out(whole.roll(shifts, (1, 2))[:, : sides[0], : sides[1]]))

    def _relative(self) -> Tensor:
        """(heads, 49, 49): the bias of each pair of places in a window."""
        place = torch.arange(_WINDOW**2, device=self.bias.device)
        rows, cols = place // _WINDOW, place % _WINDOW
        row, col = (axis[:, None] - axis[None] + _WINDOW - 1 for axis in (rows, cols))
        return self.bias[row * (2 * _WINDOW - 1) + col].permute(2, 0, 1)


def _windows(value: Tensor) -> Tensor:
    """(n, rows, cols, channels) -> (n, windows, 49, channels)."""
    rows, cols = (side // _WINDOW for side in value.shape[1:3])
    parts = value.reshape(value.shape[0], rows, _WINDOW, cols, _WINDOW, value.shape[3])
    return parts.transpose(2, 3).reshape(value.shape[0], rows * cols, _WINDOW**2, value.shape[3])


def _whole(windows: Tensor, sides: tuple[int, int]) -> Tensor:
    """The inverse of `_windows`."""
    rows, cols = (side // _WINDOW for side in sides)
    parts = windows.reshape(windows.shape[0], rows, cols, _WINDOW, _WINDOW, windows.shape[-1])
    return parts.transpose(2, 3).reshape(windows.shape[0], *sides, windows.shape[-1])


def _together(sides: tuple[int, int], shifts: Sequence[int], device: torch.device) -> Tensor:
    """(windows, 49, 49) True where two places of a window are neighbours on the ground and both or none is padding."""
    labels = []
    for side, shift in zip(sides, shifts, strict=True):
        place = torch.arange(side + -side % _WINDOW, device=device)
        wrapped = (place < shift).long()  # what the roll brings to the far end
        labels.append(wrapped.masked_fill(place >= side, 2).roll(-shift))
    label = labels[0][:, None] * 3 + labels[1][None]
    label = label.masked_fill((labels[0] == 2)[:, None] | (labels[1] == 2)[None], 8)
    by_window = _windows(label[None, :, :, None])[0, :, :, 0]
    return by_window[:, :, None] == by_window[:, None, :]


class _Merging(nn.Module):
    """Halves the sides and doubles the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduce = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, value: Tensor) -> Tensor:
        quarters = [value[:, row::2, col::2] for col in (0, 1) for row in (0, 1)]
        return cast(Tensor, self.reduce(self.norm(torch.cat(quarters, dim=-1))))


class _Expanding(nn.Module):
    """Multiplies the sides by `factor`; channels from `below` to `above`."""

    def __init__(self, below: int, above: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.expand = nn.Linear(below, factor**2 * above, bias=False)
        self.norm = nn.LayerNorm(above)

    def forward(self, value: Tensor) -> Tensor:
        n, rows, cols, _ = value.shape
        parts = self.expand(value).reshape(n, rows, cols, self.factor, self.factor, -1).transpose(2, 3)
        return cast(Tensor, self.norm(parts.reshape(n, rows * self.factor, cols * self.factor, -1)))


def _initialise(module: nn.Module) -> None:
    """Truncated normal of 0.02 for linear layers, zeros for their biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


ARCHITECTURES: Final = (
    Architecture(
        name="swin_unet",
        title="Swin-Unet",
        build=SwinUnet,
        source="Cao et al. 2021, arXiv:2105.05537",
        licence="Apache-2.0",
        divisor=32,
        min_size=32,
        margin=None,
    ),
)
