"""Any input size for a network that takes multiples of its divisor: pad, compute, crop."""

from collections.abc import Callable
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn


class Framed(nn.Module):
    """A network whose logits have the size of its input, whatever that size is.

    The input is padded at the bottom and right by mirroring (by repeating the edge where it is too small to be
    mirrored) and the logits are cropped. `bare` is the network itself: its state dict is what bundles hold.
    `notes` says what was done to a user's weights to fit them.
    """

    def __init__(self, bare: nn.Module, *, divisor: int, min_size: int, notes: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.bare = bare
        self.divisor = divisor
        self.min_size = min_size
        self.notes = notes

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, classes, h, w) of pixels (n, in_channels, h, w)."""
        height, width = pixels.shape[-2:]
        return cast(Tensor, self.bare(self._padded(pixels)))[..., :height, :width]

    def forward_train(self, pixels: Tensor) -> dict[str, Tensor]:
        """Every output by name, `out` = the logits; all at the input's size."""
        compute = cast("Callable[[Tensor], dict[str, Tensor]] | None", getattr(self.bare, "forward_train", None))
        if compute is None:
            return {"out": self(pixels)}
        height, width = pixels.shape[-2:]
        outputs = compute(self._padded(pixels))
        return {name: value[..., :height, :width] for name, value in outputs.items()}

    def _padded(self, pixels: Tensor) -> Tensor:
        height, width = pixels.shape[-2:]
        below, right = (_multiple(side, self.divisor, self.min_size) - side for side in (height, width))
        if not below and not right:
            return pixels
        mode = "reflect" if below < height and right < width else "replicate"
        return F.pad(pixels, (0, right, 0, below), mode=mode)


def _multiple(side: int, divisor: int, min_size: int) -> int:
    return -(-max(side, min_size) // divisor) * divisor
