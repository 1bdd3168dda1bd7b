"""BatchNorm that also trains where a channel has one value: pooled images, batches of one; nothing else of training."""

import torch.nn.functional as F
from torch import Tensor, nn


class SingleValueBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d, but a batch with one value per channel is normalised by the running statistics and left out of them.

    Such a batch has no variance: torch refuses it. State dict, evaluation and all other batches are BatchNorm2d's.
    """

    def forward(self, value: Tensor) -> Tensor:
        """(n, channels, h, w), the same size."""
        if self.training and value.numel() == value.shape[1] and self.running_mean is not None:
            return F.batch_norm(value, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(value)


def allow_single_values(network: nn.Module) -> nn.Module:
    """The network itself, its BatchNorm2d layers (not their subclasses) replaced; names and tensors stay."""
    for name, norm in list(network.named_modules()):
        if type(norm) is nn.BatchNorm2d:
            one = SingleValueBatchNorm2d(norm.num_features, eps=norm.eps, momentum=norm.momentum)
            one.weight, one.bias = norm.weight, norm.bias
            one.running_mean, one.running_var = norm.running_mean, norm.running_var
            one.num_batches_tracked = norm.num_batches_tracked
            network.set_submodule(name, one)
    return network
