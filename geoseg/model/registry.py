"""Networks by name, whoever gives them: geoseg's own zoo, segmentation-models-pytorch, torchvision, transformers."""

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from geoseg.errors import BundleError, GeosegError, SettingsError
from geoseg.model.architecture import ANY_ENCODER, Architecture
from geoseg.model.framed import Framed
from geoseg.model.inflate import changed_axes, fit_bands, fit_classes
from geoseg.model.nearest import unknown
from geoseg.model.weights import Weights, load_state, read_state

MODULES: Final = (
    "zoo.unet",
    "zoo.pointwise",
    "zoo.deeplab",
    "zoo.deeplab_plus",
    "zoo.fastfcn",
    "zoo.fcn_resnet",
    "zoo.bisenet_v1",
    "zoo.bisenet_v2",
    "zoo.dfanet",
    "zoo.espnet",
    "zoo.espnet_v2",
    "zoo.fast_scnn",
    "zoo.fc_densenet",
    "zoo.fcn",
    "zoo.fcn_original",
    "zoo.gscnn",
    "zoo.liteseg",
    "zoo.segformer",
    "zoo.setr",
    "zoo.unet_valid",
    "zoo.swin_unet",
    "zoo.transunet",
    "zoo.upernet_vit",
    "mask2former",
    "foundation",
    "library",
)
"""Each has ARCHITECTURES. Of two entries with one name, the one without encoders is meant by the bare name."""


def create_model(
    name: str,
    *,
    in_channels: int,
    classes: int,
    options: Mapping[str, Any] | None = None,
    weights: Path | Weights | None = None,
) -> Framed:
    """A network pixels (n, in_channels, h, w) -> logits (n, classes, h, w) for any h and w, in training mode.

    Args:
        name: `unet`, `fcn8s:vgg16`, `upernet:tu-convnext_tiny`: an architecture, and after the colon its encoder.
        in_channels: bands.
        classes: channels of the logits.
        options: keyword arguments of the network. `encoder_weights: imagenet` asks smp to download weights;
            without it nothing is fetched.
        weights: state dict of the bare network or of its encoder: .safetensors, or .pt read without running code in
            it. Where it has another number of bands, the first convolution is inflated, and the network's `notes`
            say so.

    Raises:
        SettingsError: unknown name (nearest said), an encoder that is not free, an unfit option.
        ResourceError: encoder weights could not be downloaded, or an extra is not installed.
        BundleError: the weights are not this network's, or those of an encoder for a network that takes none alone.
    """
    architecture = find_architecture(name)
    bare = build_network(name, in_channels=in_channels, classes=classes, options=options)
    notes: tuple[str, ...] = ()
    if weights is not None:
        chosen = weights if isinstance(weights, Weights) else Weights(file=weights)
        if chosen.part == "encoder":
            notes = _load_encoder(bare, chosen, name=name)
        else:
            with torch.device("meta"):  # which layers depend on bands and on classes, without their memory
                more_bands = build_network(name, in_channels=in_channels + 1, classes=classes, options=options)
                more_classes = build_network(name, in_channels=in_channels, classes=classes + 1, options=options)
            notes = _load(bare, chosen, more_bands=more_bands, more_classes=more_classes)
    return Framed(bare, divisor=architecture.divisor, min_size=architecture.min_size, notes=notes)


def _load(bare: nn.Module, weights: Weights, *, more_bands: nn.Module, more_classes: nn.Module) -> tuple[str, ...]:
    """What had to be done to the file's weights."""
    place = str(weights.file)
    state = read_state(weights.file, sha256=weights.sha256)
    band_axes, class_axes = changed_axes(bare, more_bands), changed_axes(bare, more_classes)
    if weights.head == "new":  # what is new already has the bands it needs
        band_axes = {name: axes for name, axes in band_axes.items() if name not in class_axes}
    classes = fit_classes(state, bare, class_axes, head=weights.head, place=place)
    bands = fit_bands(classes.state, bare, band_axes, rgb=weights.rgb)
    load_state(bare, bands.state, place=place)
    return bands.notes + classes.notes


def _load_encoder(bare: nn.Module, weights: Weights, *, name: str) -> tuple[str, ...]:
    """What came from the file."""
    load = getattr(bare, "load_encoder", None)
    if load is None:
        raise BundleError(f"{name} takes no weights of an encoder alone: give those of a whole network (part: network)")
    state = read_state(weights.file, sha256=weights.sha256)
    try:
        load(state, rgb=weights.rgb)
    except (RuntimeError, ValueError, KeyError, AttributeError, TypeError) as error:
        lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
        raise BundleError(f"{weights.file} is no encoder of {name}: {lines[min(1, len(lines) - 1)][:200]}") from error
    return (f"encoder from {weights.file.name}; the rest is not trained yet",)


def build_network(name: str, *, in_channels: int, classes: int, options: Mapping[str, Any] | None = None) -> nn.Module:
    """The bare network of `create_model`: for sizes that are multiples of its divisor. What bundles hold.

    Raises:
        SettingsError, ResourceError: as `create_model`.
    """
    architecture = find_architecture(name)
    arguments: dict[str, Any] = {**(options or {}), "in_channels": in_channels, "classes": classes}
    if architecture.encoders:
        arguments["encoder"] = name.partition(":")[2] or architecture.default_encoder
    try:
        return architecture.build(**arguments)
    except GeosegError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise SettingsError(f"architecture {name!r}: {str(error).splitlines()[0]}") from error


def find_architecture(name: str) -> Architecture:
    """What is known of a network; encoder options such as depth are not looked at.

    Raises:
        SettingsError: unknown architecture or encoder, or an encoder for a network that takes none.
    """
    family, colon, encoder = name.partition(":")
    found = [one for one in list_architectures() if one.name == family]
    if not found:
        raise SettingsError(unknown("architecture", family, sorted({one.name for one in list_architectures()})))
    for one in found:
        if bool(one.encoders) == bool(colon) or (one.encoders and len(found) == 1 and _has_default(one)):
            if encoder and ANY_ENCODER not in one.encoders and encoder not in one.encoders:
                raise SettingsError(unknown(f"encoder of {family}", encoder, one.encoders))
            return one
    if colon:
        raise SettingsError(f"architecture {family!r} takes no encoder: say {family} alone")
    raise SettingsError(f"architecture {family!r} needs an encoder, e.g. {family}:{found[0].default_encoder}")


@lru_cache(maxsize=1)
def list_architectures() -> tuple[Architecture, ...]:
    """Every architecture, geoseg's own first."""
    return tuple(one for module in MODULES for one in import_module(f"geoseg.model.{module}").ARCHITECTURES)


def _has_default(architecture: Architecture) -> bool:
    """A name without its encoder is understood where the encoders are few and one of them is the paper's."""
    return architecture.default_encoder is not None and ANY_ENCODER not in architecture.encoders
