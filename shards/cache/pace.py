"""Minimum download rate: detects connections that deliver almost nothing, which a socket time-out does not catch."""

import time
from collections.abc import Callable

from shards.stores.retry import SLOWEST_BYTES_PER_SECOND


class TooSlow(OSError):
    """The download has been below the slowest allowed rate for too long."""


class Pace:
    """Tracks how many seconds a download lags behind the slowest allowed rate.

    The lag grows with the clock, and each byte reduces it by the time that the byte takes at the slowest rate. It is never
    below 0, so a fast start does not offset a later stall.

    Args:
        slowest: slowest allowed rate, bytes per second.
        clock: returns seconds; replaceable in tests.
    """

    def __init__(self, *, slowest: float = SLOWEST_BYTES_PER_SECOND, clock: Callable[[], float] = time.monotonic) -> None:
        self.slowest = slowest
        self._clock = clock
        self._last = clock()
        self._behind = 0.0
        self._caught_up = False

    @property
    def behind(self) -> float:
        """Return the current lag in seconds."""
        now = self._clock()
        self._behind += now - self._last
        self._last = now
        return self._behind

    def arrived(self, count: int) -> None:
        """Record that `count` more bytes have arrived."""
        self._behind = max(0.0, self.behind - count / self.slowest)
        self._caught_up = self._caught_up or self._behind == 0

    def has_caught_up(self) -> bool:
        """Return whether the lag has been 0 at any time since the last call."""
        caught_up, self._caught_up = self._caught_up, False
        return caught_up
