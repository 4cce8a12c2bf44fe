"""Core ML programs (`mlprogram` packages) read from their files and interpreted with torch, on any machine.

There is no Core ML runtime outside Apple's systems. This package reads what was saved, weights and compressed constants
included, and computes it operation by operation with the rounding that the declared types imply. What it gives is called
"interpreted": it says that the saved program is the model, and nothing of Apple's own arithmetic or of where an operation runs.
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
