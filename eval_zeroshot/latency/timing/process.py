"""A separate process for each subject, which starts it and calls it, one command at a time.

Where the system allows it, processes are forked from a server that has imported the libraries and nothing else, so that all of
them begin alike and small. While one is timed the others wait for a command and use no processor.
"""

import contextlib
import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from eval_zeroshot.latency.subjects.subject import Spec
from eval_zeroshot.latency.timing import worker
from eval_zeroshot.latency.timing.worker import Memory, Start, Throughput, Timing

PRELOADED = [f"eval_zeroshot.latency.{file}" for file in ("timing.worker", "subjects.in_torch", "subjects.parts")]


class Failed(Exception):
    """A subject cannot be timed.

    Args:
        reason: in words.
        not_here: whether it could be timed on another system.
    """

    def __init__(self, reason: str, *, not_here: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.not_here = not_here


class Subject(Protocol):
    """A subject in its own process."""

    def start(self) -> Start: ...

    def call(self, times: int) -> Timing: ...

    def throughput(self, batch: int, seconds: float) -> Throughput | None: ...

    def memory(self) -> Memory: ...

    def close(self) -> None: ...


class ProcessSubject:
    """See `Subject`.

    Raises:
        Failed: by each method, if the process cannot do what it is asked, or has ended.
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._pool = ProcessPoolExecutor(max_workers=1, mp_context=_context(), initializer=_leave_interrupts)

    def start(self) -> Start:
        """Open it and call it once."""
        found: Start = self._ask(worker.start, self._spec)
        return found

    def call(self, times: int) -> Timing:
        """Call it several times in a row."""
        found: Timing = self._ask(worker.call, times)
        return found

    def throughput(self, batch: int, seconds: float) -> Throughput | None:
        """Images per second in batches of B, over at least `seconds`, after a warm-up; None if it takes one image at a time."""
        found: Throughput | None = self._ask(worker.throughput, batch, seconds)
        return found

    def memory(self) -> Memory:
        """The maximum of its memory so far."""
        found: Memory = self._ask(worker.memory)
        return found

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(Exception):
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _ask(self, function: Any, *arguments: Any) -> Any:
        try:
            answer = self._pool.submit(worker.guarded, function, *arguments).result()
        except BrokenProcessPool as error:
            raise Failed("the system ended its process, probably because memory ran out") from error
        if isinstance(answer, worker.Reason):
            raise Failed(answer.text, not_here=answer.not_here)
        return answer


def _leave_interrupts() -> None:
    """Ignore interrupts from the keyboard, which reach all processes: the parent collects the results, then ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *PRELOADED])
    return context
