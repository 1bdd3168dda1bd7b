"""The networks that segmentation-models-pytorch gives, over its free encoders and those of timm."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from torch import nn

from geoseg.errors import ResourceError, SettingsError
from geoseg.model.architecture import ANY_ENCODER, Architecture
from geoseg.model.nearest import unknown
from geoseg.model.single_value import allow_single_values

_LICENCE: Final = "MIT (segmentation-models-pytorch)"
_UNFREE: Final[Mapping[str, str]] = {
    "mit_": "smp's MiT encoder is under NVIDIA's non-commercial licence (segformer_b0 … b5 are geoseg's own)",
    "mobileone_": "smp's MobileOne encoder is under Apple's own licence",
}
_LOADING: Final = frozenset({"checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay"})
"""Arguments of timm that name files to load; a bundle's options may come from anybody."""


def build_smp(family: str, *, encoder: str, **arguments: Any) -> nn.Module:
    """A network of smp; nothing is downloaded unless the option encoder_weights asks for it.

    Raises:
        SettingsError: an encoder that is not free or not known, an unfit option.
        ResourceError: encoder weights could not be downloaded.
    """
    import segmentation_models_pytorch as smp

    check_encoder(encoder)
    build = smp.MODEL_ARCHITECTURES_MAPPING[family]
    name = f"{family}:{encoder}"
    for key in _LOADING.intersection(arguments):
        raise SettingsError(f"{name}: option {key!r} is refused: it would load a file; weights come with the bundle")
    if not encoder.startswith("tu-"):  # timm takes more arguments, and refuses unknown ones itself; smp does not
        _check_options(name, arguments, build)
    arguments = {"encoder_weights": None, **_any_size(encoder), **arguments}
    try:
        return allow_single_values(anchor_upsampling(build(encoder_name=encoder, **arguments)))
    except OSError as error:  # what huggingface_hub and requests raise when there is no way out
        raise ResourceError(
            f"encoder weights {arguments['encoder_weights']!r} of {name} could not be downloaded: leave "
            "encoder_weights out and give a file of weights"
        ) from error
    except (TypeError, KeyError, ValueError, RuntimeError) as error:
        reason = str(error).strip("'\"").splitlines()[0]
        raise SettingsError(f"{name} cannot be built with {arguments}: {reason}") from error


def anchor_upsampling(network: nn.Module) -> nn.Module:
    """The network itself, its upsampling layers anchored at the edges of pixels.

    smp anchors them at the centres of the corner pixels (align_corners), so that what a pixel is computed from shifts
    with the size of the tile, and no margin makes tiles equal the whole image.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Upsample) and layer.align_corners:
            layer.align_corners = False
    return network


def _any_size(encoder: str) -> Mapping[str, bool]:
    """Arguments with which the encoders of timm that are made for one tile size take others."""
    if encoder.startswith("tu-swin"):
        return {"strict_img_size": False}
    if encoder.startswith("tu-vit_") and "relpos" not in encoder:
        return {"dynamic_img_size": True}
    return {}


def free_encoders() -> tuple[str, ...]:
    """Those of smp; any of timm is free besides, as tu-<name>."""
    from segmentation_models_pytorch.encoders import encoders

    return tuple(sorted(name for name in encoders if not name.startswith(tuple(_UNFREE))))


def smp_class(family: str) -> Callable[..., nn.Module]:
    """What smp builds; its arguments are the options."""
    import segmentation_models_pytorch as smp

    build: Callable[..., nn.Module] = smp.MODEL_ARCHITECTURES_MAPPING[family]
    return build


def _check_options(name: str, arguments: Mapping[str, Any], build: Callable[..., Any]) -> None:
    known = list(inspect.signature(build).parameters)
    for key in arguments:
        if key not in known:
            raise SettingsError(f"{name}: {unknown('option', key, known)}")


def check_encoder(encoder: str) -> None:
    """Raises SettingsError for an encoder that is not known to smp or timm, or not free."""
    from segmentation_models_pytorch.encoders import encoders

    for prefix, reason in _UNFREE.items():
        if encoder.startswith(prefix):
            raise SettingsError(f"encoder {encoder!r} is refused: {reason}; choose e.g. resnet34")
    if encoder.startswith("tu-"):
        import timm

        if not timm.is_model(encoder.removeprefix("tu-")):
            raise SettingsError(unknown("encoder", encoder, [f"tu-{name}" for name in timm.list_models()]))
    elif encoder not in encoders:
        raise SettingsError(unknown("encoder", encoder, free_encoders()))


def _entry(
    name: str, title: str, source: str, sizes: tuple[int, int], *, margin: int | None, encoder: str = "resnet34"
) -> Architecture:
    """Sizes = (divisor, min_size), found by trying 48 … 128; that of `unet` is the phase of its deepest level (it
    takes any size, but is the same from tile to tile only at multiples of 32).
    """
    return Architecture(
        name=name,
        title=title,
        build=partial(build_smp, name),
        source=source,
        licence=_LICENCE,
        divisor=sizes[0],
        min_size=sizes[1],
        margin=margin,
        encoders=(ANY_ENCODER,),
        default_encoder=encoder,
    )


# Margin None: pooling or GroupNorm over the whole tile, or attention.
ARCHITECTURES: Final = (
    _entry("unet", "U-Net", "Ronneberger et al. 2015, arXiv:1505.04597", (32, 32), margin=544),
    _entry("unetplusplus", "U-Net++", "Zhou et al. 2018, arXiv:1807.10165", (32, 32), margin=544),
    _entry("manet", "MA-Net", "Fan et al. 2020, doi:10.1109/ACCESS.2020.3025372", (32, 32), margin=None),
    _entry("linknet", "LinkNet", "Chaurasia, Culurciello 2017, arXiv:1707.03718", (32, 32), margin=512),
    _entry("fpn", "FPN", "Kirillov et al. 2017, arXiv:1901.02446", (32, 32), margin=None),
    _entry("pspnet", "PSPNet", "Zhao et al. 2017, arXiv:1612.01105", (8, 48), margin=None),
    _entry("deeplabv3", "DeepLab v3", "Chen et al. 2017, arXiv:1706.05587", (8, 48), margin=None),
    _entry("deeplabv3plus", "DeepLab v3+", "Chen et al. 2018, arXiv:1802.02611", (16, 48), margin=None),
    _entry("pan", "PAN", "Li et al. 2018, arXiv:1805.10180", (16, 128), margin=None),
    _entry("upernet", "UPerNet", "Xiao et al. 2018, arXiv:1807.10221", (32, 64), margin=None),
    _entry("segformer", "SegFormer's head", "Xie et al. 2021, arXiv:2105.15203", (32, 32), margin=512),
    _entry(
        "dpt",
        "DPT",
        "Ranftl et al. 2021, arXiv:2103.13413",
        (32, 32),
        margin=None,
        encoder="tu-vit_small_patch16_dinov3",
    ),
)
