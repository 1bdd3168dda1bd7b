"""Which engine, precision and device a run gets: a fixed table, never a timing; and what to say if it is not there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from geoseg.errors import ResourceError, SettingsError
from geoseg.pipeline import Engine, Precision

_BF16_FLAGS: Final = ("amx_bf16", "avx512_bf16")
"""Processor flags (Linux) with which bfloat16 convolutions are quicker than float32 ones, by about two or more."""

_DENSE_ENCODERS: Final = (
    *("resnet", "resnext", "se_res", "senet", "vgg", "densenet", "dpn", "inception"),
    *("tu-resnet", "tu-resnext", "tu-wide_resnet", "tu-vgg", "tu-densenet", "tu-hrnet"),
    *("wide_resnet", "tu-vit", "tu-swin"),
)
"""Encoders of dense convolutions or matrix products. Depthwise ones gain nothing from bfloat16 on a CPU, or lose."""

_LIGHT: Final = frozenset({"dfanet_a", "espnet", "espnet_c", "espnetv2", "fast_scnn", "liteseg"})
"""Networks, called without an encoder, of depthwise or thin convolutions: bfloat16 costs classes and gains little."""

_FLOAT32: Final = frozenset({"mask2former"})
"""Networks whose classes are lost in bfloat16 wherever they are computed: they score with sums of many masks."""

_BF16_CAPABILITY: Final = (8, 0)
"""CUDA compute capability from which bfloat16 is native (Ampere)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What computes, decided: enters the pipeline's digest, device apart."""

    engine: Engine
    precision: Precision
    device: str
    """cpu or cuda:<number>."""


def resolve_engine(
    engine: Engine | Literal["auto"],
    precision: Precision | Literal["auto"],
    device: str,
    *,
    architecture: str = "unet",
) -> Resolved:
    """Replace each `auto` by what this machine has.

    CUDA where there is one, with bf16 from capability 8.0; else the CPU, with bf16 where the processor computes it
    and the architecture is of dense convolutions or attention; else fp32. Mask2Former is always computed in fp32.

    Raises:
        ResourceError: the device, the engine or the precision asked for is not there, with the remedy.
        SettingsError: engine and device contradict each other.
    """
    kind = device.partition(":")[0]
    if (engine == "torch-cuda" and kind == "cpu") or (engine == "torch-cpu" and kind == "cuda"):
        raise SettingsError(
            f"engine {engine} cannot run on device {device}: --set inference.engine=auto, or --set-config device=auto"
        )
    if engine == "torch-cuda" or kind == "cuda":
        return _on_cuda(precision, _cuda_device(device), architecture)
    if engine == "auto" and kind == "auto" and _cuda_count():
        return _on_cuda(precision, "cuda:0", architecture)
    return _on_cpu(precision, architecture)


def cpu_has_bf16() -> bool:
    """Whether the processor computes bfloat16; False where the system does not say (not Linux)."""
    try:
        content = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    flags = next((line for line in content.splitlines() if line.startswith("flags")), "")
    return any(flag in flags.split() for flag in _BF16_FLAGS)


def _on_cpu(precision: Precision | Literal["auto"], architecture: str) -> Resolved:
    able = cpu_has_bf16()
    if precision == "bf16" and not able:
        raise ResourceError(
            "this processor computes no bf16 (neither amx_bf16 nor avx512_bf16): --set inference.precision=fp32"
        )
    if precision == "auto":
        precision = "bf16" if able and _is_dense(architecture) else "fp32"
    return Resolved(engine="torch-cpu", precision=precision, device="cpu")


def _on_cuda(precision: Precision | Literal["auto"], device: str, architecture: str) -> Resolved:
    import torch

    capability = torch.cuda.get_device_capability(device)
    able = capability >= _BF16_CAPABILITY
    if precision == "bf16" and not able:
        raise ResourceError(
            f"{device} has compute capability {capability[0]}.{capability[1]}, bf16 needs 8.0: "
            "--set inference.precision=fp32"
        )
    if precision == "auto":
        precision = "bf16" if able and architecture not in _FLOAT32 else "fp32"
    return Resolved(engine="torch-cuda", precision=precision, device=device)


def _cuda_device(device: str) -> str:
    """cuda:<number>, after it was found."""
    count = _cuda_count()
    number = int(device.partition(":")[2] or 0)
    if number >= count:
        there = f"{count} CUDA device{'s' if count > 1 else ''}" if count else "no CUDA device"
        asked = device if device.startswith("cuda") else "torch-cuda"
        raise ResourceError(
            f"{asked} is asked for and {there} is there: --set inference.engine=torch-cpu and a cpu config"
        )
    return f"cuda:{number}"


def _cuda_count() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _is_dense(architecture: str) -> bool:
    """Whether nearly all work is in dense convolutions or matrix products."""
    family, _, encoder = architecture.partition(":")
    return encoder.startswith(_DENSE_ENCODERS) if encoder else family not in _LIGHT | _FLOAT32
