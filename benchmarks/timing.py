"""Timing two ways of doing the same thing, so that both see the same machine."""

import statistics
import time
from collections.abc import Callable, Mapping


def alternate(ways: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Call each way once to warm up, then all of them in turn, `rounds` times, each round in the other direction.

    Returns:
        name -> median seconds of a call.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for number in range(rounds):
        for name in list(ways)[:: 1 if number % 2 == 0 else -1]:
            begin = time.perf_counter()
            ways[name]()
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(measured) for name, measured in seconds.items()}


class CpuTimed:
    """A way for `alternate` that also remembers its processor seconds, which other programs disturb less.

    Args:
        way: what to call.
    """

    def __init__(self, way: Callable[[], object]) -> None:
        self._way = way
        self._seconds: list[float] = []

    def __call__(self) -> None:
        begin = time.process_time()
        self._way()
        self._seconds.append(time.process_time() - begin)

    @property
    def cpu_seconds(self) -> float:
        """Median of the calls but the first, over all threads of this process."""
        return statistics.median(self._seconds[1:])
