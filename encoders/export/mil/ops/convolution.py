"""Convolutions in one to three dimensions."""

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from encoders.export.mil.registry import Call, broadcast_rank, operation

FORWARD: dict[int, Callable[..., Any]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED: dict[int, Callable[..., Any]] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@operation("conv", "x weight bias strides pad_type pad dilations groups")
def conv(call: Call) -> Tensor:
    """Convolution with weights (C_out, C_in / groups, *kernel)."""
    x, weight = call.tensor("x"), call.tensor("weight")
    spatial = x.dim() - 2
    strides, dilations = call.ints("strides", [1] * spatial), call.ints("dilations", [1] * spatial)
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(weight.shape[2:], dilations, strict=True)]
    pads = window_padding(call, sizes=x.shape[2:], spans=spans, strides=strides)
    padding = [before for before, _ in pads]
    if any(before != after for before, after in pads):
        x, padding = F.pad(x, [side for pair in reversed(pads) for side in pair]), [0] * spatial
    groups = call.integer("groups", 1)
    result: Tensor = FORWARD[spatial](x, weight, call.maybe("bias"), strides, padding, dilations, groups)
    return result


def window_padding(call: Call, *, sizes: Sequence[int], spans: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """Return the padding (before, after) of each spatial axis, according to `pad_type` and `pad`.

    Args:
        sizes: spatial sizes of the input.
        spans: sizes of the window, dilation included.
        strides: strides of the window.
    """
    kind = call.text("pad_type", "valid")
    if kind == "valid":
        return [(0, 0)] * len(sizes)
    if kind == "custom":
        pad = call.ints("pad", [0] * 2 * len(sizes))
        return [(pad[2 * axis], pad[2 * axis + 1]) for axis in range(len(sizes))]
    if kind not in ("same", "same_lower"):
        raise call.refuse(f"pad_type {kind!r} is not supported")
    pads = []
    for size, span, stride in zip(sizes, spans, strides, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + span - size)
        less, more = total // 2, total - total // 2
        pads.append((less, more) if kind == "same" else (more, less))
    return pads


@operation("conv_transpose", "x weight bias pad output_shape pad_type strides dilations groups")
def conv_transpose(call: Call) -> Tensor:
    """Transposed convolution with weights (C_in, C_out / groups, *kernel).

    `pad` is cropped from the full result, and `output_shape` sets the spatial size of what is left.
    """
    x, weight = call.tensor("x"), call.tensor("weight")
    spatial = x.dim() - 2
    strides, dilations = call.ints("strides", [1] * spatial), call.ints("dilations", [1] * spatial)
    kind = call.text("pad_type", "valid")
    if kind not in ("valid", "custom"):
        raise call.refuse(f"pad_type {kind!r} is not supported")
    pad = call.ints("pad", [0] * 2 * spatial) if kind == "custom" else [0] * 2 * spatial
    full: Tensor = TRANSPOSED[spatial](x, weight, None, strides, 0, 0, call.integer("groups", 1), dilations)
    sizes = [full.shape[2 + axis] - pad[2 * axis] - pad[2 * axis + 1] for axis in range(spatial)]
    if call.given("output_shape"):
        sizes = call.ints("output_shape")[-spatial:]
    for axis, size in enumerate(sizes):
        missing = pad[2 * axis] + size - full.shape[2 + axis]
        if missing > 0:  # the output is longer than what the input reaches: only the bias is there
            full = F.pad(full, [0, 0] * (spatial - 1 - axis) + [0, missing])
        full = full.narrow(2 + axis, pad[2 * axis], size)
    bias = call.maybe("bias")
    return full if bias is None else full + broadcast_rank(bias, rank=full.dim(), axis=1)
