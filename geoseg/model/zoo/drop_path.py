"""Stochastic depth of the transformers of this folder; own, since importing that of timm takes two seconds."""

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """In training leaves a residual branch out, sample by sample; the rest is scaled so that the mean stays.

    Huang et al. 2016, arXiv:1603.09382.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """The branch (n, ...), each sample whole or zero."""
        if not self.training or not self.rate:
            return branch
        kept = torch.rand(branch.shape[0], device=branch.device) >= self.rate
        return branch * (kept / (1 - self.rate)).to(branch.dtype).reshape(-1, *[1] * (branch.dim() - 1))


def growing_rates(last: float, blocks: int) -> list[float]:
    """Rates of the blocks in order: linear from 0 to `last`."""
    return [last * block / max(blocks - 1, 1) for block in range(blocks)]
