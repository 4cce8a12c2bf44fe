"""Compute a program operation by operation with torch, on the CPU."""

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from encoders.errors import InputError, InputWarning
from encoders.export.mil import ops  # noqa: F401  (registers the operations)
from encoders.export.mil.dtypes import TORCH, round_fp16
from encoders.export.mil.guards import input_errors
from encoders.export.mil.inputs import as_value, fits, take_inputs
from encoders.export.mil.lifetimes import last_uses
from encoders.export.mil.program import Operation, Program, TensorType
from encoders.export.mil.registry import KNOWN, Call, Result, Value, unknown


class Interpreter:
    """Computes the outputs of a saved program.

    Every operation is computed in float32, and its result is rounded to fp16 if the program declares fp16. Sums inside an
    operation are not rounded, whereas Apple's hardware may accumulate in lower precision. The shapes and types of results are
    checked against the declared ones.

    Args:
        program: see `read_package`.
        emulate_fp16: False leaves results unrounded; weights keep the precision in which they are stored.

    Attributes:
        overflowed: operations whose finite results became infinite in fp16, with the largest value; each warns once.

    Raises:
        InputError: the program uses operations or parameters that are not supported (the message lists all of them), or a
            constant is damaged.
    """

    def __init__(self, program: Program, *, emulate_fp16: bool = True) -> None:
        self.program = program
        self.emulate_fp16 = emulate_fp16
        self.overflowed: dict[str, float] = {}
        with input_errors(program.name):
            missing = unknown(program.operations)
            if missing:
                raise InputError(f"operations that cannot be interpreted: {', '.join(missing)}; use Core ML on macOS instead")
            values: dict[str, Value] = {name: as_value(constant) for name, constant in program.constants.items()}
            needed = {name for operation in program.computing for name in operation.arguments} | set(program.outputs)
            for operation, unused in zip(program.unpacking, last_uses(program.unpacking, keep=needed), strict=True):
                values.update(self._run(operation, values))
                for name in unused:  # packed data that has been unpacked
                    del values[name]
        self._constants = values
        unpacked = [variable.name for operation in program.unpacking for variable in operation.outputs]
        self._computing = program.computing
        self._unused_after = last_uses(self._computing, keep={*program.constants, *unpacked, *program.outputs})

    def predict(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the program's outputs for one set of inputs.

        Args:
            inputs: by name; an image as (1, 3, H, W) uint8 RGB, or (1, 1, H, W) if it is grey; a multi-array as float32 or
                int32 of the declared shape.

        Returns:
            Outputs by name: float32 if the program declares fp16 or fp32, otherwise the declared integers.

        Raises:
            InputError: an input is missing, unknown, or of the wrong shape or type; or an operation is damaged or used in a
                way that is not supported.
        """
        with input_errors(self.program.name), torch.inference_mode():
            values: dict[str, Value] = dict(self._constants)
            tensors = take_inputs(self.program.inputs, inputs)
            values.update({entry.name: self._rounded(tensors[entry.name], entry.type) for entry in self.program.inputs})
            for operation, unused in zip(self._computing, self._unused_after, strict=True):
                values.update(self._run(operation, values))
                for name in unused:
                    del values[name]
            return {name: np.ascontiguousarray(values[name].numpy()) for name in self.program.outputs}

    def _run(self, operation: Operation, values: Mapping[str, Value]) -> dict[str, Tensor]:
        call = Call(operation, values)
        with input_errors(operation.label):
            results: Result = KNOWN[operation.type].run(call)
        results = results if isinstance(results, tuple) else (results,)
        if len(results) != len(operation.outputs):
            raise call.refuse(f"it has {len(results)} results where the program declares {len(operation.outputs)}")
        named = {}
        for variable, result in zip(operation.outputs, results, strict=True):
            declared = variable.type
            wanted = TORCH.get(declared.dtype)
            if not fits(tuple(result.shape), declared.shape) or wanted is None or family(result.dtype) != family(wanted):
                raise call.refuse(f"its result is {result.dtype} {tuple(result.shape)} where the program declares {declared}")
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
                f"{operation.label} reaches {largest:.3g}, beyond fp16's largest number 65504: its result is infinite in half "
                "precision, and everything computed from it is wrong; export the model in fp32, or scale its values down",
                InputWarning,
                stacklevel=4,
            )


def overflows(exact: Tensor, rounded: Tensor) -> bool:
    """Return whether rounding made finite numbers infinite."""
    return bool(torch.isinf(rounded).any()) and bool(torch.isfinite(exact).all())


def family(dtype: torch.dtype) -> str:
    """Return "bool", "float" or "int"."""
    return "bool" if dtype == torch.bool else "float" if dtype.is_floating_point else "int"
