"""Cut a part out of a tensor."""

import torch
from torch import Tensor

from encoders.export.mil.registry import Call, operation


@operation("slice_by_index", "x begin end stride begin_mask end_mask squeeze_mask")
def slice_by_index(call: Call) -> Tensor:
    """x[begin:end:stride] along each axis.

    `begin_mask` and `end_mask` start at the first element and end at the last instead; `squeeze_mask` takes only the element at
    begin and drops the axis.
    """
    x = call.tensor("x")
    rank = x.dim()
    begin, end, stride = call.ints("begin"), call.ints("end"), call.ints("stride", [1] * rank)
    begin_mask, end_mask = call.flags("begin_mask", count=rank), call.flags("end_mask", count=rank)
    squeeze = call.flags("squeeze_mask", count=rank)
    for axis in range(rank):
        if squeeze[axis]:
            x = x.narrow(axis, begin[axis] % x.shape[axis], 1)
            continue
        bounds = slice(None if begin_mask[axis] else begin[axis], None if end_mask[axis] else end[axis], stride[axis])
        places = range(*bounds.indices(x.shape[axis]))
        if stride[axis] == 1:
            x = x.narrow(axis, places.start, len(places))
        else:
            x = x.index_select(axis, torch.tensor(list(places), dtype=torch.int64))
    return x.squeeze(tuple(axis for axis in range(rank) if squeeze[axis])) if any(squeeze) else x


@operation("slice_by_size", "x begin size")
def slice_by_size(call: Call) -> Tensor:
    """`size` elements from `begin` on along each axis; a size of -1 takes all that remain."""
    x = call.tensor("x")
    for axis, (begin, size) in enumerate(zip(call.ints("begin"), call.ints("size"), strict=True)):
        begin = begin + x.shape[axis] if begin < 0 else begin
        x = x.narrow(axis, begin, x.shape[axis] - begin if size == -1 else size)
    return x
