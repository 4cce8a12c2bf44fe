"""When is a download too slow to wait for: not only where nothing arrives, but also where next to nothing does."""

import time
from collections.abc import Callable

SLOWEST_BYTES_PER_SECOND = 8192  # a tenth of a bad mobile connection; a shard of 300 MB takes ten hours at it


class TooSlow(OSError):
    """What is read arrives more slowly than at the slowest rate for too long."""


class Pace:
    """How many seconds a download is behind the slowest rate that is waited for.

    The clock adds to it, and bytes take from it as many seconds as the slowest rate needs for them. It is never below 0: a
    quick start is no credit for standing still later.

    Args:
        slowest: bytes a second.
        clock: seconds, for tests.
    """

    def __init__(self, *, slowest: float = SLOWEST_BYTES_PER_SECOND, clock: Callable[[], float] = time.monotonic) -> None:
        self.slowest = slowest
        self._clock = clock
        self._last = clock()
        self._behind = 0.0
        self._caught_up = False

    @property
    def behind(self) -> float:
        """Seconds that the download is behind now."""
        now = self._clock()
        self._behind += now - self._last
        self._last = now
        return self._behind

    def arrived(self, count: int) -> None:
        """So many more bytes arrived."""
        self._behind = max(0.0, self.behind - count / self.slowest)
        self._caught_up = self._caught_up or self._behind == 0

    def has_caught_up(self) -> bool:
        """Whether the download was not behind at some moment since this was last asked."""
        caught_up, self._caught_up = self._caught_up, False
        return caught_up
