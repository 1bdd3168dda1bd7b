"""How far a network looks: the exact margin by its structure, the tolerance margin by measuring on images."""

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from geoseg.errors import BundleError

_WIDEST: Final = 8192
"""Columns tried before a network is taken to see the whole tile."""


def probe_margin(network: nn.Module, in_channels: int, divisor: int, *, min_size: int = 64) -> int | None:
    """The receptive field beyond an aligned block of `divisor` pixels, rounded up to the divisor; None if global.

    Each layer is replaced by a positive linear one (weights > 0, max -> mean, activations and normalisation ->
    identity), so that the gradient of a block of the output is above zero exactly on the columns it depends on.
    A tile whose origin is a multiple of the divisor equals the whole image, bit for bit, from this margin on.
    """
    linear = copy.deepcopy(network).cpu().eval().double()
    height = -(-max(min_size, 64) // divisor) * divisor
    width = 4 * height
    while width <= _WIDEST:
        try:
            columns = _columns_seen(linear, in_channels, (height, width), divisor)
        except _WholeTileError:
            return None
        first, last = int(columns[0]), int(columns[-1])
        if first > 0 and last < width - 1:
            start = _block_start(width, divisor)
            reach = max(start - first, last - (start + divisor - 1))
            return -(-reach // divisor) * divisor
        width *= 2
    return None


def tolerance_margin(
    network: nn.Module, images: Iterable[Tensor], *, tile: int, divisor: int, tolerance: float = 0.001
) -> int:
    """The smallest margin with which at most a share `tolerance` of the classes depends on the tiling.

    Args:
        network: in eval mode.
        images: normalised pixels (bands, height, width), larger than the tile by far on each side; sizes are
            multiples of the divisor.
        tile: side of the tile that is cut from the middle of each.
        divisor: margins tried are its multiples.
        tolerance: share of the pixels of the tile's centre.

    Raises:
        BundleError: no margin below half of the tile will do.
    """
    shares = disagreement_by_margin(network, images, tile=tile, divisor=divisor)
    for margin, share in shares.items():
        if share <= tolerance:
            return margin
    best = min(shares.values())
    raise BundleError(
        f"no margin below {max(shares)} px keeps the share of pixels that depend on the tiling at {tolerance:.3%} "
        f"(least: {best:.3%}): measure with a tile larger than {tile}"
    )


def disagreement_by_margin(
    network: nn.Module, images: Iterable[Tensor], *, tile: int, divisor: int
) -> dict[int, float]:
    """Margin -> share of the tile's centre whose class differs from that with the whole image around it."""
    margins = range(0, tile // 2, divisor)
    wrong = np.zeros(len(margins), np.int64)
    count = np.zeros(len(margins), np.int64)
    for image in images:
        differs = _differs(network, image, tile=tile, divisor=divisor)
        for k, margin in enumerate(margins):
            centre = differs[margin : tile - margin, margin : tile - margin]
            wrong[k] += np.count_nonzero(centre)
            count[k] += centre.size
    if not count.all():
        raise ValueError("no image to measure on")
    return {margin: float(wrong[k] / count[k]) for k, margin in enumerate(margins)}


def _differs(network: nn.Module, image: Tensor, *, tile: int, divisor: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    height, width = image.shape[-2:]
    if min(height, width) < tile + 2 * divisor:
        raise ValueError(f"image {height} x {width} gives no context to a tile of {tile}")
    row, col = ((side - tile) // 2 // divisor * divisor for side in (height, width))
    with torch.inference_mode():
        around = network(image[None])[0, :, row : row + tile, col : col + tile].float().cpu().numpy()
        alone = network(image[None, :, row : row + tile, col : col + tile])[0].float().cpu().numpy()
    different: np.ndarray[Any, np.dtype[np.bool_]] = around.argmax(0) != alone.argmax(0)
    return different


def _block_start(width: int, divisor: int) -> int:
    return width // 2 // divisor * divisor


def _columns_seen(network: nn.Module, in_channels: int, shape: tuple[int, int], divisor: int) -> Tensor:
    """Columns of the input that a block of the output's columns depends on; empty if it depends on none."""
    pixels = torch.ones(1, in_channels, *shape, dtype=torch.double, requires_grad=True)
    start = _block_start(shape[1], divisor)
    with _Linear():
        logits = network(pixels)
    logits[..., start : start + divisor].sum().backward()
    gradient = pixels.grad
    if gradient is None:
        raise ValueError("the network's output does not depend on its input")
    return (gradient[0].sum((0, 1)) > 0).nonzero().flatten()


Function = Callable[..., Any]
_IDENTITY: Final[frozenset[object]] = frozenset(
    {F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.gelu, F.silu, F.hardswish, F.elu, F.leaky_relu}
    | {F.relu6, F.prelu, torch.prelu, torch.tanh, F.dropout, F.dropout2d, F.hardtanh, F.mish, F.softmax}
    | {torch.softmax, Tensor.softmax, F.batch_norm, F.layer_norm}
)
_GATE: Final[frozenset[object]] = frozenset({torch.sigmoid, Tensor.sigmoid, F.sigmoid, F.hardsigmoid})
_WHOLE_TILE: Final[frozenset[object]] = frozenset(
    {F.group_norm, F.instance_norm, F.adaptive_avg_pool2d, F.adaptive_max_pool2d, F.scaled_dot_product_attention}
    | {torch.matmul, torch.bmm, torch.einsum, Tensor.matmul, Tensor.bmm, Tensor.__matmul__}
)
"""What mixes pixels of the whole tile. Matrix products are attention; windowed attention is counted as well."""
_REDUCE: Final[frozenset[object]] = frozenset(
    {torch.mean, Tensor.mean, torch.var, Tensor.var, torch.std, Tensor.std, torch.norm, Tensor.norm}
    | {torch.amax, Tensor.amax, torch.var_mean, torch.linalg.vector_norm}
)


class _WholeTileError(Exception):
    """A layer looked at the whole tile."""


class _Linear(TorchFunctionMode):
    """Runs a network as its positive linear image; stops where a layer looks at the whole tile."""

    def __torch_function__(
        self, func: Function, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func in _WHOLE_TILE or (func in _REDUCE and _over_pixels(args, named)):
            raise _WholeTileError
        if func is F.interpolate and (named.get("align_corners") or (len(args) > 4 and args[4])):
            raise _WholeTileError  # where a pixel is taken from depends on the size of the tile
        if func in _IDENTITY:
            return args[0]
        if func in _GATE:
            return 0.5 + 1e-3 * args[0]
        if func in (F.conv2d, F.conv_transpose2d):
            return func(*_positive(args, named), **named)
        if func is F.linear:
            return func(args[0], torch.full_like(args[1], 1.0 / args[1].shape[-1]))
        if func in (F.max_pool2d, torch.max_pool2d, F.max_pool2d_with_indices):
            return _mean_pool(*args, **named)
        return func(*args, **named)


def _positive(args: Sequence[Any], named: dict[str, Any]) -> list[Any]:
    """Arguments of a convolution with equal positive weights and no bias; `named` loses its bias too."""
    positive = list(args)
    positive[1] = torch.full_like(args[1], 1.0 / args[1][0].numel())
    if len(positive) > 2:
        positive[2] = None
    if "bias" in named:
        named["bias"] = None
    return positive


def _mean_pool(
    pixels: Tensor,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    dilation: int | tuple[int, int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    """Takes what max_pool2d takes."""
    if dilation not in (1, (1, 1)) or return_indices:
        raise ValueError("max pooling with dilation or indices cannot be probed")
    return F.avg_pool2d(pixels, kernel_size, stride, padding, ceil_mode, True)


def _over_pixels(args: Sequence[Any], named: dict[str, Any]) -> bool:
    """Whether a reduction of a 4-axis array runs over two axes or all: channels alone are one."""
    if not isinstance(args[0], Tensor) or args[0].dim() != 4:
        return False
    axes = args[1] if len(args) > 1 else named.get("dim")
    return not isinstance(axes, int) and (axes is None or len(axes) > 1)
