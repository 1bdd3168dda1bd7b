"""Networks by name: smp's architectures over free encoders, the padded U-Net, and what tiling must know of them."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import nn

from geoseg.errors import BundleError, ResourceError, SettingsError
from geoseg.model.zoo.unet import UNet


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureFacts:
    """What tiling must know of a network before it is built."""

    divisor: int
    """Tile sides and origins must be multiples of it."""
    min_size: int
    """Smallest tile side."""
    is_global: bool
    """True = every output pixel depends on the whole tile. False may still be global by its encoder
    (squeeze-excitation, attention): `margin.probe_margin` has the last word."""


def _facts(divisor: int, min_size: int, *, is_global: bool = False) -> ArchitectureFacts:
    return ArchitectureFacts(divisor=divisor, min_size=min_size, is_global=is_global)


# Sizes that each accepts were found by trying 48 … 128; the divisor of `unet` is the phase of its deepest level
# (it takes any size, but is the same from tile to tile only at multiples of 32). Global: pooling or GroupNorm
# over the whole tile, or attention.
_SMP: Final[Mapping[str, ArchitectureFacts]] = {
    "unet": _facts(32, 32),
    "unetplusplus": _facts(32, 32),
    "manet": _facts(32, 32, is_global=True),
    "linknet": _facts(32, 32),
    "fpn": _facts(32, 32, is_global=True),
    "pspnet": _facts(8, 48, is_global=True),
    "deeplabv3": _facts(8, 48, is_global=True),
    "deeplabv3plus": _facts(16, 48, is_global=True),
    "pan": _facts(16, 128, is_global=True),
    "upernet": _facts(32, 64, is_global=True),
    "segformer": _facts(32, 32),
    "dpt": _facts(32, 32, is_global=True),
}
_UNFREE: Final[Mapping[str, str]] = {
    "mit_": "smp's MiT encoder is under NVIDIA's non-commercial licence",
    "mobileone_": "smp's MobileOne encoder is under Apple's own licence",
}
_LOADING: Final = frozenset({"checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay"})
"""Arguments of timm that name files to load; a bundle's options may come from anybody."""


def create_model(
    architecture: str,
    *,
    in_channels: int,
    classes: int,
    options: Mapping[str, Any] | None = None,
    weights: Path | None = None,
) -> nn.Module:
    """A network (n, in_channels, h, w) -> logits (n, classes, h, w), in training mode.

    Args:
        architecture: `unet` (own, padded), `pointwise` (one 1 x 1 convolution), or
            `<smp architecture>:<encoder>`, e.g. `unet:resnet18`, `upernet:tu-convnext_tiny`.
        in_channels: bands.
        classes: channels of the logits.
        options: keyword arguments of the network. `encoder_weights: imagenet` asks smp to download weights;
            without it nothing is fetched.
        weights: state dict of the whole network: .safetensors, or .pt read without running code in it.

    Raises:
        SettingsError: unknown name (nearest said), an encoder that is not free, an unfit option.
        ResourceError: encoder weights could not be downloaded.
        BundleError: the weights are not this network's.
    """
    family, _, encoder = architecture.partition(":")
    arguments: dict[str, Any] = {**(options or {}), "in_channels": in_channels, "classes": classes}
    if encoder:
        network = _create_smp(family, encoder, arguments)
    else:
        try:
            network = _own(architecture)(**arguments)
        except (TypeError, ValueError, RuntimeError) as error:
            raise SettingsError(f"architecture {architecture!r}: {str(error).splitlines()[0]}") from error
    if weights is not None:
        load_state(network, read_state(weights), place=str(weights))
    return network


def architecture_facts(architecture: str) -> ArchitectureFacts:
    """Divisor, smallest size and globality by name; encoder options such as depth are not looked at.

    Raises:
        SettingsError: unknown name.
    """
    family, _, encoder = architecture.partition(":")
    if encoder:
        return _SMP[_smp_family(family)]
    _own(architecture)
    return _facts(1, 1) if architecture == "pointwise" else _facts(16, 16)


def read_state(file: Path) -> dict[str, torch.Tensor]:
    """The state dict in a .safetensors file, or in a .pt file without running code in it.

    Raises:
        BundleError: unreadable, or a .pt that holds more than tensors.
    """
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        return cast(dict[str, torch.Tensor], torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:  # both libraries raise their own kinds for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BundleError(f"{file} holds no readable weights ({reason}): give a .safetensors state dict") from error


def load_state(network: nn.Module, state: Mapping[str, torch.Tensor], *, place: str) -> None:
    """Put a state dict (any float dtype) into a network of float32.

    Raises:
        BundleError: names or shapes differ; the first difference is said.
    """
    try:
        network.load_state_dict(dict(state))
    except (RuntimeError, AttributeError, TypeError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = lines[1] if len(lines) > 1 else lines[0]
        raise BundleError(f"{place} does not fit the architecture it is for: {reason[:200]}") from error


class Pointwise(nn.Conv2d):
    """One 1 x 1 convolution: each pixel by itself; it cannot see tiles."""

    def __init__(self, *, in_channels: int, classes: int) -> None:
        super().__init__(in_channels, classes, kernel_size=1)


def _own(architecture: str) -> Callable[..., nn.Module]:
    networks: dict[str, Callable[..., nn.Module]] = {"unet": UNet, "pointwise": Pointwise}
    if architecture in networks:
        return networks[architecture]
    if architecture in _SMP:
        raise SettingsError(f"architecture {architecture!r} needs an encoder, e.g. {architecture}:resnet18")
    raise SettingsError(_unknown("architecture", architecture, [*networks, *_SMP]))


def _smp_family(family: str) -> str:
    if family not in _SMP:
        raise SettingsError(_unknown("architecture", family, list(_SMP)))
    return family


def _create_smp(family: str, encoder: str, arguments: dict[str, Any]) -> nn.Module:
    import segmentation_models_pytorch as smp

    _check_encoder(encoder)
    build = smp.MODEL_ARCHITECTURES_MAPPING[_smp_family(family)]
    name = f"{family}:{encoder}"
    for key in _LOADING.intersection(arguments):
        raise SettingsError(f"{name}: option {key!r} is refused: it would load a file; weights come with the bundle")
    if not encoder.startswith("tu-"):  # timm takes more arguments, and refuses unknown ones itself; smp does not
        _check_options(name, arguments, list(inspect.signature(build).parameters))
    arguments = {"encoder_weights": None, **arguments}
    try:
        return cast(nn.Module, build(encoder_name=encoder, **arguments))
    except OSError as error:  # what huggingface_hub and requests raise when there is no way out
        raise ResourceError(
            f"encoder weights {arguments['encoder_weights']!r} of {name} could not be downloaded: leave "
            "encoder_weights out and give a file of weights"
        ) from error
    except (TypeError, KeyError, ValueError, RuntimeError) as error:
        reason = str(error).strip("'\"").splitlines()[0]
        raise SettingsError(f"{name} cannot be built with {arguments}: {reason}") from error


def _check_options(name: str, arguments: Mapping[str, Any], known: list[str]) -> None:
    for key in arguments:
        if key not in known:
            raise SettingsError(f"{name}: {_unknown('option', key, known)}")


def _check_encoder(encoder: str) -> None:
    from segmentation_models_pytorch.encoders import encoders

    for prefix, reason in _UNFREE.items():
        if encoder.startswith(prefix):
            raise SettingsError(f"encoder {encoder!r} is refused: {reason}; choose e.g. resnet34")
    if encoder.startswith("tu-"):
        import timm

        if not timm.is_model(encoder.removeprefix("tu-")):
            raise SettingsError(_unknown("encoder", encoder, [f"tu-{name}" for name in timm.list_models()]))
    elif encoder not in encoders:
        free = [name for name in encoders if not name.startswith(tuple(_UNFREE))]
        raise SettingsError(_unknown("encoder", encoder, free))


def _unknown(kind: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"{kind} {name!r} is not known: nearest are {', '.join(near or sorted(known)[:8])}"
