"""Graph capture with `torch.export`, the first step of every format."""

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from encoders.errors import InputError


def check_eval(module: nn.Module) -> None:
    """Raise InputError if a module is in train mode.

    Raises:
        InputError: the module is in train mode.
    """
    if module.training:
        raise InputError("the model is in train mode, where BatchNorm gives other results; call eval() first")


def trace(module: nn.Module, example: tuple[Tensor, ...], *, dynamic_shapes: Any = None, strict: bool = False) -> Any:
    """Capture a module in eval mode as a `torch.export.ExportedProgram`.

    Args:
        example: inputs of the module; dynamic_shapes, strict: as `torch.export.export` takes them.

    Raises:
        InputError: the module is in train mode, or cannot be traced, for example because control flow depends on values.
    """
    check_eval(module)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter about itself
            return torch.export.export(module, example, dynamic_shapes=dynamic_shapes, strict=strict)
    except Exception as error:  # torch's own exceptions here have no common base
        raise InputError(
            f"the model cannot be exported as a graph: {reason_of(error)}; write it without branches on values"
        ) from error


def reason_of(error: BaseException) -> str:
    """Return the first line of an exporter's message, shortened for a terminal."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def tensor_bytes(values: Iterable[Any]) -> int:
    """Return the total size in bytes of the tensors in `values`."""
    return sum(value.numel() * value.element_size() for value in values if isinstance(value, Tensor))
