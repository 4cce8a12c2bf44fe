"""A process of its own for each subject: what it takes to start there, and its calls, one command at a time.

Processes are forked from a server that has imported the libraries and nothing else, where the system can do that, so that each
begins alike and small. While one is timed the others wait for a command and use no processor.
"""

import contextlib
import multiprocessing
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol

from encoders.errors import InputError, MissingExtra
from eval_zeroshot.latency import host
from eval_zeroshot.latency.opening import NotRunHere, Opened, limit_threads, open_subject
from eval_zeroshot.latency.rows import Placement
from eval_zeroshot.latency.subjects import Spec

PRELOADED = ["eval_zeroshot.latency.process", "eval_zeroshot.latency.in_torch", "eval_zeroshot.latency.parts"]


@dataclass(frozen=True, kw_only=True)
class Start:
    """What opening a subject took, and what it then says of itself; see `LatencyRow`. device: None is the processor."""

    load_ms: float
    first_call_ms: float
    start_mb: float
    name: str
    precision: str
    threads: int | None
    detail: dict[str, int | str]
    placement: dict[str, Placement]
    device: str | None = None


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Calls in a row: milliseconds by the wall clock and of the process's processors, and what all processors did meanwhile.

    Attributes:
        busy_seconds: that all processors of the machine were in use; own_seconds: by this process; seconds: that went by.
    """

    wall_ms: list[float]
    cpu_ms: list[float]
    busy_seconds: float = 0.0
    own_seconds: float = 0.0
    seconds: float = 0.0


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
        found: Start = self._ask(_start, self._spec)
        return found

    def call(self, times: int) -> Timing:
        """Call it a few times in a row."""
        found: Timing = self._ask(_call, times)
        return found

    def throughput(self, batch: int, seconds: float) -> float | None:
        """Images a second in batches of B, of at least so many seconds after a batch to warm up; None where it takes one."""
        found: float | None = self._ask(_throughput, batch, seconds)
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
            answer = self._pool.submit(_guarded, function, *arguments).result()
        except BrokenProcessPool as error:
            raise Failed("its process was ended by the system, as happens where memory is short") from error
        if isinstance(answer, _Reason):
            raise Failed(answer.text, not_here=answer.not_here)
        return answer


@dataclass(frozen=True)
class _Reason:
    text: str
    not_here: bool = False


_opened: list[Opened] = []


def _guarded(function: Any, *arguments: Any) -> Any:
    """What the function gives, or a reason in words: exceptions of runtimes often cannot travel between processes."""
    try:
        return function(*arguments)
    except NotRunHere as error:
        return _Reason(str(error), not_here=True)
    except (InputError, MissingExtra) as error:
        return _Reason(str(error))
    except MemoryError:
        return _Reason("out of memory")
    except Exception as error:  # of any runtime
        return _Reason(f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300] if str(error).strip() else ''}")


def _start(spec: Spec) -> Start:
    limit_threads(spec.threads)
    start_mb = host.resident_mb()
    begin = time.perf_counter()
    opened = open_subject(spec)
    loaded = time.perf_counter()
    opened.call()
    opened.synchronize()
    called = time.perf_counter()
    _opened[:] = [opened]
    return Start(
        load_ms=(loaded - begin) * 1000,
        first_call_ms=(called - loaded) * 1000,
        start_mb=start_mb,
        name=opened.name,
        precision=opened.precision,
        threads=opened.threads,
        detail=opened.detail(),
        placement=opened.placement(),
        device=opened.device,
    )


def _call(times: int) -> Timing:
    (opened,) = _opened
    return time_calls(opened, times=times)


def time_calls(opened: Opened, *, times: int, clock: Any = time, busy: Any = host.busy_seconds) -> Timing:
    """Call a subject a few times in a row.

    Args:
        clock: with `perf_counter` and `process_time`; busy: seconds that all processors were in use.
    """
    wall_ms, cpu_ms = [], []
    busy_before, own_before, begin = busy(), clock.process_time(), clock.perf_counter()
    for _ in range(times):
        opened.synchronize()
        cpu, wall = clock.process_time(), clock.perf_counter()
        own = opened.call()
        opened.synchronize()
        ended = clock.perf_counter()
        wall_ms.append(own if own is not None else (ended - wall) * 1000)
        cpu_ms.append((clock.process_time() - cpu) * 1000)
    seconds = clock.perf_counter() - begin
    return Timing(
        wall_ms=wall_ms,
        cpu_ms=cpu_ms,
        busy_seconds=busy() - busy_before,
        own_seconds=clock.process_time() - own_before,
        seconds=seconds,
    )


def _throughput(batch: int, seconds: float) -> float | None:
    from eval_zeroshot.latency.throughput import WARM_UP_SECONDS, images_per_second

    (opened,) = _opened
    if opened.batched is None:
        return None
    return images_per_second(
        opened.batched(batch),
        batch=batch,
        seconds=seconds,
        warm_up_seconds=WARM_UP_SECONDS if opened.device else 0.0,
        synchronize=opened.synchronize,
    )


def _leave_interrupts() -> None:
    """An interrupt from the keyboard reaches all processes; the one that started us ends this one when it has the results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *PRELOADED])
    return context
