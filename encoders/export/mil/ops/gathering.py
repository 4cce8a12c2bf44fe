"""Elements by their indices."""

import torch
from torch import Tensor

from encoders.export.mil.registry import Call, as_index, operation


@operation("gather", "x indices axis batch_dims validate_indices")
def gather(call: Call) -> Tensor:
    """Slices along an axis; the shape of the indices stands in its place."""
    x, indices, axis = call.tensor("x"), call.tensor("indices"), call.integer("axis", 0)
    if call.integer("batch_dims", 0):
        raise call.refuse("batch_dims")
    axis = axis % x.dim()
    picked = x.index_select(axis, _inside(call, indices.reshape(-1), size=x.shape[axis]))
    return picked.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


@operation("gather_along_axis", "x indices axis validate_indices")
def gather_along_axis(call: Call) -> Tensor:
    """For each place of the indices the element of x at that index along the axis."""
    x, axis = call.tensor("x"), call.integer("axis", 0)
    return torch.gather(x, axis, _inside(call, call.tensor("indices"), size=x.shape[axis]))


@operation("gather_nd", "x indices batch_dims validate_indices")
def gather_nd(call: Call) -> Tensor:
    """The last axis of the indices holds the index of each of the first axes of x."""
    x, indices = call.tensor("x"), call.tensor("indices")
    if call.integer("batch_dims", 0):
        raise call.refuse("batch_dims")
    return x[tuple(_inside(call, one, size=x.shape[axis]) for axis, one in enumerate(indices.unbind(-1)))]


def _inside(call: Call, indices: Tensor, *, size: int) -> Tensor:
    """Indices counted from the front.

    Raises:
        InputError: one is outside, where Core ML's answer is undefined.
    """
    indices = as_index(indices)
    if bool(((indices < -size) | (indices >= size)).any()):
        raise call.refuse(f"an index outside of {size} elements")
    return torch.where(indices < 0, indices + size, indices)
