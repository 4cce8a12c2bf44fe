"""The supported operations, one file for each family; importing this package registers all of them.

Semantics and default values follow coremltools' definitions, `coremltools/converters/mil/mil/ops/defs`. Values that the program
declares as fp16 or fp32 are float32 in every function; the interpreter rounds the results to fp16.
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
