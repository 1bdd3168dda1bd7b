"""State dicts from files into networks, without running code that is in them."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import nn

from geoseg.errors import BundleError


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
