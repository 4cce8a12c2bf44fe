"""Worker processes that begin with all that this process knows, so that nothing large is sent to them."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Pool(Protocol):
    """What maps a function over values, in order."""

    def map(self, function: Callable[[T], R], values: Iterable[T], /) -> Iterator[R]: ...


class _Here:
    """No pool: this process does the work."""

    map = staticmethod(map)


@contextmanager
def worker_pool(processes: int) -> Iterator[Pool]:
    """A pool of so many forked processes; of one process, the work is done in this one."""
    if processes <= 1:
        yield _Here()  # type: ignore[misc]
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("fork")) as pool:
        yield pool  # type: ignore[misc]
