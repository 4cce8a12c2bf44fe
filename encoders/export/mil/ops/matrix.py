"""Matrix products and attention."""

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.export.mil.registry import Call, operation


@operation("linear", "x weight bias")
def linear(call: Call) -> Tensor:
    """x weight^T + bias, weight (D_out, D_in)."""
    return F.linear(call.tensor("x"), call.tensor("weight"), call.maybe("bias"))


@operation("matmul", "x y transpose_x transpose_y")
def matmul(call: Call) -> Tensor:
    """Matrix product over the last two axes, which `transpose_x` and `transpose_y` swap first."""
    x, y = call.tensor("x"), call.tensor("y")
    return (x.mT if call.flag("transpose_x") else x) @ (y.mT if call.flag("transpose_y") else y)


@operation("einsum", "values equation")
def einsum(call: Call) -> Tensor:
    """Einstein summation, with the equation syntax of torch."""
    return torch.einsum(call.text("equation", ""), *call.tensors("values"))


@operation("scaled_dot_product_attention", "query key value attn_mask")
def attention(call: Call) -> Tensor:
    """softmax(Q K^T / sqrt(E) + mask) V; a boolean mask is true where the key is attended to."""
    query, key, value = call.tensor("query"), call.tensor("key"), call.tensor("value")
    return F.scaled_dot_product_attention(query, key, value, attn_mask=call.maybe("attn_mask"))
