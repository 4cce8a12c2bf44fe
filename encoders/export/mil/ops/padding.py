"""Pad a tensor."""

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.export.mil.registry import Call, operation


@operation("pad", "x pad mode constant_val")
def pad(call: Call) -> Tensor:
    """Pad the last axes by (before, after): with a constant, by mirroring without the edge, or by repeating the edge."""
    x, pairs = call.tensor("x"), call.ints("pad")
    mode = call.text("mode", "constant")
    sides = [(pairs[2 * place], pairs[2 * place + 1]) for place in range(len(pairs) // 2)]
    if mode == "constant":
        return F.pad(x, [side for pair in reversed(sides) for side in pair], value=call.number("constant_val", 0.0))
    if mode not in ("reflect", "replicate"):
        raise call.refuse(f"mode {mode!r} is not supported")
    first = x.dim() - len(sides)
    for axis, (before, after) in enumerate(sides, start=first):
        last = x.shape[axis] - 1
        places = torch.arange(-before, last + 1 + after)
        if mode == "reflect":
            places = places.abs()
            places = last - (last - places).abs()
        x = x.index_select(axis, places.clamp(0, last))
    return x
