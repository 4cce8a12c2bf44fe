"""What the processes of a run tell each other."""

from collections.abc import Callable
from typing import TypeVar

import torch

from encoders.errors import InputError

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
        InputError: `action` raised it.
        SystemExit: the same on the other ranks, which end with exit code 2 and leave the message to the first.
    """
    answer: Value | None = None
    refusal: InputError | None = None
    if is_first_rank():
        try:
            answer = action()
        except InputError as error:
            refusal = error
    everywhere = gather_over_ranks((answer, refusal is not None))
    if refusal is not None:
        raise refusal
    answer, refused = everywhere[0]
    if refused:
        raise SystemExit(2)
    return answer  # type: ignore[return-value]


def is_first_rank() -> bool:
    """Whether this process is rank 0 of those that joined, or alone."""
    distributed = torch.distributed
    return not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank() == 0
