"""Pick elements by their indices."""

import torch
from torch import Tensor

from encoders.export.mil.registry import Call, as_index, operation


@operation("gather", "x indices axis batch_dims validate_indices")
def gather(call: Call) -> Tensor:
    """Pick slices along an axis; in the result the shape of the indices replaces that axis."""
    x, indices, axis = call.tensor("x"), call.tensor("indices"), call.integer("axis", 0)
    if call.integer("batch_dims", 0):
        raise call.refuse("batch_dims other than 0 is not supported")
    axis = axis % x.dim()
    picked = x.index_select(axis, _in_range(call, indices.reshape(-1), size=x.shape[axis]))
    return picked.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


@operation("gather_along_axis", "x indices axis validate_indices")
def gather_along_axis(call: Call) -> Tensor:
    """Pick, for each element of the indices, the element of x at that index along the axis."""
    x, axis = call.tensor("x"), call.integer("axis", 0)
    return torch.gather(x, axis, _in_range(call, call.tensor("indices"), size=x.shape[axis]))


@operation("gather_nd", "x indices batch_dims validate_indices")
def gather_nd(call: Call) -> Tensor:
    """Pick slices by index vectors: the last axis of the indices holds one index for each of the first axes of x."""
    x, indices = call.tensor("x"), call.tensor("indices")
    if call.integer("batch_dims", 0):
        raise call.refuse("batch_dims other than 0 is not supported")
    return x[tuple(_in_range(call, one, size=x.shape[axis]) for axis, one in enumerate(indices.unbind(-1)))]


def _in_range(call: Call, indices: Tensor, *, size: int) -> Tensor:
    """Return the indices with negative ones counted from the front.

    Raises:
        InputError: an index is out of range, for which Core ML's result is undefined.
    """
    indices = as_index(indices)
    if bool(((indices < -size) | (indices >= size)).any()):
        raise call.refuse(f"an index is out of range for an axis of {size} elements")
    return torch.where(indices < 0, indices + size, indices)
