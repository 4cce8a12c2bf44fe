"""A process of its own for each subject: what it takes to start there, and its calls, one command at a time.

Processes are forked from a server that has imported the libraries and nothing else, where the system can do that, so that each
begins alike and small. While one is timed the others wait for a command and use no processor.
"""

import contextlib
import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from eval_zeroshot.latency import host, worker
from eval_zeroshot.latency.subjects import Spec
from eval_zeroshot.latency.worker import Start, Timing

PRELOADED = ["eval_zeroshot.latency.worker", "eval_zeroshot.latency.in_torch", "eval_zeroshot.latency.parts"]


class Failed(Exception):
    """A subject cannot be timed.

    Args:
        reason: in words.
        not_here: it can elsewhere.
    """

    def __init__(self, reason: str, *, not_here: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.not_here = not_here


class Subject(Protocol):
    """A subject in a process of its own."""

    def start(self) -> Start: ...

    def call(self, times: int) -> Timing: ...

    def throughput(self, batch: int, seconds: float) -> float | None: ...

    def peak_mb(self) -> float | None: ...

    def close(self) -> None: ...


class ProcessSubject:
    """See `Subject`.

    Raises:
        Failed: by each method, where the process cannot do what it is asked, or ended.
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._pool = ProcessPoolExecutor(max_workers=1, mp_context=_context(), initializer=_leave_interrupts)

    def start(self) -> Start:
        """Open it and call it once."""
        found: Start = self._ask(worker.start, self._spec)
        return found

    def call(self, times: int) -> Timing:
        """Call it a few times in a row."""
        found: Timing = self._ask(worker.call, times)
        return found

    def throughput(self, batch: int, seconds: float) -> float | None:
        """Images a second in batches of B, of at least so many seconds after a batch to warm up; None where it takes one."""
        found: float | None = self._ask(worker.throughput, batch, seconds)
        return found

    def peak_mb(self) -> float | None:
        """The most memory that it ever had."""
        found: float | None = self._ask(host.peak_mb)
        return found

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(Exception):
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _ask(self, function: Any, *arguments: Any) -> Any:
        try:
            answer = self._pool.submit(worker.guarded, function, *arguments).result()
        except BrokenProcessPool as error:
            raise Failed("its process was ended by the system, as happens where memory is short") from error
        if isinstance(answer, worker.Reason):
            raise Failed(answer.text, not_here=answer.not_here)
        return answer


def _leave_interrupts() -> None:
    """An interrupt from the keyboard reaches all processes; the one that started us ends this one when it has the results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *PRELOADED])
    return context
