"""The same values in another shape or order, and tensors put together or taken apart."""

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.export.mil.registry import Call, operation, positive, volume


@operation("reshape", "x shape")
def reshape(call: Call) -> Tensor:
    """A 0 keeps the size that stands as far from the end in x (1 beyond its front), a -1 takes what is left."""
    x, shape = call.tensor("x"), call.ints("shape")
    for place, size in enumerate(shape):
        if size == 0:
            source = place - len(shape) + x.dim()
            shape[place] = x.shape[source] if source >= 0 else 1
    if -1 not in shape and volume(shape) != x.numel():
        raise call.refuse(f"{tuple(x.shape)} into {tuple(shape)}")
    return x.reshape(shape)


@operation("transpose", "x perm")
def transpose(call: Call) -> Tensor:
    """Axis i of the result is axis perm[i] of x."""
    return call.tensor("x").permute(call.ints("perm"))


@operation("expand_dims", "x axes")
def expand_dims(call: Call) -> Tensor:
    """Axes of size 1 at these places of the result."""
    x, axes = call.tensor("x"), call.ints("axes")
    for axis in sorted(positive(axes, rank=x.dim() + len(axes))):
        x = x.unsqueeze(axis)
    return x


@operation("squeeze", "x axes")
def squeeze(call: Call) -> Tensor:
    """Without these axes where they have size 1; without all such axes where none are given."""
    x = call.tensor("x")
    return x.squeeze(tuple(call.ints("axes"))) if call.given("axes") else x.squeeze()


@operation("concat", "values axis interleave")
def concat(call: Call) -> Tensor:
    """One after the other along an axis, or their places in turn; single numbers as vectors of one."""
    values = [one.reshape(1) if one.dim() == 0 else one for one in call.tensors("values")]
    axis = call.integer("axis")
    if not call.flag("interleave"):
        return torch.cat(values, dim=axis)
    axis = axis % values[0].dim()
    return torch.stack(values, dim=axis + 1).flatten(axis, axis + 1)


@operation("stack", "values axis")
def stack(call: Call) -> Tensor:
    """Along a new axis."""
    return torch.stack(call.tensors("values"), dim=call.integer("axis"))


@operation("split", "x axis num_splits split_sizes")
def split(call: Call) -> tuple[Tensor, ...]:
    """By given sizes, or into equal parts."""
    x, axis = call.tensor("x"), call.integer("axis")
    if call.given("split_sizes"):
        return tuple(x.split(call.ints("split_sizes"), dim=axis))
    count = call.integer("num_splits")
    if x.shape[axis] % count:
        raise call.refuse(f"{x.shape[axis]} into {count} equal parts")
    return tuple(x.chunk(count, dim=axis))


@operation("tile", "x reps")
def tile(call: Call) -> Tensor:
    """Repeated along each axis."""
    return call.tensor("x").repeat(call.ints("reps"))


@operation("reverse", "x axes")
def reverse(call: Call) -> Tensor:
    """From the end to the start along these axes, all by default."""
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
    """The sizes, int32."""
    return torch.tensor(call.tensor("x").shape, dtype=torch.int32)


@operation("fill", "shape value")
def fill(call: Call) -> Tensor:
    """One value everywhere."""
    value = call.maybe("value")
    if value is None:
        return torch.zeros(call.ints("shape"))
    return value.reshape(()).expand(call.ints("shape")).clone()


@operation("range_1d", "start end step")
def range_1d(call: Call) -> Tensor:
    """From start by step to before end."""
    start, end, step = (call.tensor(name).reshape(()) for name in ("start", "end", "step"))
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)
