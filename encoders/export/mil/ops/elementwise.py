"""Elementwise operations on one tensor, or on tensors that are broadcast."""

from collections.abc import Callable

import torch
from torch import Tensor

from encoders.export.mil.dtypes import TORCH
from encoders.export.mil.registry import Call, operation

UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs, "acos": torch.acos, "asin": torch.asin, "atan": torch.atan, "ceil": torch.ceil, "cos": torch.cos,
    "cosh": torch.cosh, "erf": torch.erf, "exp": torch.exp, "exp2": torch.exp2, "floor": torch.floor, "identity": torch.clone,
    "logical_not": torch.logical_not, "round": torch.round, "sign": torch.sign, "sin": torch.sin, "sinh": torch.sinh,
    "sqrt": torch.sqrt, "square": torch.square, "tan": torch.tan, "tanh": torch.tanh,
}  # fmt: skip

BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add, "equal": torch.eq, "floor_div": torch.floor_divide, "greater": torch.gt, "greater_equal": torch.ge,
    "less": torch.lt, "less_equal": torch.le, "logical_and": torch.logical_and, "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor, "maximum": torch.maximum, "minimum": torch.minimum, "mod": torch.remainder,
    "mul": torch.mul, "not_equal": torch.ne, "pow": torch.pow, "sub": torch.sub,
}  # fmt: skip


def _register_unary(name: str, function: Callable[[Tensor], Tensor]) -> None:
    operation(name, "x")(lambda call: function(call.tensor("x")))


def _register_binary(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    operation(name, "x y")(lambda call: function(call.tensor("x"), call.tensor("y")))


for _name, _unary in UNARY.items():
    _register_unary(_name, _unary)
for _name, _binary in BINARY.items():
    _register_binary(_name, _binary)


@operation("real_div", "x y")
def real_div(call: Call) -> Tensor:
    """x / y for floating-point numbers."""
    x, y = call.tensor("x"), call.tensor("y")
    if not (x.is_floating_point() and y.is_floating_point()):
        raise call.refuse("division of integers is not supported")
    return x / y


@operation("clip", "x alpha beta")
def clip(call: Call) -> Tensor:
    """x clamped to alpha ... beta."""
    return call.tensor("x").clamp(call.number("alpha"), call.number("beta"))


@operation("inverse", "x epsilon")
def inverse(call: Call) -> Tensor:
    """1 / (x + epsilon)."""
    return 1 / (call.tensor("x") + call.number("epsilon", 1e-4))


@operation("log", "x epsilon")
def log(call: Call) -> Tensor:
    """Natural logarithm of x + epsilon."""
    return torch.log(call.tensor("x") + call.number("epsilon", 1e-45))


@operation("rsqrt", "x epsilon")
def rsqrt(call: Call) -> Tensor:
    """1 / sqrt(x + epsilon)."""
    return torch.rsqrt(call.tensor("x") + call.number("epsilon", 1e-12))


@operation("threshold", "x alpha")
def threshold(call: Call) -> Tensor:
    """max(x, alpha)."""
    return call.tensor("x").clamp(min=call.number("alpha"))


@operation("cast", "x dtype")
def cast(call: Call) -> Tensor:
    """Convert to another element type, rounding towards zero for integers. The interpreter rounds to fp16 if declared."""
    wanted = call.text("dtype", "fp32")
    if wanted not in TORCH:
        raise call.refuse(f"a cast to {wanted} is not supported")
    return call.tensor("x").to(TORCH[wanted])


@operation("select", "cond a b")
def select(call: Call) -> Tensor:
    """a where cond is true, else b."""
    return torch.where(call.tensor("cond").to(torch.bool), call.tensor("a"), call.tensor("b"))
