"""Communication between the ranks of a run."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from encoders.errors import InputError

Value = TypeVar("Value")


def gather_over_ranks(value: Value) -> list[Value]:
    """Gather a value from every rank; return the list, in order of rank, on all ranks."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return [value]
    gathered: list[Value] = [value] * distributed.get_world_size()
    distributed.all_gather_object(gathered, value)
    return gathered


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Sum a tensor over all ranks in place and return it; on a GPU without waiting for the result."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        distributed.all_reduce(tensor)
    return tensor


def _gloo_group() -> Any:
    """Return a group of all ranks that talks on the CPU.

    Raises:
        InputError: the ranks cannot reach each other.
    """
    try:
        return torch.distributed.new_group(backend="gloo")
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the processes of this run cannot reach each other by gloo ({reason}); where a machine's name leads to 127.0.1.1, "
            "set GLOO_SOCKET_IFNAME to the network interface between the machines, e.g. GLOO_SOCKET_IFNAME=eth0"
        ) from error


class StopVote:
    """Lets all ranks end after the same step, without waiting for the device.

    Each step's vote is summed up on the CPU while the next step runs. With several ranks the run ends one step after the
    vote. Every rank must vote after the same steps.

    Args:
        world_size: number of ranks.

    Raises:
        InputError: the ranks cannot reach each other.
    """

    def __init__(self, *, world_size: int) -> None:
        self._group: Any = _gloo_group() if world_size > 1 else None
        self._pending: tuple[Any, Tensor] | None = None

    def cast(self, vote: int) -> int:
        """Vote after a step; return the highest vote of the step before (of this step where there is one rank), 0 for none."""
        if self._group is None:
            return vote
        result = self.close()
        tally = torch.tensor([vote])
        work = torch.distributed.all_reduce(tally, torch.distributed.ReduceOp.MAX, group=self._group, async_op=True)
        self._pending = work, tally
        return result

    def close(self) -> int:
        """Wait for the vote that is under way, if any, and return its result, else 0."""
        if self._pending is None:
            return 0
        (work, tally), self._pending = self._pending, None
        work.wait()
        return int(tally)


def on_first_rank(action: Callable[[], Value]) -> Value:
    """Call `action` on the first rank only and return its result on every rank. All ranks must call this.

    Raises:
        Exception: what `action` raised.
        SystemExit: `action` failed; raised on the other ranks, with exit code 2, as the first rank prints the message.
    """
    answer, failure = _tried(action) if is_first_rank() else (None, None)
    results = gather_over_ranks((answer, failure is not None))
    if failure is not None:
        raise failure
    answer, failed = results[0]
    if failed:
        raise SystemExit(2)
    return answer  # type: ignore[return-value]


def on_every_rank(action: Callable[[], Value]) -> Value:
    """Call `action` on every rank and return its result; if it fails on one rank, all ranks exit. It must not use collectives.

    Raises:
        Exception: what `action` raised on this rank.
        SystemExit: it failed on other ranks only; this rank exits with code 2, and the others print the message.
    """
    answer, failure = _tried(action)
    failed = any(gather_over_ranks(failure is not None))
    if failure is not None:
        raise failure
    if failed:
        raise SystemExit(2)
    return answer  # type: ignore[return-value]


def _tried(action: Callable[[], Value]) -> tuple[Value | None, Exception | None]:
    """Return an action's result or its exception, so that a failing rank still takes part in the next collective."""
    try:
        return action(), None
    except Exception as error:
        return None, error


def is_first_rank() -> bool:
    """Return whether this process has rank 0 or runs alone."""
    distributed = torch.distributed
    return not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank() == 0
