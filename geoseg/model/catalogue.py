"""What can be told of the architectures before one is chosen: facts, sizes, options; nothing is built in memory."""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import torch

from geoseg.errors import ResourceError
from geoseg.model import library
from geoseg.model.architecture import ANY_ENCODER, Architecture
from geoseg.model.margin import probe_margin
from geoseg.model.registry import build_network, find_architecture, list_architectures

BANDS: Final = 3
CLASSES: Final = 2
_GIVEN: Final = frozenset({"self", "in_channels", "classes", "encoder", "encoder_name", "activation", "aux_params"})
"""Arguments of a network that are no options: the registry gives them, or geoseg has its own way."""


def list_entries() -> list[dict[str, Any]]:
    """One entry per architecture, as JSON has it, with its default encoder."""
    return [_entry(one, _full_name(one)) for one in list_architectures()]


def describe(name: str) -> list[dict[str, Any]]:
    """Entries with encoders and options: of `unet:resnet18` one, of `unet` all that are called so.

    With an encoder that is not the default the margin is measured, which takes seconds.

    Raises:
        SettingsError: unknown name or encoder.
    """
    family, colon, encoder = name.partition(":")
    one = find_architecture(name) if colon else None
    chosen = [one] if one is not None else [entry for entry in list_architectures() if entry.name == family]
    if not chosen:
        find_architecture(name)  # says the nearest names
    return [_described(entry, name if colon else _full_name(entry), encoder) for entry in chosen]


def _described(one: Architecture, name: str, encoder: str) -> dict[str, Any]:
    entry = _entry(one, name)
    if encoder and encoder != one.default_encoder:
        network = build_network(name, in_channels=1, classes=1)
        entry["margin"] = probe_margin(network, 1, one.divisor, min_size=one.min_size)
    encoders = (
        [*library.free_encoders(), "tu-NAME for any NAME of timm"] if ANY_ENCODER in one.encoders else one.encoders
    )
    return {**entry, "encoders": list(encoders), "options": list_options(one)}


def _entry(one: Architecture, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "title": one.title,
        "parameters": count_parameters(name),
        "divisor": one.divisor,
        "min_size": one.min_size,
        "margin": one.margin,
        "licence": one.licence,
        "source": one.source,
        "extra": one.extra,
    }


def count_parameters(name: str, *, in_channels: int = BANDS, classes: int = CLASSES) -> int | None:
    """Of the bare network; None where the extra it needs is not installed.

    Raises:
        SettingsError: unknown name or encoder.
    """
    try:
        with torch.device("meta"):
            network = build_network(name, in_channels=in_channels, classes=classes)
    except ResourceError:
        return None
    return sum(one.numel() for one in network.parameters())


def list_options(one: Architecture) -> dict[str, Any]:
    """Option -> its default; `required` where there is none."""
    is_smp = one in library.ARCHITECTURES
    function = library.smp_class(one.name) if is_smp else one.build
    bound: Mapping[str, Any] = one.build.keywords if isinstance(one.build, partial) else {}
    options = {
        name: "required" if parameter.default is inspect.Parameter.empty else _plain(parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in _GIVEN | bound.keys()
        and parameter.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    }
    return {**options, "encoder_weights": None} if is_smp else options  # nothing is downloaded unless asked for


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _full_name(one: Architecture) -> str:
    return f"{one.name}:{one.default_encoder}" if one.encoders else one.name
