"""Changes of torch within a block, so that it takes the pretended GPU for one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim import optimizer


@contextmanager
def no_grad_for_inference_mode() -> Iterator[None]:
    """Make `torch.inference_mode` behave like `no_grad`: wrapper subclasses cannot be viewed in inference mode."""
    mode = torch.inference_mode
    kept = mode.__enter__, mode.__exit__

    def enter(self: Any) -> None:
        self.pretended = torch.no_grad()
        self.pretended.__enter__()

    def leave(self: Any, *error: Any) -> None:
        self.pretended.__exit__(*error)

    mode.__enter__, mode.__exit__ = enter, leave  # type: ignore[method-assign]
    try:
        yield
    finally:
        mode.__enter__, mode.__exit__ = kept  # type: ignore[method-assign]


@contextmanager
def devices_of_groups(device: torch.device, *, is_there: Callable[[Any], bool]) -> Iterator[None]:
    """Let optimizers group tensors by the device that they say; torch's own code looks below the wrapper.

    Args:
        device: that tensors of which `is_there` holds say.
    """
    kept = optimizer._group_tensors_by_device_and_dtype

    def grouped(lists: Any, with_indices: bool = False) -> Any:
        found = kept(lists, with_indices)
        first = next((tensor for tensor in lists[0] if tensor is not None), None)
        return {(device if is_there(first) else own, dtype): rest for (own, dtype), rest in found.items()}

    optimizer._group_tensors_by_device_and_dtype = grouped
    try:
        yield
    finally:
        optimizer._group_tensors_by_device_and_dtype = kept


class _Stream:
    """A stream and an event of it: everything launched has happened; a copy to the host was counted when it was asked for."""

    def record_event(self) -> "_Stream":
        return self

    def synchronize(self) -> None:
        pass


@contextmanager
def streams() -> Iterator[None]:
    """Let `torch.cuda.current_stream` give a stream, also without a driver."""
    kept = torch.cuda.current_stream
    torch.cuda.current_stream = lambda device=None: _Stream()  # type: ignore[assignment, return-value]
    try:
        yield
    finally:
        torch.cuda.current_stream = kept
