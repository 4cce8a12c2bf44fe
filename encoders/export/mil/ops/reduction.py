"""Reductions over axes, and running sums."""

from collections.abc import Callable

import torch
from torch import Tensor

from encoders.export.mil.registry import Call, operation

Reduce = Callable[[Tensor, list[int], bool], Tensor]
OVER_AXES: dict[str, Reduce] = {
    "reduce_sum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "reduce_mean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "reduce_max": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "reduce_min": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "reduce_l1_norm": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "reduce_l2_norm": lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt(),
    "reduce_sum_square": lambda x, axes, keep: x.square().sum(axes, keepdim=keep),
    "reduce_log_sum": lambda x, axes, keep: x.sum(axes, keepdim=keep).log(),
    "reduce_log_sum_exp": lambda x, axes, keep: x.logsumexp(axes, keepdim=keep),
}
OVER_AXIS: dict[str, Callable[..., Tensor]] = {"reduce_argmax": torch.argmax, "reduce_argmin": torch.argmin}


def _register_axes(name: str, reduce: Reduce) -> None:
    def run(call: Call) -> Tensor:
        x = call.tensor("x")
        return reduce(x, call.ints("axes", range(x.dim())), call.flag("keep_dims"))

    operation(name, "x axes keep_dims")(run)


def _register_axis(name: str, reduce: Callable[..., Tensor]) -> None:
    def run(call: Call) -> Tensor:
        return reduce(call.tensor("x"), dim=call.integer("axis", -1), keepdim=call.flag("keep_dims"))

    operation(name, "x axis keep_dims")(run)


for _name, _reduce in OVER_AXES.items():
    _register_axes(_name, _reduce)
for _name, _arg in OVER_AXIS.items():
    _register_axis(_name, _arg)


@operation("cumsum", "x axis exclusive reverse")
def cumsum(call: Call) -> Tensor:
    """Cumulative sum; `exclusive` leaves out the element itself, `reverse` sums from the end."""
    x, axis = call.tensor("x"), call.integer("axis", 0)
    x = x.flip(axis) if call.flag("reverse") else x
    total = x.cumsum(axis)
    total = total - x if call.flag("exclusive") else total
    return total.flip(axis) if call.flag("reverse") else total
