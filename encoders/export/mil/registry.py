"""The operations that the interpreter supports, and how to access their parameters."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from encoders.errors import InputError
from encoders.export.mil.program import Operation

Value = Any  # a Tensor, text, or a tuple of texts
Result = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Call:
    """An operation together with the values of its inputs.

    Attributes:
        values: the values of all constants and of everything computed so far, by name.
    """

    operation: Operation
    values: Mapping[str, Value]

    def given(self, parameter: str) -> bool:
        """Return whether the program sets a parameter."""
        return parameter in self.operation.inputs

    def tensor(self, parameter: str) -> Tensor:
        """Return a required tensor."""
        value = self._value(parameter)
        if not isinstance(value, Tensor):
            raise self.refuse(f"the parameter {parameter} is not a tensor")
        return value

    def maybe(self, parameter: str) -> Tensor | None:
        """Return an optional tensor, None if the program does not set it."""
        return self.tensor(parameter) if self.given(parameter) else None

    def tensors(self, parameter: str) -> list[Tensor]:
        """Return the members of a tuple of tensors."""
        return [self.values[name] for name in self.operation.inputs[parameter]]

    def ints(self, parameter: str, default: Sequence[int] | None = None) -> list[int]:
        """Return the elements of an integer tensor or scalar, or the default if the program does not set it."""
        if not self.given(parameter):
            if default is None:
                raise self._absent(parameter)
            return list(default)
        return [int(value) for value in self.tensor(parameter).reshape(-1).tolist()]

    def integer(self, parameter: str, default: int | None = None) -> int:
        """Return one integer, or the default if the program does not set it."""
        return self.ints(parameter, None if default is None else [default])[0]

    def number(self, parameter: str, default: float | None = None) -> float:
        """Return one number, or the default if the program does not set it."""
        if not self.given(parameter):
            if default is None:
                raise self._absent(parameter)
            return default
        return float(self.tensor(parameter).reshape(-1)[0])

    def flag(self, parameter: str, default: bool = False) -> bool:
        """Return one boolean, or the default if the program does not set it."""
        return bool(self.tensor(parameter).reshape(-1)[0]) if self.given(parameter) else default

    def flags(self, parameter: str, *, count: int) -> list[bool]:
        """Return booleans, all False if the program does not set them."""
        return [bool(value) for value in self.tensor(parameter).tolist()] if self.given(parameter) else [False] * count

    def text(self, parameter: str, default: str) -> str:
        """Return a string, or the default if the program does not set it."""
        return str(self._value(parameter)) if self.given(parameter) else default

    def refuse(self, why: str) -> InputError:
        """Return the error for a use of the operation that is not supported.

        Args:
            why: what is not supported.
        """
        return InputError(f"{self.operation.label} cannot be interpreted: {why}")

    def _absent(self, parameter: str) -> InputError:
        return self.refuse(f"its required parameter {parameter} is missing; export the model again")

    def _value(self, parameter: str) -> Value:
        if not self.given(parameter):
            raise self._absent(parameter)
        names = self.operation.inputs[parameter]
        if len(names) != 1:
            raise self.refuse(f"the parameter {parameter} has {len(names)} values; expected one")
        return self.values[names[0]]


@dataclass(frozen=True)
class Known:
    """An operation that can be interpreted, and the parameters it supports."""

    run: Callable[[Call], Result]
    parameters: frozenset[str]


KNOWN: dict[str, Known] = {}


def operation(name: str, parameters: str) -> Callable[[Callable[[Call], Result]], Callable[[Call], Result]]:
    """Register the function that computes an operation.

    Args:
        parameters: names of the parameters it supports, separated by spaces; an operation with any other parameter is refused.
    """

    def register(run: Callable[[Call], Result]) -> Callable[[Call], Result]:
        KNOWN[name] = Known(run, frozenset(parameters.split()))
        return run

    return register


def unknown(operations: Sequence[Operation]) -> list[str]:
    """Return what is not supported, each once: "topk" for an operation, "conv(rate)" for a parameter of a supported one."""
    found: list[str] = []
    for one in operations:
        known = KNOWN.get(one.type)
        names = [one.type] if known is None else [f"{one.type}({name})" for name in one.inputs if name not in known.parameters]
        found += [name for name in names if name not in found]
    return found


def positive(axes: Sequence[int], *, rank: int) -> list[int]:
    """Return axes with negative ones counted from the front."""
    return [axis + rank if axis < 0 else axis for axis in axes]


def broadcast_rank(tensor: Tensor, *, rank: int, axis: int) -> Tensor:
    """Return a vector reshaped to broadcast along one axis of a tensor of a given rank."""
    return tensor.reshape([-1 if place == axis else 1 for place in range(rank)])


def volume(shape: Sequence[int]) -> int:
    """Return the number of elements of a shape."""
    return math.prod(shape)


def as_index(tensor: Tensor) -> Tensor:
    """Return integers in the type that torch requires for indices."""
    return tensor.to(torch.int64)
