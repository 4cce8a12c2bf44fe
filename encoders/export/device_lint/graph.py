"""Look up what the rules need to know about a program."""

from collections.abc import Sequence

import numpy as np

from encoders.export.mil.program import Operation, Program, TensorType


class Graph:
    """A program with the types, producers and constant parameters of its operations.

    Attributes:
        program: the program itself.
        types: name of an input, constant or result -> type.
        producers: name of a result -> the operation that computes it.
        inputs: name -> input of the program.
        enumerated: whether the program lists the shapes of an input.
    """

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
        """Return the type of a parameter's first value, None if the operation does not set it."""
        names = operation.inputs.get(parameter)
        return self.types[names[0]] if names else None

    def producer(self, operation: Operation, parameter: str = "x") -> Operation | None:
        """Return the operation that computes a parameter's first value, None if none does."""
        names = operation.inputs.get(parameter)
        return self.producers.get(names[0]) if names else None

    def constant(self, operation: Operation, parameter: str) -> bool:
        """Return whether a parameter is a constant of the program, compressed or not."""
        name = operation.inputs[parameter][0]
        producer = self.producers.get(name)
        return name in self.program.constants or (producer is not None and producer.unpacks)

    def ints(self, operation: Operation, parameter: str, default: Sequence[int] = ()) -> list[int]:
        """Return the integers of a constant parameter, or the default if it is not set or not constant."""
        return [int(number) for number in self.numbers(operation, parameter, default)]

    def numbers(self, operation: Operation, parameter: str, default: Sequence[float] = ()) -> list[float]:
        """Return the numbers of a constant parameter, or the default if it is not set or not constant."""
        names = operation.inputs.get(parameter)
        constant = self.program.constants.get(names[0]) if names else None
        value = constant.value() if constant is not None else None
        return [float(one) for one in value.reshape(-1)] if isinstance(value, np.ndarray) else list(default)
