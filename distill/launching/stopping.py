"""Graceful shutdown on SIGTERM and Ctrl-C: finish the step and write a checkpoint."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

STOPPING = (signal.SIGTERM, signal.SIGINT)
REPEAT_SECONDS = 2.0  # one request may arrive twice: from SLURM or the terminal, and forwarded by torchrun or deepspeed


class Signals:
    """Within the block, SIGTERM and SIGINT are only counted.

    Outside the main thread, where Python cannot handle signals, it counts none.

    Attributes:
        first: number of the first signal received; 0 if there was none.
        count: number of signals; repetitions within REPEAT_SECONDS of the first are not counted.
    """

    def __init__(self) -> None:
        self.first = 0
        self.count = 0
        self._came = 0.0  # the first, by the monotonic clock
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in STOPPING}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.first:
            self.first, self._came = number, now
        elif now - self._came < REPEAT_SECONDS:
            return
        self.count += 1
        self.again()

    def again(self) -> None:
        """Called at every signal that is counted."""


class EndingSignals(Signals):
    """Like `Signals`, but the second signal ends the process at once, as if it had not been handled."""

    def again(self) -> None:
        if self.count > 1:
            signal.signal(self.first, signal.SIG_DFL)
            os.kill(os.getpid(), self.first)


@contextmanager
def signals_wait() -> Iterator[None]:
    """Within the block, block SIGTERM and SIGINT in this thread; child processes started here keep them blocked for good.

    Loader workers must outlive the signal that ends a run, which a terminal or SLURM also sends to them, because the current
    step needs their batch. They end with the process that started them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
