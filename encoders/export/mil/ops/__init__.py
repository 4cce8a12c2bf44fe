"""The operations, a file for each family; importing this package registers them all.

Meaning and defaults of each are those of coremltools' definitions, `coremltools/converters/mil/mil/ops/defs`. Every function
takes and gives tensors in float32 where the program says fp16 or fp32; rounding to fp16 is the interpreter's.
"""

from encoders.export.mil.ops import (
    activation,
    compressed,
    convolution,
    elementwise,
    gathering,
    matrix,
    normalization,
    padding,
    pooling,
    reduction,
    resizing,
    shaping,
    slicing,
)

__all__ = [
    "activation",
    "compressed",
    "convolution",
    "elementwise",
    "gathering",
    "matrix",
    "normalization",
    "padding",
    "pooling",
    "reduction",
    "resizing",
    "shaping",
    "slicing",
]
