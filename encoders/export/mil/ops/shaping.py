"""Reshape, reorder, join and split tensors, and create them from a shape."""

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.export.mil.registry import Call, operation, positive, volume


@operation("reshape", "x shape")
def reshape(call: Call) -> Tensor:
    """Reshape x.

    A 0 copies the size of the axis at the same distance from the end of x, or 1 if x has no such axis. A -1 is inferred.
    """
    x, shape = call.tensor("x"), call.ints("shape")
    for place, size in enumerate(shape):
        if size == 0:
            source = place - len(shape) + x.dim()
            shape[place] = x.shape[source] if source >= 0 else 1
    if -1 not in shape and volume(shape) != x.numel():
        raise call.refuse(f"{tuple(x.shape)} cannot be reshaped to {tuple(shape)}")
    return x.reshape(shape)


@operation("transpose", "x perm")
def transpose(call: Call) -> Tensor:
    """Permute axes: axis i of the result is axis perm[i] of x."""
    return call.tensor("x").permute(call.ints("perm"))


@operation("expand_dims", "x axes")
def expand_dims(call: Call) -> Tensor:
    """Insert axes of size 1 at the given positions of the result."""
    x, axes = call.tensor("x"), call.ints("axes")
    for axis in sorted(positive(axes, rank=x.dim() + len(axes))):
        x = x.unsqueeze(axis)
    return x


@operation("squeeze", "x axes")
def squeeze(call: Call) -> Tensor:
    """Remove the given axes if they have size 1, or all axes of size 1 if none are given."""
    x = call.tensor("x")
    return x.squeeze(tuple(call.ints("axes"))) if call.given("axes") else x.squeeze()


@operation("concat", "values axis interleave")
def concat(call: Call) -> Tensor:
    """Concatenate along an axis, or interleave the elements along it; scalars count as vectors of one element."""
    values = [one.reshape(1) if one.dim() == 0 else one for one in call.tensors("values")]
    axis = call.integer("axis")
    if not call.flag("interleave"):
        return torch.cat(values, dim=axis)
    axis = axis % values[0].dim()
    return torch.stack(values, dim=axis + 1).flatten(axis, axis + 1)


@operation("stack", "values axis")
def stack(call: Call) -> Tensor:
    """Stack along a new axis."""
    return torch.stack(call.tensors("values"), dim=call.integer("axis"))


@operation("split", "x axis num_splits split_sizes")
def split(call: Call) -> tuple[Tensor, ...]:
    """Split into parts of the given sizes, or into equal parts."""
    x, axis = call.tensor("x"), call.integer("axis")
    if call.given("split_sizes"):
        return tuple(x.split(call.ints("split_sizes"), dim=axis))
    count = call.integer("num_splits")
    if x.shape[axis] % count:
        raise call.refuse(f"an axis of size {x.shape[axis]} cannot be split into {count} equal parts")
    return tuple(x.chunk(count, dim=axis))


@operation("tile", "x reps")
def tile(call: Call) -> Tensor:
    """Repeat x along each axis."""
    return call.tensor("x").repeat(call.ints("reps"))


@operation("reverse", "x axes")
def reverse(call: Call) -> Tensor:
    """Reverse the order along the given axes, by default along all."""
    x = call.tensor("x")
    return x.flip(call.ints("axes", range(x.dim())))


@operation("pixel_shuffle", "x upscale_factor")
def pixel_shuffle(call: Call) -> Tensor:
    """(n, C f f, H, W) -> (n, C, H f, W f)."""
    return F.pixel_shuffle(call.tensor("x"), call.integer("upscale_factor"))


@operation("pixel_unshuffle", "x downscale_factor")
def pixel_unshuffle(call: Call) -> Tensor:
    """(n, C, H f, W f) -> (n, C f f, H, W)."""
    return F.pixel_unshuffle(call.tensor("x"), call.integer("downscale_factor"))


@operation("shape", "x")
def shape_of(call: Call) -> Tensor:
    """Return the shape of x as an int32 vector."""
    return torch.tensor(call.tensor("x").shape, dtype=torch.int32)


@operation("fill", "shape value")
def fill(call: Call) -> Tensor:
    """Return a tensor filled with one value, 0 by default."""
    value = call.maybe("value")
    if value is None:
        return torch.zeros(call.ints("shape"))
    return value.reshape(()).expand(call.ints("shape")).clone()


@operation("range_1d", "start end step")
def range_1d(call: Call) -> Tensor:
    """Return evenly spaced values from start up to, but not including, end."""
    start, end, step = (call.tensor(name).reshape(()) for name in ("start", "end", "step"))
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)
