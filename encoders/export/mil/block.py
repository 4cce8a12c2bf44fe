"""Read the operations and constants of a program, and check that every name in it is defined."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from encoders.errors import InputError
from encoders.export.mil.program import Constant, Operation, Variable
from encoders.export.mil.values import read_type, read_value


def read_block(block: Any, *, inputs: Iterable[str], weights: Path) -> tuple[list[Operation], dict[str, Constant]]:
    """Return the operations in order, and the constants by name.

    Constants are the results of `const` operations and the values that are written inside another operation.

    Args:
        inputs: names of the program's inputs.
        weights: the folder of the specification.

    Raises:
        InputError: a name is used before it is defined or defined twice, an output of the block is not defined, or an operation
            cannot be read.
    """
    operations: list[Operation] = []
    constants: dict[str, Constant] = {}
    defined: set[str] = set()
    define(inputs, defined)
    for entry in block.operations:
        outputs = tuple(Variable(output.name, read_type(output.type)) for output in entry.outputs)
        if not outputs:
            raise InputError(f"an operation {entry.type} has no output; export the model again")
        if entry.blocks:
            raise InputError(f"the operation {entry.type} contains a branch or a loop, which is not supported")
        if entry.type == "const":
            constants[outputs[0].name] = read_const(entry, weights=weights)
        else:
            operation, inner = read_operation(entry, outputs, weights=weights)
            define(inner, defined)
            missing = [name for name in operation.arguments if name not in defined]
            if missing:
                raise InputError(
                    f"{operation.label} uses {missing[0]!r}, which nothing before it defines; export the model again"
                )
            constants.update(inner)
            operations.append(operation)
        define([variable.name for variable in outputs], defined)
    absent = [name for name in block.outputs if name not in defined]
    if absent:
        raise InputError(f"no operation computes the program's output {absent[0]!r}; export the model again")
    return operations, constants


def define(names: Iterable[str], defined: set[str]) -> None:
    """Add names to those that are defined.

    Raises:
        InputError: one of them is defined already.
    """
    for name in names:
        if name in defined:
            raise InputError(f"the program defines {name!r} twice; export the model again")
        defined.add(name)


def read_const(entry: Any, *, weights: Path) -> Constant:
    """Return the value of a `const` operation.

    Raises:
        InputError: it has none, or it cannot be read.
    """
    if "val" not in entry.attributes:
        raise InputError(f"the constant {entry.outputs[0].name!r} has no value; export the model again")
    return read_value(entry.attributes["val"], weights=weights)


def read_operation(entry: Any, outputs: tuple[Variable, ...], *, weights: Path) -> tuple[Operation, dict[str, Constant]]:
    """Return an operation, and the constants written inside it; their names derive from that of its first output.

    Raises:
        InputError: a constant cannot be read.
    """
    constants: dict[str, Constant] = {}
    inputs: dict[str, tuple[str, ...]] = {}
    for parameter, argument in entry.inputs.items():
        names = []
        for index, binding in enumerate(argument.arguments):
            if binding.WhichOneof("binding") == "name":
                names.append(binding.name)
            else:
                names.append(f"{outputs[0].name}.{parameter}.{index}")  # the program's own names contain no dots
                constants[names[-1]] = read_value(binding.value, weights=weights)
        inputs[parameter] = tuple(names)
    for parameter, value in entry.attributes.items():
        if parameter != "name":
            inputs[parameter] = (f"{outputs[0].name}.{parameter}",)
            constants[inputs[parameter][0]] = read_value(value, weights=weights)
    name = text(entry.attributes["name"]) if "name" in entry.attributes else outputs[0].name
    return Operation(type=entry.type, name=name, inputs=inputs, outputs=outputs), constants


def text(value: Any) -> str:
    """Return the first string of a `Value` message, "" if it has none."""
    texts = value.immediateValue.tensor.strings.values
    return str(texts[0]) if texts else ""
