"""Normalisation with given statistics, or with those of the input."""

import torch
from torch import Tensor

from encoders.export.mil.registry import Call, broadcast_rank, operation, positive

EPSILON = 1e-5


@operation("batch_norm", "x mean variance gamma beta epsilon")
def batch_norm(call: Call) -> Tensor:
    """Normalise each channel (the second axis) with given statistics."""
    x = call.tensor("x")
    mean, variance = (broadcast_rank(call.tensor(name), rank=x.dim(), axis=1) for name in ("mean", "variance"))
    return _affine(call, (x - mean) * torch.rsqrt(variance + call.number("epsilon", EPSILON)), axis=1)


@operation("instance_norm", "x gamma beta epsilon")
def instance_norm(call: Call) -> Tensor:
    """Normalise each channel of each image over its spatial axes."""
    x = call.tensor("x")
    axes = list(range(2, x.dim()))
    return _affine(call, _standardize(x, axes=axes, epsilon=call.number("epsilon", EPSILON)), axis=1)


@operation("layer_norm", "x axes gamma beta epsilon")
def layer_norm(call: Call) -> Tensor:
    """Normalise over the given axes; gamma and beta have the shape of these axes."""
    x = call.tensor("x")
    axes = positive(call.ints("axes", range(x.dim())), rank=x.dim())
    result = _standardize(x, axes=axes, epsilon=call.number("epsilon", EPSILON))
    shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
    gamma, beta = call.maybe("gamma"), call.maybe("beta")
    result = result if gamma is None else result * gamma.reshape(shape)
    return result if beta is None else result + beta.reshape(shape)


@operation("l2_norm", "x epsilon")
def l2_norm(call: Call) -> Tensor:
    """Divide x by its L2 norm over the last three axes."""
    x = call.tensor("x")
    return x * torch.rsqrt(x.square().sum((-3, -2, -1), keepdim=True) + call.number("epsilon", 1e-6))


def _standardize(x: Tensor, *, axes: list[int], epsilon: float) -> Tensor:
    variance, mean = torch.var_mean(x, dim=axes, correction=0, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + epsilon)


def _affine(call: Call, x: Tensor, *, axis: int) -> Tensor:
    gamma, beta = call.maybe("gamma"), call.maybe("beta")
    x = x if gamma is None else x * broadcast_rank(gamma, rank=x.dim(), axis=axis)
    return x if beta is None else x + broadcast_rank(beta, rank=x.dim(), axis=axis)
