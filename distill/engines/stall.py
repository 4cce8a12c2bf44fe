"""Notices workers that are alive and have something to do, but finish nothing."""

import time
from collections.abc import Callable

STALL_MINUTES = 60.0
PATIENCE = 10.0  # a worker may take this many times as long as the longest wait between two batches that ended well


class StallWatch:
    """Remembers when each busy worker last finished a batch, or a task.

    A slow machine is not a stalled one: once a batch has taken longer than `limit / PATIENCE`, the limit grows with it. A
    worker that still opens its model has nothing to do yet and is not watched.

    Args:
        limit_seconds: how long a busy worker may finish nothing; None watches nobody.
        clock: seconds that never go back.
    """

    def __init__(self, limit_seconds: float | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._given, self._clock = limit_seconds, clock
        self._longest = 0.0
        self._since: dict[int, float] = {}

    @property
    def limit_seconds(self) -> float:
        """How long a busy worker may finish nothing, as is known now."""
        return float("inf") if self._given is None else max(self._given, PATIENCE * self._longest)

    def busy(self, worker: int) -> None:
        """Note that a worker was given a task."""
        self._since.setdefault(worker, self._clock())

    def progress(self, worker: int) -> None:
        """Note that a busy worker has finished a batch or a task."""
        now = self._clock()
        self._longest = max(self._longest, now - self._since.get(worker, now))
        self._since[worker] = now

    def idle(self, worker: int) -> None:
        """Note that a worker has nothing to do, or has ended."""
        self._since.pop(worker, None)

    def stalled(self) -> list[int]:
        """Return the workers that are over the limit."""
        now, limit = self._clock(), self.limit_seconds
        return [worker for worker, since in self._since.items() if now - since > limit]

    def seconds_left(self) -> float | None:
        """Return the time until the next worker may be over the limit; None if that cannot be."""
        if self._given is None or not self._since:
            return None
        return max(0.0, min(self._since.values()) + self.limit_seconds - self._clock()) + 0.01
