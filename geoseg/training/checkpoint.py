"""The state of a training run in one file, written whole or not at all; no code is in it, and none is run to read it.

Weights, their average, the best ones and the optimiser's tensors are a .safetensors file; the few numbers besides
are JSON in its header. There are no random states: every random number is drawn from (seed, step, part).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from geoseg.errors import ProductError, ResourceError

LAST: Final = "last.safetensors"
"""What a run resumes from."""
BEST: Final = "best.safetensors"
"""State dict of the averaged network at the best evaluation; `weights:` of another run may name it."""
_KEY: Final = "geoseg-training"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Tensors by name, and numbers."""

    tensors: dict[str, Tensor]
    record: dict[str, Any]
    """What JSON can hold."""

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name begins with the prefix and a dot, without it."""
        start = f"{prefix}."
        return {name.removeprefix(start): one for name, one in self.tensors.items() if name.startswith(start)}


def named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, each with the prefix and a dot before its name."""
    return {f"{prefix}.{name}": one for name, one in tensors.items()}


def write_checkpoint(file: Path, checkpoint: Checkpoint) -> None:
    """Writes beside, flushes to disk, moves into place: a crash leaves the old file or the new one.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written.
    """
    tensors = {
        name: one.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        for name, one in checkpoint.tensors.items()
    }
    beside = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        beside.touch()
        mode = beside.stat().st_mode  # as the user's umask has it; safetensors makes files that only the owner reads
        save_file(tensors, beside, metadata={_KEY: json.dumps(checkpoint.record)})
        beside.chmod(mode)
        move_into_place(beside, file)
    except (OSError, SafetensorError) as error:
        raise ResourceError(f"{file} cannot be written ({error}): free space there or choose another place") from error
    finally:
        beside.unlink(missing_ok=True)


def read_checkpoint(file: Path) -> Checkpoint:
    """What `write_checkpoint` wrote.

    Raises:
        ProductError: damaged, or no checkpoint.
    """
    try:
        with safe_open(file, framework="pt") as content:
            record = json.loads((content.metadata() or {})[_KEY])
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ProductError(
            f"{file} is no checkpoint that can be read ({error}): delete it to train from the start"
        ) from error
    return Checkpoint(tensors=tensors, record=record)


def move_into_place(beside: Path, file: Path) -> None:
    """A finished file gets its name, surviving a power cut on either side of it.

    Raises:
        OSError: the disk is full.
    """
    with beside.open("rb") as stream:
        os.fsync(stream.fileno())
    beside.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
