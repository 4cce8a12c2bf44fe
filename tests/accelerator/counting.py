"""Counts of what a GPU was asked to do: kernels, waits of the host, copies from it and to it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

# Operations that return metadata or a view: no kernel.
FREE = {
    "alias", "as_strided", "chunk", "detach", "diagonal", "expand", "expand_as", "lift_fresh", "narrow", "permute", "select",
    "slice", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unflatten", "unfold", "unsqueeze", "view",
    "view_as", "_unsafe_view", "_reshape_alias", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided",
}  # fmt: skip
# Operations whose result's value or shape the host must know before it can go on.
WAITING = {
    "_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "unique_dim", "_unique2",
    "unique_consecutive", "bincount", "histc", "repeat_interleave",
}  # fmt: skip


@dataclass
class Counts:
    """What the pretended GPU was asked to do.

    Attributes:
        kernels: launches, by the name of the operation.
        synchronisations: operations that the host waits for, by name.
        to_device: copies from the host, by whether they come from pinned memory.
        to_host: copies to the host.
    """

    kernels: Counter[str] = field(default_factory=Counter)
    synchronisations: Counter[str] = field(default_factory=Counter)
    to_device: Counter[str] = field(default_factory=Counter)
    to_host: int = 0

    @property
    def launched(self) -> int:
        """Number of kernels."""
        return self.kernels.total()

    @property
    def waited(self) -> int:
        """Number of synchronisations, including copies to the host and copies from memory that is not pinned."""
        return self.synchronisations.total() + self.to_host + self.to_device["pageable"]


_counting: list[Counts] = []


@contextmanager
def counting() -> Iterator[Counts]:
    """Count within the block; of nested blocks the innermost counts."""
    counts = Counts()
    _counting.append(counts)
    try:
        yield counts
    finally:
        _counting.pop()


def count_operation(name: str, args: Any) -> None:
    """Count an operation on tensors of the device by its name: what it launches, and whether the host waits for it."""
    if name in WAITING:
        wait(name)
    if name == "index" and any(isinstance(index, Tensor) and index.dtype == torch.bool for index in args[1]):
        wait("index by a mask")
    if name not in FREE:
        launch(name, _launches(name, args))


def launch(name: str, count: int = 1) -> None:
    """Count a launch."""
    if _counting:
        _counting[-1].kernels[name] += count


def _launches(name: str, args: Any) -> int:
    """Return how many kernels an operation launches: several where it takes lists of tensors.

    Source of the limits: PyTorch, `aten/src/ATen/native/cuda/MultiTensorApply.cuh` (tensors a launch by the number of lists,
    320 blocks of 65,536 elements each) and `Shape.cu` (128 tensors a launch of `cat`).
    """
    lists = [value for value in args if isinstance(value, (list, tuple)) and value and isinstance(value[0], Tensor)]
    if name in ("cat", "stack") and lists:
        return -(-len(lists[0]) // 128)
    if not name.startswith(("_foreach_", "_fused_")) or not lists:
        return 1
    tensors = lists[0]
    most = {1: 110, 2: 64, 3: 48, 4: 36}.get(len(lists), 30)
    blocks = sum(-(-tensor.numel() // 65536) for tensor in tensors)
    return max(-(-len(tensors) // most), -(-blocks // 320))


def wait(name: str) -> None:
    """Count a wait of the host."""
    if _counting:
        _counting[-1].synchronisations[name] += 1


def copied_to_device(*, pinned: bool) -> None:
    """Count a copy from the host."""
    if _counting:
        _counting[-1].to_device["pinned" if pinned else "pageable"] += 1


def copied_to_host() -> None:
    """Count a copy to the host."""
    if _counting:
        _counting[-1].to_host += 1
