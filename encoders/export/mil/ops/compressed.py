"""Unpack compressed constants: linear quantisation, look-up tables, sparsity.

Source: coremltools, `ops/defs/iOS16/constexpr_ops.py` and `ops/defs/iOS18/compression.py`. The values are computed in float32;
the interpreter rounds them to the declared type, as it does with every result.
"""

import numpy as np
import torch
from torch import Tensor

from encoders.export.mil.blobs import unpack_bits
from encoders.export.mil.registry import Call, broadcast_rank, operation


@operation("constexpr_affine_dequantize", "quantized_data zero_point scale axis")
def affine_dequantize(call: Call) -> Tensor:
    """scale (data - zero point), with one scale and zero point for the tensor or for each index of an axis."""
    data = call.tensor("quantized_data").to(torch.float32)
    axis = call.integer("axis", 0) % data.dim()
    zero, scale = (
        one if one.dim() == 0 else broadcast_rank(one, rank=data.dim(), axis=axis)
        for one in (call.tensor("zero_point").to(torch.float32), call.tensor("scale"))
    )
    return scale * (data - zero)


@operation("constexpr_blockwise_shift_scale", "data scale offset")
def blockwise_shift_scale(call: Call) -> Tensor:
    """scale (data - offset), with one scale and offset for each block of the data."""
    data = call.tensor("data").to(torch.float32)
    if call.given("offset"):
        data = data - spread(call.tensor("offset").to(torch.float32), shape=data.shape)
    return spread(call.tensor("scale"), shape=data.shape) * data


@operation("constexpr_lut_to_dense", "indices lut shape vector_axis")
def lut_to_dense(call: Call) -> Tensor:
    """Look up values: in one table by packed indices and a shape (iOS 16), or in a table for each block of indices (iOS 18)."""
    lut = call.tensor("lut")
    if call.given("shape"):
        shape, bits = call.ints("shape"), (lut.numel() - 1).bit_length()
        packed = call.tensor("indices").numpy()
        unpacked = unpack_bits(packed, bits=bits, elements=int(np.prod(shape)))
        return lut[torch.from_numpy(unpacked.astype(np.int64))].reshape(shape)
    indices = call.tensor("indices").to(torch.int64)
    return look_up(lut, indices, axis=call.integer("vector_axis", 0))


def look_up(lut: Tensor, indices: Tensor, *, axis: int) -> Tensor:
    """Return the table entry of each index.

    Args:
        lut: (*blocks, entries, vector), a table for each block of the indices.
        indices: each axis has a multiple of the size in `blocks`.
        axis: the axis along which the elements of an entry are laid out.
    """
    axis = axis % indices.dim()
    blocks, entries, vector = lut.shape[:-2], lut.shape[-2], lut.shape[-1]
    number = torch.arange(int(np.prod(blocks))).reshape(blocks)  # of each table in the flattened lut
    tables = spread(number, shape=indices.shape)
    values = lut.reshape(-1, vector)[tables * entries + indices]  # (*indices, vector)
    return values.movedim(-1, axis + 1).flatten(axis, axis + 1)


def spread(values: Tensor, *, shape: torch.Size) -> Tensor:
    """Repeat one value for each block to one for each element."""
    for axis, size in enumerate(shape):
        values = values.repeat_interleave(size // values.shape[axis], dim=axis)
    return values


@operation("constexpr_cast", "source_val output_dtype")
def constexpr_cast(call: Call) -> Tensor:
    """Convert fp16 to fp32."""
    return call.tensor("source_val").to(torch.float32)


@operation("constexpr_sparse_to_dense", "nonzero_data mask shape")
def sparse_to_dense(call: Call) -> Tensor:
    """Place values where a mask is set: packed bits and a shape (iOS 16), or one number for each element (iOS 18)."""
    mask = call.tensor("mask")
    if call.given("shape"):
        shape = call.ints("shape")
        bits = unpack_bits(mask.numpy(), bits=1, elements=int(np.prod(shape)))
        mask = torch.from_numpy(bits).reshape(shape)
    values = call.tensor("nonzero_data")
    dense = torch.zeros(mask.shape, dtype=values.dtype)
    dense[mask != 0] = values
    return dense
