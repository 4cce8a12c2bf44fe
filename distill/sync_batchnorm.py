"""BatchNorm over all ranks on any backend: torch's SyncBatchNorm needs a GPU, gloo on a CPU does not have it."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _SumOverRanks(torch.autograd.Function):
    """Sum a tensor over ranks; its gradient is summed over ranks too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


class CrossRankBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose training statistics are those of the global batch; the same parameters and state."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        count = input.new_tensor([input.numel() / input.shape[1]])
        sums = _SumOverRanks.apply(torch.cat([input.sum(dim=(0, 2, 3)), count]))
        total = sums[-1].detach()
        mean = sums[:-1] / total
        # A second round for the squares: mean of squares minus square of mean loses digits where the mean is large.
        squares = (input - mean.view(1, -1, 1, 1)).square().sum(dim=(0, 2, 3))
        variance = _SumOverRanks.apply(squares) / total
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean.detach(), momentum)
            self.running_var.lerp_(variance.detach() * total / (total - 1).clamp(min=1), momentum)
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        return input * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


def synchronize_batchnorm(module: nn.Module, *, device_type: str) -> nn.Module:
    """Make every BatchNorm2d use the global batch: torch's SyncBatchNorm on CUDA, `CrossRankBatchNorm2d` elsewhere.

    Subclasses that add an activation (timm's BatchNormAct2d) keep it. Call before `deepspeed.initialize`.
    """
    if device_type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for child in module.modules():
        if type(child) is nn.BatchNorm2d:
            child.__class__ = CrossRankBatchNorm2d
        elif isinstance(child, nn.BatchNorm2d) and not isinstance(child, CrossRankBatchNorm2d):
            raise TypeError(f"{type(child).__name__} has no version that works across ranks without a GPU")
    return module
