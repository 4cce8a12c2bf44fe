"""A program computed operation by operation with torch, on the CPU."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.errors import InputError, InputWarning
from encoders.export.mil import ops  # noqa: F401  (registers the operations)
from encoders.export.mil.dtypes import FLOATS, TORCH, round_fp16
from encoders.export.mil.program import Constant, Operation, Program, ProgramInput, TensorType
from encoders.export.mil.registry import KNOWN, Call, Result, Value, unknown


class Interpreter:
    """Answers for a saved program.

    Every operation is computed in float32 and its result rounded to fp16 where the program declares fp16; sums inside an
    operation are not rounded, where Apple's units may add up in less. Shapes and types are checked against the declared ones.

    Args:
        program: see `read_package`.
        emulate_fp16: False leaves the rounding of results out; weights stay as they are stored.

    Attributes:
        overflowed: operations whose finite results became infinite in fp16, with the largest value; each warns once.

    Raises:
        InputError: the program has operations or parameters that are not known here, all of which are named, or a constant is
            damaged.
    """

    def __init__(self, program: Program, *, emulate_fp16: bool = True) -> None:
        missing = unknown(program.operations)
        if missing:
            raise InputError(f"operations that cannot be interpreted: {', '.join(missing)}")
        self.program = program
        self.emulate_fp16 = emulate_fp16
        self.overflowed: dict[str, float] = {}
        self._constants: dict[str, Value] = {name: as_value(constant) for name, constant in program.constants.items()}
        for operation in program.operations:
            if operation.compresses:
                self._constants.update(self._run(operation, self._constants))
                for name in [name for names in operation.inputs.values() for name in names]:
                    self._constants.pop(name, None)  # packed data is of no further use
        self._last_use = last_uses(program)

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the program answers.

        Args:
            inputs: by name; an image as (1, 3, H, W) uint8 RGB, or (1, 1, H, W) where it is grey; a multi-array as float32 or
                int32 of the declared shape.

        Returns:
            Outputs by name: float32 where the program says fp16 or fp32, else the declared integers.

        Raises:
            InputError: an input is missing, unknown, or of another shape or type, or an operation asks for something that is
                not known here.
        """
        values: dict[str, Value] = {**self._constants, **self._inputs(inputs)}
        with torch.inference_mode():
            for place, operation in enumerate(self.program.computing):
                values.update(self._run(operation, values))
                for name in self._last_use[place]:
                    del values[name]
        return {name: np.ascontiguousarray(values[name].numpy()) for name in self.program.outputs}

    def _inputs(self, inputs: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        names = [entry.name for entry in self.program.inputs]
        if set(inputs) != set(names):
            raise InputError(f"the program takes {', '.join(names)}; given were {', '.join(inputs) or 'none'}")
        taken = {}
        for entry in self.program.inputs:
            array = np.asarray(inputs[entry.name])
            if not fits(array.shape, entry.type.shape) or (entry.shapes and array.shape not in entry.shapes):
                allowed = " or ".join(str(shape) for shape in entry.shapes) or str(entry.type)
                raise InputError(f"the input {entry.name!r} has shape {array.shape}; expected {allowed}")
            if (entry.kind == "image") != (array.dtype == np.uint8):
                wanted = "uint8 pixels" if entry.kind == "image" else "float32 or int32"
                raise InputError(f"the input {entry.name!r} is {array.dtype}; expected {wanted}")
            if entry.type.dtype not in FLOATS and array.dtype.kind not in "iub":
                raise InputError(f"the input {entry.name!r} is {array.dtype}; expected {entry.type.dtype}")
            if entry.kind == "image" and entry.colours == "BGR":
                array = array[:, ::-1]
            tensor = torch.from_numpy(np.ascontiguousarray(array)).to(TORCH[entry.type.dtype])
            taken[entry.name] = self._rounded(tensor, entry.type)
        check_listed_together(self.program.inputs, {name: np.shape(array) for name, array in inputs.items()})
        return taken

    def _run(self, operation: Operation, values: Mapping[str, Value]) -> dict[str, Tensor]:
        call = Call(operation, values)
        try:
            results: Result = KNOWN[operation.type].run(call)
        except (RuntimeError, IndexError, TypeError) as error:
            raise call.refuse(str(error).splitlines()[0]) from error
        results = results if isinstance(results, tuple) else (results,)
        if len(results) != len(operation.outputs):
            raise call.refuse(f"it gives {len(results)} results where the program has {len(operation.outputs)}")
        named = {}
        for variable, result in zip(operation.outputs, results, strict=True):
            declared = variable.type
            wanted = TORCH.get(declared.dtype)
            if not fits(tuple(result.shape), declared.shape) or wanted is None or family(result.dtype) != family(wanted):
                raise call.refuse(f"it gives {result.dtype} {tuple(result.shape)} where the program declares {declared}")
            named[variable.name] = self._rounded(result.to(wanted), declared)
            if declared.dtype == "fp16" and overflows(result, named[variable.name]):
                self._note_overflow(operation, largest=float(result.abs().max()))
        return named

    def _rounded(self, tensor: Tensor, declared: TensorType) -> Tensor:
        return round_fp16(tensor) if declared.dtype == "fp16" and self.emulate_fp16 else tensor

    def _note_overflow(self, operation: Operation, *, largest: float) -> None:
        if operation.name not in self.overflowed:
            self.overflowed[operation.name] = largest
            warnings.warn(
                f"the operation {operation.type} named {operation.name!r} reaches {largest:.3g}, beyond fp16's 65504: its "
                "result is infinite in half precision, and what follows is wrong; write the model in fp32, or with smaller "
                "values there",
                InputWarning,
                stacklevel=4,
            )


def as_value(constant: Constant) -> Value:
    """Text as it is, numbers as the interpreter keeps them."""
    value: Any = constant.value()
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype == np.uint16 or value.dtype == np.uint32:
        value = value.astype(np.int64)
    wanted = TORCH.get(constant.type.dtype, torch.int8 if constant.type.dtype.startswith("int") else torch.uint8)
    return torch.from_numpy(np.array(value)).to(wanted)


def check_listed_together(inputs: Sequence[ProgramInput], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse shapes that stand at different places of the inputs' lists, which Core ML matches by place.

    Raises:
        InputError: they do.
    """
    listed = [entry for entry in inputs if entry.shapes]
    places = [{place for place, shape in enumerate(entry.shapes) if shape == shapes[entry.name]} for entry in listed]
    if places and not set.intersection(*places):
        given = ", ".join(f"{entry.name} {shapes[entry.name]}" for entry in listed)
        raise InputError(f"the shapes {given} are not listed together; expected shapes of one place of each input's list")


def overflows(exact: Tensor, rounded: Tensor) -> bool:
    """Whether rounding made finite numbers infinite."""
    return bool(torch.isinf(rounded).any()) and bool(torch.isfinite(exact).all())


def fits(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    """Whether a shape is the declared one; sizes that are not declared fit all."""
    return len(shape) == len(declared) and all(want in (None, size) for size, want in zip(shape, declared, strict=True))


def family(dtype: torch.dtype) -> str:
    """Numbers, integers or truth values."""
    return "bool" if dtype == torch.bool else "float" if dtype.is_floating_point else "int"


def last_uses(program: Program) -> list[list[str]]:
    """For each operation on data the variables that nothing needs after it, among them results that nobody uses."""
    last: dict[str, float] = {}
    for place, operation in enumerate(program.computing):
        last.update({variable.name: place for variable in operation.outputs})
        last.update({name: place for names in operation.inputs.values() for name in names if name not in program.constants})
    unpacked = {variable.name for operation in program.operations if operation.compresses for variable in operation.outputs}
    last.update(dict.fromkeys((*program.outputs, *unpacked), math.inf))
    ends: list[list[str]] = [[] for _ in program.computing]
    for name, end in last.items():
        if end != math.inf:
            ends[int(end)].append(name)
    return ends
