"""Activation functions."""

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.export.mil.registry import Call, broadcast_rank, operation

GELU = {"EXACT": "none", "TANH_APPROXIMATION": "tanh"}


@operation("relu", "x")
def relu(call: Call) -> Tensor:
    """max(x, 0)."""
    return call.tensor("x").relu()


@operation("relu6", "x")
def relu6(call: Call) -> Tensor:
    """min(max(x, 0), 6)."""
    return call.tensor("x").clamp(0, 6)


@operation("clamped_relu", "x alpha beta")
def clamped_relu(call: Call) -> Tensor:
    """min(x, beta) where x >= 0, else min(beta, alpha x)."""
    x = call.tensor("x")
    return torch.where(x >= 0, x, x * call.number("alpha")).clamp(max=call.number("beta"))


@operation("leaky_relu", "x alpha")
def leaky_relu(call: Call) -> Tensor:
    """x where x >= 0, else alpha x."""
    return F.leaky_relu(call.tensor("x"), call.number("alpha"))


@operation("prelu", "x alpha")
def prelu(call: Call) -> Tensor:
    """x where x >= 0, else alpha x, with one alpha for each channel (the second axis)."""
    x = call.tensor("x")
    return torch.where(x >= 0, x, x * broadcast_rank(call.tensor("alpha"), rank=x.dim(), axis=1))


@operation("elu", "x alpha")
def elu(call: Call) -> Tensor:
    """x where x >= 0, else alpha (exp(x) - 1)."""
    return F.elu(call.tensor("x"), call.number("alpha"))


@operation("gelu", "x mode")
def gelu(call: Call) -> Tensor:
    """GELU by the error function, or by one of its two approximations."""
    x, mode = call.tensor("x"), call.text("mode", "EXACT")
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    if mode not in GELU:
        raise call.refuse(f"mode {mode!r} is not supported")
    return F.gelu(x, approximate=GELU[mode])


@operation("sigmoid", "x")
def sigmoid(call: Call) -> Tensor:
    """1 / (1 + exp(-x))."""
    return torch.sigmoid(call.tensor("x"))


@operation("sigmoid_hard", "x alpha beta")
def sigmoid_hard(call: Call) -> Tensor:
    """alpha x + beta, clamped to 0 ... 1."""
    return (call.tensor("x") * call.number("alpha") + call.number("beta")).clamp(0, 1)


@operation("silu", "x")
def silu(call: Call) -> Tensor:
    """x sigmoid(x)."""
    return F.silu(call.tensor("x"))


@operation("softplus", "x")
def softplus(call: Call) -> Tensor:
    """log(1 + exp(x))."""
    return F.softplus(call.tensor("x"))


@operation("softsign", "x")
def softsign(call: Call) -> Tensor:
    """x / (1 + |x|)."""
    return F.softsign(call.tensor("x"))


@operation("linear_activation", "x alpha beta")
def linear_activation(call: Call) -> Tensor:
    """alpha x + beta."""
    return call.tensor("x") * call.number("alpha") + call.number("beta")


@operation("scaled_tanh", "x alpha beta")
def scaled_tanh(call: Call) -> Tensor:
    """alpha tanh(beta x)."""
    return call.number("alpha") * torch.tanh(call.number("beta") * call.tensor("x"))


@operation("softmax", "x axis")
def softmax(call: Call) -> Tensor:
    """Softmax over one axis, by default the last."""
    return torch.softmax(call.tensor("x"), dim=call.integer("axis", -1))
