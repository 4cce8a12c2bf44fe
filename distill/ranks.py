"""What the processes of a run tell each other."""

from collections.abc import Callable
from typing import TypeVar

import torch

Value = TypeVar("Value")


def gather_over_ranks(value: Value) -> list[Value]:
    """What each rank gave, in order of rank, on every rank."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return [value]
    gathered: list[Value] = [value] * distributed.get_world_size()
    distributed.all_gather_object(gathered, value)
    return gathered


def on_first_rank(action: Callable[[], Value]) -> Value:
    """What `action` returns on the first rank, the only one that calls it, on every rank. All ranks call this.

    Raises:
        Exception: what `action` raised.
        SystemExit: the same on the other ranks, which end with exit code 2 and leave the message to the first.
    """
    answer, failure = _tried(action) if is_first_rank() else (None, None)
    everywhere = gather_over_ranks((answer, failure is not None))
    if failure is not None:
        raise failure
    answer, failed = everywhere[0]
    if failed:
        raise SystemExit(2)
    return answer  # type: ignore[return-value]


def on_every_rank(action: Callable[[], Value]) -> Value:
    """What `action`, in which ranks do not wait for each other, returns here; where it fails on one rank, all end.

    Raises:
        Exception: what `action` raised here.
        SystemExit: it failed on other ranks only; this one ends with exit code 2 and leaves the message to them.
    """
    answer, failure = _tried(action)
    failed = any(gather_over_ranks(failure is not None))
    if failure is not None:
        raise failure
    if failed:
        raise SystemExit(2)
    return answer  # type: ignore[return-value]


def _tried(action: Callable[[], Value]) -> tuple[Value | None, Exception | None]:
    """What an action returned, or what it raised: the others must not wait for a rank on which it failed."""
    try:
        return action(), None
    except Exception as error:
        return None, error


def is_first_rank() -> bool:
    """Whether this process is rank 0 of those that joined, or alone."""
    distributed = torch.distributed
    return not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank() == 0
