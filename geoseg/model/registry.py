"""Networks by name, whoever gives them: geoseg's own zoo, segmentation-models-pytorch, torchvision, transformers."""

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from torch import nn

from geoseg.errors import GeosegError, SettingsError
from geoseg.model.architecture import ANY_ENCODER, Architecture
from geoseg.model.framed import Framed
from geoseg.model.nearest import unknown
from geoseg.model.weights import load_state, read_state

MODULES: Final = (
    "zoo.unet",
    "zoo.pointwise",
    "zoo.deeplab",
    "zoo.deeplab_plus",
    "zoo.fastfcn",
    "zoo.fcn_resnet",
    "zoo.bisenet_v1",
    "zoo.bisenet_v2",
    "zoo.espnet",
    "zoo.espnet_v2",
    "zoo.fast_scnn",
    "zoo.fc_densenet",
    "zoo.fcn",
    "zoo.fcn_original",
    "zoo.segformer",
    "zoo.setr",
    "zoo.swin_unet",
    "library",
)
"""Each has ARCHITECTURES. Of two entries with one name, the one without encoders is meant by the bare name."""


def create_model(
    name: str,
    *,
    in_channels: int,
    classes: int,
    options: Mapping[str, Any] | None = None,
    weights: Path | None = None,
) -> Framed:
    """A network pixels (n, in_channels, h, w) -> logits (n, classes, h, w) for any h and w, in training mode.

    Args:
        name: `unet`, `fcn8s:vgg16`, `upernet:tu-convnext_tiny`: an architecture, and after the colon its encoder.
        in_channels: bands.
        classes: channels of the logits.
        options: keyword arguments of the network. `encoder_weights: imagenet` asks smp to download weights;
            without it nothing is fetched.
        weights: state dict of the bare network: .safetensors, or .pt read without running code in it.

    Raises:
        SettingsError: unknown name (nearest said), an encoder that is not free, an unfit option.
        ResourceError: encoder weights could not be downloaded, or an extra is not installed.
        BundleError: the weights are not this network's.
    """
    architecture = find_architecture(name)
    bare = build_network(name, in_channels=in_channels, classes=classes, options=options)
    if weights is not None:
        load_state(bare, read_state(weights), place=str(weights))
    return Framed(bare, divisor=architecture.divisor, min_size=architecture.min_size)


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
