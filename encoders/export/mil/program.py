"""A Core ML program as plain data. The reader creates it; the interpreter and the lint work on it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from encoders.export.mil.blobs import Blob
from encoders.export.mil.dtypes import BITS

Shape = tuple[int | None, ...]
InputKind = Literal["image", "array"]


@dataclass(frozen=True)
class TensorType:
    """Element type and shape of a value.

    Attributes:
        dtype: e.g. "fp16", "int32", "uint6", "bool" or "string".
        shape: None stands for a size that is known only at run time.
    """

    dtype: str
    shape: Shape = ()

    @property
    def static(self) -> bool:
        """Whether every size is known before the program runs."""
        return None not in self.shape

    @property
    def elements(self) -> int:
        """Number of elements; unknown sizes count as 1."""
        return math.prod(1 if size is None else size for size in self.shape)

    @property
    def bytes(self) -> int:
        """Size of all elements in bytes, rounded up to a whole byte, without alignment."""
        return -(-self.elements * BITS.get(self.dtype, 0) // 8)

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.dtype} ({sizes})"


@dataclass(frozen=True)
class Variable:
    """The name and type of an input or of a result."""

    name: str
    type: TensorType


@dataclass(frozen=True)
class Constant:
    """A constant of the program: text, an array stored in the specification, or a blob in the weights file."""

    type: TensorType
    source: str | tuple[str, ...] | np.ndarray | Blob

    def value(self) -> str | tuple[str, ...] | np.ndarray:
        """Return the text, or an array of `type`'s shape: fp16 as float16, types narrower than a byte as 8-bit integers."""
        return self.source.read().reshape(self.type.shape) if isinstance(self.source, Blob) else self.source


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        type: e.g. "conv".
        name: the name the program gives it.
        inputs: parameter -> names of variables and constants; more than one only for tuples such as `values` of concat.
        outputs: one or more results.
    """

    type: str
    name: str
    inputs: Mapping[str, tuple[str, ...]]
    outputs: tuple[Variable, ...]

    @property
    def unpacks(self) -> bool:
        """Whether it unpacks a compressed constant instead of computing on data."""
        return self.type.startswith("constexpr_")

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of all variables and constants that it reads."""
        return tuple(name for names in self.inputs.values() for name in names)

    @property
    def label(self) -> str:
        """Its type and name, for messages."""
        return f"the operation {self.type} named {self.name!r}"


@dataclass(frozen=True)
class ProgramInput:
    """An input of the program.

    Attributes:
        kind: "image" for pixels, "array" for a multi-array.
        colours: the channel order of an image: "RGB", "BGR" or "GRAYSCALE"; empty for an array.
        shapes: the allowed shapes if the model enumerates them, otherwise empty.
    """

    name: str
    type: TensorType
    kind: InputKind = "array"
    colours: str = ""
    shapes: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Program:
    """The one function of a package.

    Attributes:
        opset: the operation set, e.g. "CoreML7" for iOS 17.
        inputs: in the order of the program.
        outputs: names, in the order of the program.
        operations: in the order of the program, including those that unpack compressed constants.
        constants: name -> constant.
        metadata: the user-defined metadata of the package.
        name: how error messages refer to the program, e.g. the path of its package.
    """

    opset: str
    inputs: tuple[ProgramInput, ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    constants: Mapping[str, Constant]
    metadata: Mapping[str, str]
    name: str = "the program"

    @property
    def computing(self) -> tuple[Operation, ...]:
        """The operations that compute on data."""
        return tuple(operation for operation in self.operations if not operation.unpacks)

    @property
    def unpacking(self) -> tuple[Operation, ...]:
        """The operations that unpack compressed constants."""
        return tuple(operation for operation in self.operations if operation.unpacks)
