"""Core ML programs built by hand for the lint."""

import numpy as np

from encoders.export.device_lint import lint_program
from encoders.export.mil import Constant, Operation, Program, ProgramInput, TensorType, Variable

MAP = (1, 64, 32, 32)


def given(value):
    """Return a constant of a value."""
    array = np.asarray(value)
    return Constant(TensorType("int32" if array.dtype.kind == "i" else "fp16", array.shape), array)


def program(*operations, inputs=(("x", "fp16", (1, 64, 32, 32)),), outputs=None, constants=None, shapes=()):
    """Return a program of operations (type, result, dtype, shape, inputs by parameter) and inputs (name, dtype, shape)."""
    made = tuple(
        Operation(kind, result, {key: (name,) for key, name in names.items()}, (Variable(result, TensorType(dtype, shape)),))
        for kind, result, dtype, shape, names in operations
    )
    return Program(
        opset="CoreML7",
        inputs=tuple(ProgramInput(name, TensorType(dtype, shape), shapes=shapes) for name, dtype, shape in inputs),
        outputs=tuple(outputs or [made[-1].outputs[0].name]),
        operations=made,
        constants=constants or {},
        metadata={},
    )


def named(*operations, **options):
    """Return the names of the rules that name an operation."""
    return {finding.rule.name for finding in lint_program(program(*operations, **options), name="it").findings}
