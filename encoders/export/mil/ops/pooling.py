"""Average and maximum pooling in one to three dimensions."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.export.mil.ops.convolution import window_padding
from encoders.export.mil.registry import Call, operation

AVERAGE: dict[int, Callable[..., Any]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
MAXIMUM: dict[int, Callable[..., Any]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
PARAMETERS = "x kernel_sizes strides pad_type pad ceil_mode"


def _windows(call: Call, *, fill: float) -> tuple[Tensor, list[int], list[int], list[tuple[int, int]]]:
    """Return the padded input, the kernel sizes, the strides, and the padding (before, after) of each axis."""
    x = call.tensor("x")
    if call.flag("ceil_mode"):
        raise call.refuse("ceil_mode is not supported")
    sizes = call.ints("kernel_sizes")
    strides = call.ints("strides", [1] * len(sizes))
    pads = window_padding(call, sizes=x.shape[2:], spans=sizes, strides=strides)
    return F.pad(x, [side for pair in reversed(pads) for side in pair], value=fill), sizes, strides, pads


@operation("max_pool", PARAMETERS)
def max_pool(call: Call) -> Tensor:
    """Maximum of each window, in which padding never counts."""
    x, sizes, strides, _ = _windows(call, fill=-torch.inf)
    result: Tensor = MAXIMUM[len(sizes)](x, sizes, strides)
    return result


@operation("avg_pool", PARAMETERS + " exclude_padding_from_average")
def avg_pool(call: Call) -> Tensor:
    """Mean of each window; padding counts as zeros unless it is excluded."""
    x, sizes, strides, pads = _windows(call, fill=0.0)
    result: Tensor = AVERAGE[len(sizes)](x, sizes, strides)
    if call.flag("exclude_padding_from_average"):
        inside = F.pad(torch.ones_like(call.tensor("x")[:1, :1]), [side for pair in reversed(pads) for side in pair])
        result = result / AVERAGE[len(sizes)](inside, sizes, strides)
    return result
