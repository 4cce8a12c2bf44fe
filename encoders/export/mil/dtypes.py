"""Element types of Core ML programs: names, widths, codes in the weights file, and the matching numpy and torch types."""

import numpy as np
import torch

BITS = {
    "bool": 8, "fp16": 16, "fp32": 32, "fp64": 64, "bf16": 16,
    "int4": 4, "int8": 8, "int16": 16, "int32": 32, "int64": 64,
    "uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "uint6": 6, "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64,
}  # fmt: skip

# Name in MIL.proto -> name here.
PROTO_NAMES = {
    "BOOL": "bool", "STRING": "string", "FLOAT16": "fp16", "FLOAT32": "fp32", "FLOAT64": "fp64", "BFLOAT16": "bf16",
    **{f"INT{bits}": f"int{bits}" for bits in (4, 8, 16, 32, 64)},
    **{f"UINT{bits}": f"uint{bits}" for bits in (1, 2, 3, 4, 6, 8, 16, 32, 64)},
}  # fmt: skip

# Source: coremltools, `mlmodel/src/MILBlob/Blob/BlobDataType.hpp`.
BLOB_NUMBERS = {
    1: "fp16", 2: "fp32", 3: "uint8", 4: "int8", 5: "bf16", 6: "int16", 7: "uint16", 8: "int4", 9: "uint1", 10: "uint2",
    11: "uint4", 12: "uint3", 13: "uint6", 14: "int32", 15: "uint32",
}  # fmt: skip

NUMPY = {
    "bool": np.dtype(bool), "fp16": np.dtype("<f2"), "fp32": np.dtype("<f4"), "fp64": np.dtype("<f8"),
    **{f"int{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
}  # fmt: skip

FLOATS = ("fp16", "fp32")

# The torch type in which the interpreter holds each type: fp16 as float32 rounded to fp16, as operations compute in float32.
TORCH = {
    "fp16": torch.float32, "fp32": torch.float32, "bool": torch.bool, "int8": torch.int8, "uint8": torch.uint8,
    "int16": torch.int16, "uint16": torch.int32, "int32": torch.int32, "uint32": torch.int64, "int64": torch.int64,
}  # fmt: skip


def round_fp16(values: torch.Tensor) -> torch.Tensor:
    """Return float32 values rounded to the nearest fp16, still as float32; values beyond fp16's range become infinite."""
    return values.to(torch.float16).to(torch.float32)
