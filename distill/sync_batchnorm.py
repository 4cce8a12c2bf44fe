"""Synchronised BatchNorm for any backend; torch's SyncBatchNorm needs a GPU and does not support gloo on a CPU."""

from typing import Any

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class _BatchNormOverRanks(torch.autograd.Function):
    """Normalise by the statistics of all ranks' inputs, with torch's own kernels and one collective each way."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the output, and the mean, the biased variance and the number of values a channel over all ranks."""
        means, variances, counts = _statistics_of_ranks(input)
        total = counts.sum(dim=0)
        mean = (means * counts).sum(dim=0) / total
        # Around the common mean: mean of squares minus squared mean would lose precision where means are large.
        variance = ((variances + (means - mean).square()) * counts).sum(dim=0) / total
        ctx.save_for_backward(input, weight, mean, variance, total)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, total)
        return _normalise(input, weight, bias, mean, variance, eps), mean, variance, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # type: ignore[override]
        """Gradients of the input, and those of weight and bias from this rank's input alone, which the step averages."""
        input, weight, mean, variance, total = ctx.saved_tensors
        # As if the statistics were constants...
        of_input, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, input, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        # ...and what reaches the input through them, which is BatchNorm of the input with other coefficients.
        over_ranks = torch.stack([of_weight, of_bias])
        dist.all_reduce(over_ranks)
        through_variance, through_mean = over_ranks * (weight * torch.rsqrt(variance + ctx.eps) / total)
        of_input.sub_(_normalise(input, through_variance, through_mean, mean, variance, ctx.eps))
        return of_input, of_weight, of_bias, None


def _statistics_of_ranks(input: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, C, H, W) -> means (ranks, C), biased variances (ranks, C) and numbers of values a channel (ranks, 1)."""
    channels = input.shape[1]
    count = torch.full((1,), input.numel() / channels, dtype=input.dtype, device=input.device)
    own = torch.cat([*torch.batch_norm_update_stats(input, None, None, 0.0), count])
    ranks = own.new_empty(dist.get_world_size() * own.numel())
    dist.all_gather_into_tensor(ranks, own)
    means, variances, counts = ranks.view(-1, own.numel()).split([channels, channels, 1], dim=1)
    return means, variances, counts


def _normalise(input: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
    """Return (input - mean) / sqrt(variance + eps) * weight + bias, by channel, in one pass."""
    return torch.native_batch_norm(input, weight, bias, mean, variance, False, 0.0, eps)[0]


class CrossRankBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d with training statistics of the global batch; parameters and state are the same."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape and dtype; statistics are float32, also where autocast hands in bfloat16."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        weight = self.weight if self.affine else torch.ones_like(self.running_mean)
        bias = self.bias if self.affine else torch.zeros_like(self.running_mean)
        output, mean, variance, total = _BatchNormOverRanks.apply(input.float(), weight, bias, self.eps)
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * total / (total - 1).clamp(min=1), momentum)
        return output.to(input.dtype)  # type: ignore[no-any-return]


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
