"""UPerNet over a plain Vision Transformer of timm: its blocks made a pyramid by a neck of our own.

The neck is that of BEiT (Bao et al. 2021, arXiv:2106.08254, appendix) and of ViTDet's plain backbone (Li et al. 2022,
arXiv:2203.16527): four blocks, brought to 1/4, 1/8, 1/16 and 1/32 by transposed convolutions and pooling. The head is
smp's, which by itself takes pyramids only.
"""

from __future__ import annotations

from typing import Any, Final, cast

import torch.nn.functional as F
from torch import Tensor, nn

from geoseg.model.architecture import ANY_ENCODER, Architecture
from geoseg.model.library import check_encoder
from geoseg.model.single_value import allow_single_values

_PATCH: Final = 16


class UPerNetViT(nn.Module):
    """Logits at input size, upsampled from a quarter of it (`coarse`)."""

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        encoder: str,
        width: int = 256,
        image_size: int | None = None,
        encoder_weights: str | None = None,
    ) -> None:
        """Builds the network.

        Args:
            in_channels: bands of the input.
            classes: channels of the logits.
            encoder: tu-<name> of a Vision Transformer of timm with patches of 16 pixels; DINOv3's too.
            width: channels of the head.
            image_size: side of the tiles whose position embedding is learned; None: the encoder's own. It is
                interpolated for other sides, and encoders with rotary positions have none.
            encoder_weights: None, or imagenet to let timm download its weights.

        Raises:
            ValueError: a number out of its range, or an encoder without blocks of patches of 16 pixels.
            SettingsError: an encoder that is not known or not free.
        """
        super().__init__()
        if min(in_channels, classes, width) < 1:
            raise ValueError(f"UPerNet got {in_channels} bands, {classes} classes, width {width}: all are at least 1")
        check_encoder(encoder)
        self.encoder: Any = _vision_transformer(encoder, in_channels, image_size, pretrained=bool(encoder_weights))
        blocks, channels = len(cast(nn.ModuleList, self.encoder.blocks)), cast(int, self.encoder.embed_dim)
        self.levels = [blocks * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
        self.encoder.prune_intermediate_layers(self.levels, prune_norm=True, prune_head=True)
        self.neck = nn.ModuleList(
            [
                nn.Sequential(_double(channels), nn.BatchNorm2d(channels), nn.GELU(), _double(channels)),
                _double(channels),
                nn.Identity(),
                nn.MaxPool2d(2),
            ]
        )
        self.decoder = _decoder(channels, width)
        self.head = nn.Conv2d(width, classes, 1)
        allow_single_values(self)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w), h and w multiples of 32, at least 64."""
        return F.interpolate(self.coarse(pixels), size=pixels.shape[-2:], mode="bilinear")

    def coarse(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h / 4, w / 4)."""
        return cast(Tensor, self.head(self.decoder([pixels, pixels, *self.pyramid(pixels)])))

    def pyramid(self, pixels: Tensor) -> list[Tensor]:
        """Features at 1/4, 1/8, 1/16 and 1/32, all with the encoder's channels."""
        features = self.encoder.forward_intermediates(pixels, indices=self.levels, norm=False, intermediates_only=True)
        return [layer(level) for layer, level in zip(self.neck, features, strict=True)]


def _vision_transformer(encoder: str, in_channels: int, image_size: int | None, *, pretrained: bool) -> Any:
    """A plain transformer of timm that takes any size.

    Raises:
        ValueError: it is something else.
    """
    import timm

    size: dict[str, Any] = {} if image_size is None else {"img_size": image_size}
    name = encoder.removeprefix("tu-")
    if name == encoder or not name.startswith(("vit_", "deit", "eva", "beit")):
        raise ValueError(f"encoder {encoder!r} is no plain Vision Transformer: upernet:{encoder} takes pyramids")
    made: Any = timm.create_model(
        name, in_chans=in_channels, num_classes=0, dynamic_img_size=True, pretrained=pretrained, **size
    )
    patch = getattr(getattr(made, "patch_embed", None), "patch_size", None)
    if patch != (_PATCH, _PATCH) or not hasattr(made, "blocks"):
        raise ValueError(f"encoder {encoder!r} has patches of {patch}; the neck needs {_PATCH} x {_PATCH} pixels")
    return made


def _decoder(channels: int, width: int) -> nn.Module:
    """The head of smp for four levels; the two finer ones that it is given first are not looked at."""
    from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder

    return cast(nn.Module, UPerNetDecoder([0, 0, *[channels] * 4], decoder_channels=width))


def _double(channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, channels, 2, stride=2)


ARCHITECTURES: Final = (
    Architecture(
        name="upernet_vit",
        title="UPerNet over a plain Vision Transformer",
        build=UPerNetViT,
        source="Xiao et al. 2018, arXiv:1807.10221; Bao et al. 2021, arXiv:2106.08254",
        licence="Apache-2.0 (encoder: timm; head: MIT, segmentation-models-pytorch)",
        divisor=32,
        min_size=64,
        margin=None,
        encoders=(ANY_ENCODER,),
        default_encoder="tu-vit_small_patch16_dinov3",
    ),
)
