"""A map that works ahead in threads and gives its results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(function: Callable[[T], R], values: Iterable[T], *, threads: int, ahead: int) -> Iterator[R]:
    """`map` with up to `ahead` results being made or waiting; an exception is raised where its result would be."""
    if threads < 1:
        yield from map(function, values)
        return
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[R]] = deque()
        try:
            for value in values:
                pending.append(pool.submit(function, value))
                if len(pending) >= max(1, ahead):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
