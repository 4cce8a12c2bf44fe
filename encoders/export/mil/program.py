"""A Core ML program as plain data: what the reader makes, and what interpreter and lint take."""

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
    """Element type, e.g. "fp16", "int32", "uint6", "bool", "string", and shape; None is a size known only when it runs."""

    dtype: str
    shape: Shape = ()

    @property
    def static(self) -> bool:
        """Whether every size is known."""
        return None not in self.shape

    @property
    def elements(self) -> int:
        """How many; sizes that are not known count as 1."""
        return math.prod(1 if size is None else size for size in self.shape)

    @property
    def bytes(self) -> int:
        """Of all elements, whole bytes, without alignment."""
        return -(-self.elements * BITS.get(self.dtype, 0) // 8)

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.dtype} ({sizes})"


@dataclass(frozen=True)
class Variable:
    """A name and what it holds."""

    name: str
    type: TensorType


@dataclass(frozen=True)
class Constant:
    """A value of the program: text, an array that stands in the program itself, or a blob of the weights file."""

    type: TensorType
    source: str | tuple[str, ...] | np.ndarray | Blob

    def value(self) -> str | tuple[str, ...] | np.ndarray:
        """Text, or an array of `type`'s shape: fp16 as float16, types below a byte as 8-bit integers."""
        return self.source.read().reshape(self.type.shape) if isinstance(self.source, Blob) else self.source


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        type: e.g. "conv".
        name: its own.
        inputs: parameter -> names of variables and constants; several only for a tuple such as concat's `values`.
        outputs: one or several.
    """

    type: str
    name: str
    inputs: Mapping[str, tuple[str, ...]]
    outputs: tuple[Variable, ...]

    @property
    def compresses(self) -> bool:
        """Whether it unpacks a stored constant instead of computing on data."""
        return self.type.startswith("constexpr_")


@dataclass(frozen=True)
class ProgramInput:
    """What a caller passes.

    Attributes:
        kind: "image" for pixels, "array" for a multi-array.
        colours: of an image: "RGB", "BGR" or "GRAYSCALE".
        shapes: the allowed ones, where they are enumerated.
    """

    name: str
    type: TensorType
    kind: InputKind = "array"
    colours: str = ""
    shapes: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Program:
    """The function that a package offers.

    Attributes:
        opset: e.g. "CoreML7", of iOS 17.
        inputs, outputs: in the order of the program; outputs by name.
        operations: in order, without constants; those that unpack compressed constants are among them.
        constants: by name.
        metadata: the package's own notes.
    """

    opset: str
    inputs: tuple[ProgramInput, ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    constants: Mapping[str, Constant]
    metadata: Mapping[str, str]

    @property
    def computing(self) -> tuple[Operation, ...]:
        """Operations on data, without those that unpack constants."""
        return tuple(operation for operation in self.operations if not operation.compresses)
