"""State dicts from files into networks, without running code that is in them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from torch import nn

from geoseg.errors import BundleError


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A user's file of weights, and how it is fitted to a network of other bands or classes."""

    file: Path
    """A state dict: .safetensors, or .pt."""
    part: Literal["network", "encoder"] = "network"
    """What the state dict is of: the bare network, or its encoder alone, as torchvision has it (ResNet, VGG)."""
    sha256: str | None = None
    """Of the file, in hexadecimal; None: it is not checked."""
    head: Literal["same", "new"] = "same"
    """`new`: what depends on the number of classes is not taken from the file."""
    rgb: tuple[int, int, int] | None = None
    """Positions of red, green and blue among the network's bands, from 0, for a file of 3 bands; None: unknown."""


def read_state(file: Path, *, sha256: str | None = None) -> dict[str, torch.Tensor]:
    """The state dict in a .safetensors file, or in a .pt file without running code in it.

    Args:
        file: its name says which.
        sha256: what the file must have, in hexadecimal; looked at before anything is loaded.

    Raises:
        BundleError: unreadable, another checksum, or a .pt that holds more than tensors.
    """
    if sha256 is not None:
        _check_digest(file, sha256)
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


def _check_digest(file: Path, sha256: str) -> None:
    try:
        with file.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(
            f"{file} holds no readable weights ({error.strerror}): give a .safetensors state dict"
        ) from error
    if found != sha256.lower():
        raise BundleError(f"{file} has sha256 {found}, not {sha256}: fetch the file again, or give its own checksum")
