"""Batch normalisation folded into the convolution before it, for inference; proven on the spot or not done."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_TOLERANCE = 1e-4
"""Largest difference of a logit, relative to the largest logit, that float32 rounding explains."""


def fold_batch_norm(network: nn.Module, example: Tensor) -> tuple[nn.Module, int]:
    """(a copy with each foldable pair folded, their number), or (the network itself, 0).

    Pairs are found by running `example` and seeing which BatchNorm receives the very tensor a convolution made,
    so attributes (resnet blocks) are found as well as sequences. A layer that is called twice is left. The copy is
    returned only if it gives the logits of the original on `example`.

    Args:
        network: in eval mode, float32.
        example: (n, bands, h, w) float32, a size the network accepts.
    """
    folded = copy.deepcopy(network)
    with torch.inference_mode():
        expected, pairs = _find_pairs(folded, example)
    for conv_name, norm_name in pairs:
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        if not isinstance(norm, nn.BatchNorm2d) or not isinstance(conv, nn.Conv2d | nn.ConvTranspose2d):
            continue
        fused = fuse_conv_bn_eval(conv, norm, transpose=isinstance(conv, nn.ConvTranspose2d))
        _replace(folded, conv_name, fused)
        _replace(folded, norm_name, nn.Identity())
    with torch.inference_mode():
        difference = (folded(example) - expected).abs().max()
    if not pairs or not bool(difference <= _TOLERANCE * expected.abs().max().clamp(min=1.0)):
        return network, 0
    return folded, len(pairs)


def _find_pairs(network: nn.Module, example: Tensor) -> tuple[Tensor, list[tuple[str, str]]]:
    """(logits, [(name of a convolution, name of the BatchNorm that its output enters)])."""
    made_by: dict[int, tuple[str, Tensor]] = {}  # the tensors are kept, so that no id is used again
    calls: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []

    def after_convolution(name: str, output: Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1
        made_by[id(output)] = (name, output)

    def before_norm(name: str, value: Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1
        if id(value) in made_by:
            pairs.append((made_by[id(value)][0], name))

    handles = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            handles.append(module.register_forward_hook(lambda _m, _i, out, n=name: after_convolution(n, out)))
        elif isinstance(module, nn.BatchNorm2d):
            handles.append(module.register_forward_pre_hook(lambda _m, args, n=name: before_norm(n, args[0])))
    try:
        logits = network(example)
    finally:
        for handle in handles:
            handle.remove()
    return logits, [pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == 1]


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)
