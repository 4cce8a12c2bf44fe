"""A program with the look-ups that rules need."""

from collections.abc import Sequence

import numpy as np

from encoders.export.mil.program import Operation, Program, TensorType


class Graph:
    """Types, producers and constant parameters by name."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.types: dict[str, TensorType] = {name: constant.type for name, constant in program.constants.items()}
        self.types.update({entry.name: entry.type for entry in program.inputs})
        self.producers: dict[str, Operation] = {}
        for operation in program.operations:
            for variable in operation.outputs:
                self.types[variable.name] = variable.type
                self.producers[variable.name] = operation
        self.enumerated = any(entry.shapes for entry in program.inputs)
        self.inputs = {entry.name: entry for entry in program.inputs}

    def type_of(self, operation: Operation, parameter: str = "x") -> TensorType | None:
        """Of a parameter's first value."""
        names = operation.inputs.get(parameter)
        return self.types[names[0]] if names else None

    def producer(self, operation: Operation, parameter: str = "x") -> Operation | None:
        """What computes a parameter's first value; None for an input or a constant."""
        names = operation.inputs.get(parameter)
        return self.producers.get(names[0]) if names else None

    def constant(self, operation: Operation, parameter: str) -> bool:
        """Whether a parameter stands in the program, packed or not."""
        name = operation.inputs[parameter][0]
        producer = self.producers.get(name)
        return name in self.program.constants or (producer is not None and producer.compresses)

    def ints(self, operation: Operation, parameter: str, default: Sequence[int] = ()) -> list[int]:
        """A constant parameter's integers; the default where it is not given or computed."""
        return [int(number) for number in self.numbers(operation, parameter, default)]

    def numbers(self, operation: Operation, parameter: str, default: Sequence[float] = ()) -> list[float]:
        """A constant parameter's numbers; the default where it is not given or computed."""
        names = operation.inputs.get(parameter)
        constant = self.program.constants.get(names[0]) if names else None
        value = constant.value() if constant is not None else None
        return [float(one) for one in value.reshape(-1)] if isinstance(value, np.ndarray) else list(default)
