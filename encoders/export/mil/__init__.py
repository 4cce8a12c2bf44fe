"""Read Core ML programs (`mlprogram` packages) from disk and interpret them with torch, on any machine.

Core ML runs only on Apple's systems. This package reads a saved program, including weights and compressed constants, and
computes it operation by operation with the rounding that the declared types imply. Such results are called "interpreted": they
show that the saved program computes what the model does, but not how Apple's hardware rounds or where an operation runs.
"""

from encoders.export.mil.interpreter import Interpreter
from encoders.export.mil.program import Constant, Operation, Program, ProgramInput, TensorType, Variable
from encoders.export.mil.reader import read_package

__all__ = [
    "Constant",
    "Interpreter",
    "Operation",
    "Program",
    "ProgramInput",
    "TensorType",
    "Variable",
    "read_package",
]
