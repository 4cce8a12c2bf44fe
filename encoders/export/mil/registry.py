"""Which operations the interpreter knows, and how one asks for its parameters."""

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
    """One operation with the values of its inputs.

    Attributes:
        values: of everything computed so far, and of all constants, by name.
    """

    operation: Operation
    values: Mapping[str, Value]

    def given(self, parameter: str) -> bool:
        """Whether the program gives this parameter."""
        return parameter in self.operation.inputs

    def tensor(self, parameter: str) -> Tensor:
        """A required tensor."""
        value = self._value(parameter)
        if not isinstance(value, Tensor):
            raise self.refuse(f"{parameter} is no tensor")
        return value

    def maybe(self, parameter: str) -> Tensor | None:
        """An optional tensor."""
        return self.tensor(parameter) if self.given(parameter) else None

    def tensors(self, parameter: str) -> list[Tensor]:
        """The members of a tuple of tensors."""
        return [self.values[name] for name in self.operation.inputs[parameter]]

    def ints(self, parameter: str, default: Sequence[int] | None = None) -> list[int]:
        """Integers, also of a scalar; the default where the program gives none."""
        if not self.given(parameter):
            if default is None:
                raise self.refuse(f"{parameter} is not given")
            return list(default)
        return [int(value) for value in self.tensor(parameter).reshape(-1).tolist()]

    def integer(self, parameter: str, default: int | None = None) -> int:
        """One integer."""
        return self.ints(parameter, None if default is None else [default])[0]

    def number(self, parameter: str, default: float | None = None) -> float:
        """One number."""
        if not self.given(parameter):
            if default is None:
                raise self.refuse(f"{parameter} is not given")
            return default
        return float(self.tensor(parameter).reshape(-1)[0])

    def flag(self, parameter: str, default: bool = False) -> bool:
        """One truth value."""
        return bool(self.tensor(parameter).reshape(-1)[0]) if self.given(parameter) else default

    def flags(self, parameter: str, *, count: int) -> list[bool]:
        """Truth values, all False where the program gives none."""
        return [bool(value) for value in self.tensor(parameter).tolist()] if self.given(parameter) else [False] * count

    def text(self, parameter: str, default: str) -> str:
        """One text."""
        return str(self._value(parameter)) if self.given(parameter) else default

    def refuse(self, why: str) -> InputError:
        """The error for something that this operation asks for and that is not known here."""
        return InputError(f"the operation {self.operation.type} named {self.operation.name!r} cannot be interpreted: {why}")

    def _value(self, parameter: str) -> Value:
        if not self.given(parameter):
            raise self.refuse(f"{parameter} is not given")
        names = self.operation.inputs[parameter]
        if len(names) != 1:
            raise self.refuse(f"{parameter} has {len(names)} values where one is expected")
        return self.values[names[0]]


@dataclass(frozen=True)
class Known:
    """An operation that can be interpreted, and every parameter of it that is heeded."""

    run: Callable[[Call], Result]
    parameters: frozenset[str]


KNOWN: dict[str, Known] = {}


def operation(name: str, parameters: str) -> Callable[[Callable[[Call], Result]], Callable[[Call], Result]]:
    """Register the function that computes an operation.

    Args:
        parameters: their names, separated by spaces; an operation that is given another is refused, not half computed.
    """

    def register(run: Callable[[Call], Result]) -> Callable[[Call], Result]:
        KNOWN[name] = Known(run, frozenset(parameters.split()))
        return run

    return register


def unknown(operations: Sequence[Operation]) -> list[str]:
    """What of a program is not known here, each once: "topk", or "conv(rate)" for an unknown parameter of a known operation."""
    found: list[str] = []
    for one in operations:
        known = KNOWN.get(one.type)
        names = [one.type] if known is None else [f"{one.type}({name})" for name in one.inputs if name not in known.parameters]
        found += [name for name in names if name not in found]
    return found


def positive(axes: Sequence[int], *, rank: int) -> list[int]:
    """Axes counted from the front."""
    return [axis + rank if axis < 0 else axis for axis in axes]


def broadcast_rank(tensor: Tensor, *, rank: int, axis: int) -> Tensor:
    """A vector shaped to be broadcast along one axis of a tensor of that rank."""
    return tensor.reshape([-1 if place == axis else 1 for place in range(rank)])


def volume(shape: Sequence[int]) -> int:
    """Number of elements."""
    return math.prod(shape)


def as_index(tensor: Tensor) -> Tensor:
    """Integers as torch wants indices."""
    return tensor.to(torch.int64)
