"""Convert the arrays that a caller passes, and the constants of a program, to what the interpreter computes with."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.errors import InputError
from encoders.export.mil.dtypes import BITS, FLOATS, TORCH
from encoders.export.mil.program import Constant, ProgramInput
from encoders.export.mil.registry import Value


def take_inputs(entries: Sequence[ProgramInput], arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Return the arrays as tensors by name, images in the channel order that the program expects.

    Raises:
        InputError: an input is missing, unknown, or of the wrong shape or type.
    """
    names = [entry.name for entry in entries]
    if set(arrays) != set(names):
        raise InputError(f"the program takes {', '.join(names)}; got {', '.join(arrays) or 'none'}")
    taken = {entry.name: take_input(entry, np.asarray(arrays[entry.name])) for entry in entries}
    check_listed_together(entries, {name: np.shape(array) for name, array in arrays.items()})
    return taken


def take_input(entry: ProgramInput, array: np.ndarray) -> Tensor:
    """Return one input as a tensor.

    Raises:
        InputError: its shape or type is wrong.
    """
    if not fits(array.shape, entry.type.shape) or (entry.shapes and array.shape not in entry.shapes):
        allowed = " or ".join(str(shape) for shape in entry.shapes) or str(entry.type)
        raise InputError(f"the input {entry.name!r} has shape {array.shape}; expected {allowed}")
    if (entry.kind == "image") != (array.dtype == np.uint8):
        wanted = "uint8 pixels" if entry.kind == "image" else "float32 or int32"
        raise InputError(f"the input {entry.name!r} is {array.dtype}; expected {wanted}")
    if array.dtype.kind not in ("fiub" if entry.type.dtype in FLOATS else "iub"):
        raise InputError(f"the input {entry.name!r} is {array.dtype}; expected {entry.type.dtype}")
    if entry.kind == "image" and entry.colours == "BGR":
        array = array[:, ::-1]
    return torch.from_numpy(np.ascontiguousarray(array)).to(TORCH[entry.type.dtype])


def check_listed_together(entries: Sequence[ProgramInput], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check that the inputs' shapes have the same position in each input's list; Core ML accepts no other combination.

    Raises:
        InputError: they do not.
    """
    listed = [entry for entry in entries if entry.shapes]
    places = [{place for place, shape in enumerate(entry.shapes) if shape == shapes[entry.name]} for entry in listed]
    if places and not set.intersection(*places):
        given = ", ".join(f"{entry.name} {shapes[entry.name]}" for entry in listed)
        raise InputError(f"the shapes {given} are not listed together; expected shapes at one position of each input's list")


def fits(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    """Return whether a shape agrees with a declared one, in which None stands for any size."""
    return len(shape) == len(declared) and all(want in (None, size) for size, want in zip(shape, declared, strict=True))


def as_value(constant: Constant) -> Value:
    """Return text unchanged, and numbers as a tensor of the type in which the interpreter holds them.

    Raises:
        InputError: it is damaged, or its type is not supported.
    """
    value: Any = constant.value()
    if not isinstance(value, np.ndarray):
        return value
    dtype = constant.type.dtype
    if dtype not in TORCH and BITS.get(dtype, 8) >= 8:
        raise InputError(
            f"constants of type {dtype} cannot be interpreted; expected one of {', '.join(TORCH)} or packed integers"
        )
    if value.dtype == np.uint16 or value.dtype == np.uint32:
        value = value.astype(np.int64)
    packed = torch.int8 if dtype.startswith("int") else torch.uint8
    return torch.from_numpy(np.array(value)).to(TORCH.get(dtype, packed))
