"""A pool of forked worker processes, which inherit this process's memory so that no large data has to be sent."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Pool(Protocol):
    """The interface of a pool: maps a function over values, in order."""

    def map(self, function: Callable[[T], R], values: Iterable[T], /) -> Iterator[R]: ...


class _Here:
    """A pool that does the work in this process."""

    map = staticmethod(map)


@contextmanager
def worker_pool(processes: int) -> Iterator[Pool]:
    """Yield a pool of forked processes; with `processes=1` the work is done in this process."""
    if processes <= 1:
        yield _Here()  # type: ignore[misc]
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("fork")) as pool:
        yield pool  # type: ignore[misc]
