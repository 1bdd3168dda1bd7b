"""Engines and precisions by the table; what is not there is refused with the remedy."""

from pathlib import Path
from typing import Any

import pytest
import torch

from geoseg.errors import ResourceError, SettingsError
from geoseg.model import precision
from geoseg.model.precision import Resolved, cpu_has_bf16, resolve_engine


def machine(
    monkeypatch: pytest.MonkeyPatch, *, bf16: bool = True, cuda: int = 0, capability: tuple[int, int] = (8, 0)
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: bf16)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)


def resolved(engine: Any, exact: Any, device: str) -> Resolved:
    return Resolved(engine=engine, precision=exact, device=device)


def test_auto_on_a_cpu_takes_bf16_where_there_is_one_and_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    attention = ("segformer_b0", "swin_unet", "setr_pup", "transunet", "upernet_vit:tu-vit_small_patch16_dinov3")
    convolutions = ("unet", "pointwise", "unet:resnet18", "fpn:vgg11_bn", "linknet:se_resnet50", "gscnn:wide_resnet38")
    for dense in (*convolutions, *attention):
        assert resolve_engine("auto", "auto", "auto", architecture=dense) == resolved("torch-cpu", "bf16", "cpu")
    light = ("fast_scnn", "dfanet_a", "espnet", "espnetv2", "liteseg", "liteseg:shufflenet_v2", "mask2former")
    for thin in (*light, "unet:mobilenet_v2", "unet:efficientnet-b0", "upernet:tu-convnext_tiny", "deeplabv3:xception"):
        assert resolve_engine("auto", "auto", "auto", architecture=thin) == resolved("torch-cpu", "fp32", "cpu")
    assert resolve_engine("torch-cpu", "fp32", "cpu") == resolved("torch-cpu", "fp32", "cpu")
    machine(monkeypatch, bf16=False)
    assert resolve_engine("auto", "auto", "cpu") == resolved("torch-cpu", "fp32", "cpu")


def test_auto_takes_cuda_where_it_is_unless_the_cpu_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=2)
    assert resolve_engine("auto", "auto", "auto") == resolved("torch-cuda", "bf16", "cuda:0")
    assert resolve_engine("auto", "auto", "cuda:1") == resolved("torch-cuda", "bf16", "cuda:1")
    assert resolve_engine("torch-cuda", "fp32", "cuda") == resolved("torch-cuda", "fp32", "cuda:0")
    assert resolve_engine("torch-cpu", "auto", "auto") == resolved("torch-cpu", "bf16", "cpu")
    assert resolve_engine("auto", "auto", "cpu") == resolved("torch-cpu", "bf16", "cpu")
    masks = resolve_engine("auto", "auto", "auto", architecture="mask2former")
    assert masks == resolved("torch-cuda", "fp32", "cuda:0")
    machine(monkeypatch, cuda=1, capability=(7, 5))
    assert resolve_engine("auto", "auto", "auto") == resolved("torch-cuda", "fp32", "cuda:0")


@pytest.mark.parametrize(
    ("there", "asked", "message"),
    [
        ({}, ("torch-cuda", "auto", "auto"), "torch-cuda is asked for and no CUDA device is there: --set inference"),
        ({}, ("auto", "auto", "cuda:0"), "cuda:0 is asked for and no CUDA device is there"),
        ({"cuda": 1}, ("auto", "auto", "cuda:3"), "cuda:3 is asked for and 1 CUDA device is there"),
        ({"bf16": False}, ("auto", "bf16", "cpu"), r"no bf16 .*: --set inference\.precision=fp32"),
        ({"cuda": 1, "capability": (7, 0)}, ("auto", "bf16", "cuda"), r"capability 7\.0, bf16 needs 8\.0"),
    ],
)
def test_what_is_not_there_is_refused(
    there: dict[str, Any], asked: tuple[Any, Any, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, **there)
    with pytest.raises(ResourceError, match=message):
        resolve_engine(*asked)


def test_engine_and_device_that_contradict_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=1)
    for engine, device in (("torch-cpu", "cuda:0"), ("torch-cuda", "cpu")):
        with pytest.raises(SettingsError, match=f"engine {engine} cannot run on device {device}"):
            resolve_engine(engine, "auto", device)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "able"),
    [
        ("processor : 0\nflags\t\t: fpu avx512f avx512_bf16 amx_tile\n", True),
        ("flags : fpu amx_bf16\n", True),
        ("flags : fpu avx512f avx512_bf16x\n", False),
        ("Features : fp asimd bf16\n", False),
        ("", False),
    ],
)
def test_the_processor_is_asked_through_its_flags(content: str, able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_args, **_named: content)
    assert cpu_has_bf16() is able


def test_a_system_that_does_not_say_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_args: Any, **_named: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", absent)
    assert cpu_has_bf16() is False
