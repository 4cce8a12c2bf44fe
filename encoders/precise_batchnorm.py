"""Precise BatchNorm: statistics recomputed over many batches with the final weights, instead of training's running averages.

Source: Wu and Johnson, "Rethinking 'Batch' in BatchNorm" (2021), section 3: the population mean is the mean of the batch means,
and the population variance is the mean of the batch variances plus the variance of the batch means. fvcore does the same,
`fvcore/nn/precise_bn.py` (`_PopulationVarianceEstimator`). Meanwhile each batch is normalised by its own statistics, as in
training.
"""

import copy
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from encoders.errors import InputError
from encoders.sam import Sam


class _Moments:
    """Count, sum and sum of squares of each channel, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0

    def add(self, x: Tensor) -> None:
        """Include the values of x, (B, C, ...)."""
        values = x.detach().double().transpose(0, 1).flatten(1)
        self.count += values.shape[1]
        self.total = self.total + values.sum(1)
        self.squares = self.squares + values.square().sum(1)

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        """Population mean and variance (divided by the count, not by one less) of each channel, (C,) float64 each."""
        mean = torch.as_tensor(self.total) / self.count
        return mean, (torch.as_tensor(self.squares) / self.count - mean.square()).clamp(min=0)


@torch.no_grad()
def precise_batchnorm(sam: Sam, images: Iterable[Tensor]) -> Sam:
    """Recompute the BatchNorm statistics of an image encoder over batches of images.

    The order of the batches makes no difference, and the running averages of training are not used. Each batch is weighted by
    its number of positions. Use the batch size of training: the statistics of smaller batches, by which they are normalised,
    vary more.

    Args:
        sam: not fused, because fusing folds the statistics into the weights. It is not changed.
        images: (B, 3, S, S) float32 batches, normalised and padded as in training; each is moved to the model's device.

    Returns:
        A copy of `sam` in eval mode with the new statistics.

    Raises:
        InputError: the encoder has no BatchNorm with statistics, there are no images, or a statistic is not finite.
    """
    precise = copy.deepcopy(sam).eval()
    norms = {
        name: part
        for name, part in precise.image_encoder.named_modules()
        if isinstance(part, _BatchNorm) and part.track_running_stats
    }
    if not norms:
        raise InputError(
            f"the image encoder of {sam.arch} has no BatchNorm statistics to recompute; "
            + ("recompute them before the model is fused" if sam.fused else "leave --precise-bn out")
        )
    moments: dict[str, _Moments] = {}
    handles = [part.register_forward_pre_hook(partial(_watch, moments, name)) for name, part in norms.items()]
    try:
        for part in norms.values():
            part.train()
        for image in images:
            precise.image_encoder(image.to(precise.device))
    finally:
        for handle in handles:
            handle.remove()
    if not moments:
        raise InputError("no images were given to recompute BatchNorm statistics from; give at least one batch")
    for name, seen in moments.items():
        _set(norms[name], name, *seen.mean_and_variance())
    return precise.eval()


def _watch(moments: dict[str, _Moments], name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
    moments.setdefault(name, _Moments()).add(inputs[0])


def _set(norm: _BatchNorm, name: str, mean: Tensor, variance: Tensor) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    if not (mean.isfinite().all() and variance.isfinite().all()):
        raise InputError(f"a statistic of {name} is not finite; check the images and the weights for NaN and infinity")
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.zero_()  # it counts the updates of running averages, and these are none
