"""Stored constants unpacked: linear quantisation, look-up tables, sparsity.

Source: coremltools, `ops/defs/iOS16/constexpr_ops.py` and `ops/defs/iOS18/compression.py`. The values are computed in float32
and rounded to the declared type by the interpreter, as every result is.
"""

import numpy as np
import torch
from torch import Tensor

from encoders.export.mil.blobs import unpack_bits
from encoders.export.mil.registry import Call, broadcast_rank, operation


@operation("constexpr_affine_dequantize", "quantized_data zero_point scale axis")
def affine_dequantize(call: Call) -> Tensor:
    """scale (data - zero point), one for the tensor or for each place of an axis."""
    data = call.tensor("quantized_data").to(torch.float32)
    axis = call.integer("axis", 0) % data.dim()
    zero, scale = (
        one if one.dim() == 0 else broadcast_rank(one, rank=data.dim(), axis=axis)
        for one in (call.tensor("zero_point").to(torch.float32), call.tensor("scale"))
    )
    return scale * (data - zero)


@operation("constexpr_blockwise_shift_scale", "data scale offset")
def blockwise_shift_scale(call: Call) -> Tensor:
    """scale (data - offset), one for each block of the data."""
    data = call.tensor("data").to(torch.float32)
    if call.given("offset"):
        data = data - spread(call.tensor("offset").to(torch.float32), shape=data.shape)
    return spread(call.tensor("scale"), shape=data.shape) * data


@operation("constexpr_lut_to_dense", "indices lut shape vector_axis")
def lut_to_dense(call: Call) -> Tensor:
    """One table with packed indices and the shape beside it (iOS 16), or a table for each block of the indices (iOS 18)."""
    lut = call.tensor("lut")
    if call.given("shape"):
        shape, bits = call.ints("shape"), (lut.numel() - 1).bit_length()
        packed = call.tensor("indices").numpy()
        unpacked = unpack_bits(packed, bits=bits, elements=int(np.prod(shape)))
        return lut[torch.from_numpy(unpacked.astype(np.int64))].reshape(shape)
    indices = call.tensor("indices").to(torch.int64)
    return look_up(lut, indices, axis=call.integer("vector_axis", 0))


def look_up(lut: Tensor, indices: Tensor, *, axis: int) -> Tensor:
    """Values for indices.

    Args:
        lut: (*blocks, entries, vector), a table for each block of the indices.
        indices: of a shape that each of `blocks` divides.
        axis: along which the elements of an entry stand one after the other.
    """
    axis = axis % indices.dim()
    blocks, entries, vector = lut.shape[:-2], lut.shape[-2], lut.shape[-1]
    number = torch.arange(int(np.prod(blocks))).reshape(blocks)  # of the table in the flattened lut
    tables = spread(number, shape=indices.shape)
    values = lut.reshape(-1, vector)[tables * entries + indices]  # (*indices, vector)
    return values.movedim(-1, axis + 1).flatten(axis, axis + 1)


def spread(values: Tensor, *, shape: torch.Size) -> Tensor:
    """One value for each block -> one for each element."""
    for axis, size in enumerate(shape):
        values = values.repeat_interleave(size // values.shape[axis], dim=axis)
    return values


@operation("constexpr_cast", "source_val output_dtype")
def constexpr_cast(call: Call) -> Tensor:
    """fp16 to fp32."""
    return call.tensor("source_val").to(torch.float32)


@operation("constexpr_sparse_to_dense", "nonzero_data mask shape")
def sparse_to_dense(call: Call) -> Tensor:
    """Values where a mask has a bit: packed in bytes with the shape beside it (iOS 16), or one for each element (iOS 18)."""
    mask = call.tensor("mask")
    if call.given("shape"):
        shape = call.ints("shape")
        bits = unpack_bits(mask.numpy(), bits=1, elements=int(np.prod(shape)))
        mask = torch.from_numpy(bits).reshape(shape)
    values = call.tensor("nonzero_data")
    dense = torch.zeros(mask.shape, dtype=values.dtype)
    dense[mask != 0] = values
    return dense
