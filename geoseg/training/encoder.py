"""What of a network looks at the image and can be kept while its head is made new; nothing is trained here."""

from collections.abc import Mapping
from typing import Any, Final

import torch

from geoseg.model.registry import build_network

_STARTS: Final = ("encoder", "features", "backbone", "resnet", "patch_embed")


def encoder_prefix(architecture: str, *, options: Mapping[str, Any], in_channels: int) -> str | None:
    """How the names of an encoder's parameters begin; None for a network that has no part of that kind.

    Raises:
        SettingsError: the network cannot be built.
    """
    with torch.device("meta"):
        network = build_network(architecture, in_channels=in_channels, classes=2, options=dict(options))
    names = [name for name, _ in network.named_parameters()]
    return next((start for start in _STARTS if any(name.startswith(start) for name in names)), None)
