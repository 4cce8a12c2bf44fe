"""A threaded `map` that works ahead and yields its results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ordered_map(function: Callable[[T], R], values: Iterable[T], *, threads: int, ahead: int) -> Iterator[R]:
    """Like `map`, in threads, with up to `ahead` results pending; an exception is raised in place of its result."""
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
