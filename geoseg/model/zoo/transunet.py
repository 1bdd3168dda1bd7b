"""TransUNet: a Vision Transformer over a ResNet-50 (or over pixels alone) and the paper's cascaded upsampler.

Chen et al. (2021), "TransUNet: Transformers Make Strong Encoders for Medical Image Segmentation", arXiv:2102.04306,
section 3. ResNet and Vision Transformer are timm's; upsampling is anchored at pixel edges (align_corners=False), which
the tile's size does not change.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.model.architecture import Architecture

_PATCH: Final = 16
_STAGES: Final = (3, 4, 9)
"""Bottlenecks of the ResNet-50 at 1/4, 1/8 and 1/16, as "R50" is in the Vision Transformer's paper."""
_SKIPS: Final = (512, 256, 64)
"""Channels of the ResNet at 1/8, 1/4 and 1/2."""
_WIDTHS: Final = (256, 128, 64, 16)
"""Channels of the decoder at 1/8, 1/4, 1/2 and 1."""
_HEAD_CHANNELS: Final = 64


class TransUNet(nn.Module):
    """Logits at input size."""

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        hybrid: bool,
        image_size: int = 224,
        width: int = 768,
        depth: int = 12,
    ) -> None:
        """Builds the network with the initialisation of timm.

        Args:
            in_channels: bands of the input.
            classes: channels of the logits.
            hybrid: True = a ResNet-50 before the transformer, whose levels are skipped to the decoder; False = the
                transformer looks at patches of 16 pixels, and nothing is skipped.
            image_size: side of the tiles whose position embedding is learned; it is interpolated for other sides.
            width: channels of the transformer, a multiple of 64.
            depth: its blocks.

        Raises:
            ValueError: a number out of its range.
        """
        super().__init__()
        if in_channels < 1 or classes < 1 or depth < 1 or width < 1 or width % _HEAD_CHANNELS:
            raise ValueError(
                f"TransUNet got {in_channels} bands, {classes} classes, width {width}, depth {depth}: all are at "
                f"least 1, width is a multiple of {_HEAD_CHANNELS}"
            )
        if image_size < _PATCH or image_size % _PATCH:
            raise ValueError(f"TransUNet image_size is {image_size}; it must be a multiple of {_PATCH}")
        grid = image_size // _PATCH if hybrid else image_size
        self.resnet = _resnet(in_channels) if hybrid else None
        self.transformer = _transformer(1024 if hybrid else in_channels, grid, 1 if hybrid else _PATCH, width, depth)
        self.more = _convolution(width, 512)
        skips = (*_SKIPS, 0) if hybrid else (0, 0, 0, 0)
        self.decoder = nn.ModuleList(
            nn.Sequential(_convolution(below + skip, above), _convolution(above, above))
            for below, skip, above in zip((512, *_WIDTHS), skips, _WIDTHS, strict=False)
        )
        self.head = nn.Conv2d(_WIDTHS[-1], classes, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w), h and w multiples of 16, at least 32."""
        skips = self.skips(pixels)
        tokens: Tensor = self.transformer.forward_features(skips.pop() if self.resnet is not None else pixels)
        shape = [side // _PATCH for side in pixels.shape[-2:]]
        value = self.more(tokens.transpose(1, 2).reshape(pixels.shape[0], -1, *shape))
        for block in self.decoder:
            value = F.interpolate(value, scale_factor=2, mode="bilinear", align_corners=False)
            value = block(torch.cat([value, skips.pop()], dim=1) if skips else value)
        return cast(Tensor, self.head(value))

    def skips(self, pixels: Tensor) -> list[Tensor]:
        """Of the ResNet: 64 channels at 1/2, 256 at 1/4, 512 at 1/8, 1024 at 1/16; without it nothing."""
        if self.resnet is None:
            return []
        value = self.resnet.stem.norm(self.resnet.stem.conv(pixels))
        levels = [value]
        value = self.resnet.stem.pool(value)
        for stage in self.resnet.stages:
            value = stage(value)
            levels.append(value)
        return levels


def _resnet(in_channels: int) -> Any:
    """Weight-standardised convolutions and GroupNorm, three stages, no classifier."""
    from timm.layers.std_conv import StdConv2dSame
    from timm.models.resnetv2 import ResNetV2

    return ResNetV2(
        layers=list(_STAGES),
        num_classes=0,
        global_pool="",
        in_chans=in_channels,
        preact=False,
        stem_type="same",
        conv_layer=StdConv2dSame,
    )


def _transformer(in_channels: int, side: int, patch: int, width: int, depth: int) -> Any:
    """Without a class token and without a classifier."""
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=side,
        patch_size=patch,
        in_chans=in_channels,
        num_classes=0,
        global_pool="",
        class_token=False,
        embed_dim=width,
        depth=depth,
        num_heads=width // _HEAD_CHANNELS,
        dynamic_img_size=True,
    )


def _convolution(below: int, above: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(below, above, 3, padding=1, bias=False), nn.BatchNorm2d(above), nn.ReLU())


ARCHITECTURES: Final = tuple(
    Architecture(
        name=name,
        title=title,
        build=partial(TransUNet, hybrid=hybrid),
        source="Chen et al. 2021, arXiv:2102.04306",
        licence="Apache-2.0 (encoder: timm)",
        divisor=_PATCH,
        min_size=32,
        margin=None,
    )
    for name, title, hybrid in (
        ("transunet", "TransUNet, R50-ViT-B/16", True),
        ("transunet_vit", "TransUNet, ViT-B/16 alone", False),
    )
)
