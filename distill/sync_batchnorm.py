"""Synchronised BatchNorm for any backend; torch's SyncBatchNorm needs a GPU and does not support gloo on a CPU."""

from typing import Any

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
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
    """BatchNorm2d with training statistics of the global batch; parameters and state are the same."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape and dtype; statistics are float32, also where autocast hands in bfloat16."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        return self._normalise(input.float()).to(input.dtype)

    def _normalise(self, input: Tensor) -> Tensor:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        count = input.new_tensor([input.numel() / input.shape[1]])
        sums = _SumOverRanks.apply(torch.cat([input.sum(dim=(0, 2, 3)), count]))
        total = sums[-1].detach()
        mean = sums[:-1] / total
        # Two passes, because mean of squares minus squared mean loses precision for large means.
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


class CrossRankBatchNormAct2d(CrossRankBatchNorm2d):
    """timm's BatchNormAct2d, BatchNorm with dropout and an activation behind it, over all ranks."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        activated: Tensor = self.act(self.drop(super().forward(input)))
        return activated


KINDS: dict[type, type[CrossRankBatchNorm2d]] = {
    nn.BatchNorm2d: CrossRankBatchNorm2d,
    BatchNormAct2d: CrossRankBatchNormAct2d,
}


def synchronize_batchnorm(module: nn.Module, *, device_type: str) -> nn.Module:
    """Make every BatchNorm2d use the global batch: torch's SyncBatchNorm on CUDA, `CrossRankBatchNorm2d` elsewhere.

    timm's BatchNormAct2d keeps its activation. Call before `deepspeed.initialize`.
    """
    if device_type == "cuda":
        return convert_sync_batchnorm(module)  # timm's: torch's own would drop BatchNormAct2d's activation
    for child in module.modules():
        if type(child) in KINDS:
            child.__class__ = KINDS[type(child)]
        elif isinstance(child, nn.BatchNorm2d) and not isinstance(child, CrossRankBatchNorm2d):
            raise TypeError(f"{type(child).__name__} has no version that works across ranks without a GPU")
    return module
