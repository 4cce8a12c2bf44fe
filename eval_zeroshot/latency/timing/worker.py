"""Runs in a subject's process: opens it, calls it, reports its memory. Only plain values are returned to the parent."""

import time
from dataclasses import dataclass
from typing import Any

from encoders.errors import InputError, MissingExtra
from eval_zeroshot.latency import host
from eval_zeroshot.latency.rows.row import Placement
from eval_zeroshot.latency.subjects.opening import NotRunHere, Opened, limit_threads, open_subject
from eval_zeroshot.latency.subjects.subject import Spec


@dataclass(frozen=True, kw_only=True)
class Start:
    """Time and memory that opening a subject took, and what its runtime reports; see `LatencyRow` and `Opened`."""

    load_ms: float
    first_call_ms: float
    start_mb: float
    name: str
    precision: str
    threads: int | None
    detail: dict[str, int | str]
    placement: dict[str, Placement]
    device: str | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Use of the processors during some work.

    Attributes:
        busy_seconds: processor seconds of all programs; own_seconds: of this process; seconds: wall clock.
    """

    busy_seconds: float = 0.0
    own_seconds: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Timing(Usage):
    """Milliseconds of several calls in a row, by the wall clock and as processor time of the process."""

    wall_ms: list[float]
    cpu_ms: list[float]


@dataclass(frozen=True, kw_only=True)
class Throughput(Usage):
    """Images per second at one batch size."""

    images_per_second: float


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Maximum memory of a process: resident, and allocated on its GPU; None where it is not known."""

    peak_mb: float | None = None
    device_peak_mb: float | None = None


@dataclass(frozen=True)
class Reason:
    """Why something failed, as plain text for the parent; not_here: it would work on another system."""

    text: str
    not_here: bool = False


_opened: list[Opened] = []


def guarded(function: Any, *arguments: Any) -> Any:
    """The function's result, or a `Reason`: exceptions of runtimes often cannot be sent between processes."""
    try:
        return function(*arguments)
    except NotRunHere as error:
        return Reason(str(error), not_here=True)
    except (InputError, MissingExtra) as error:
        return Reason(str(error))
    except MemoryError:
        return Reason("out of memory")
    except Exception as error:  # of any runtime
        return Reason(f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300] if str(error).strip() else ''}")


def start(spec: Spec) -> Start:
    """Open a subject and call it once; this process then holds it."""
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
        note=opened.note,
    )


def call(times: int) -> Timing:
    """Call the subject that this process holds several times in a row."""
    (opened,) = _opened
    return time_calls(opened, times=times)


def time_calls(opened: Opened, *, times: int, clock: Any = time, busy: Any = host.busy_seconds) -> Timing:
    """Call a subject several times in a row.

    Args:
        clock: has `perf_counter` and `process_time`; busy: returns the processor seconds of all programs.
    """
    wall_ms, cpu_ms = [], []
    watch = _Watch(clock=clock, busy=busy)
    for _ in range(times):
        opened.synchronize()
        cpu, wall = clock.process_time(), clock.perf_counter()
        own = opened.call()
        opened.synchronize()
        ended = clock.perf_counter()
        wall_ms.append(own if own is not None else (ended - wall) * 1000)
        cpu_ms.append((clock.process_time() - cpu) * 1000)
    return Timing(wall_ms=wall_ms, cpu_ms=cpu_ms, **watch.stop())


def throughput(batch: int, seconds: float) -> Throughput | None:
    """Images per second in batches of B; None if the subject takes one image at a time."""
    (opened,) = _opened
    return time_batches(opened, batch=batch, seconds=seconds)


def time_batches(
    opened: Opened, *, batch: int, seconds: float, clock: Any = time, busy: Any = host.busy_seconds
) -> Throughput | None:
    """Images per second of a subject in batches of B, and the use of the processors meanwhile, warm-up included.

    Args:
        clock, busy: as for `time_calls`.
    """
    from eval_zeroshot.latency.subjects.throughput import WARM_UP_SECONDS, images_per_second

    if opened.batched is None:
        return None
    watch = _Watch(clock=clock, busy=busy)
    found = images_per_second(
        opened.batched(batch),
        batch=batch,
        seconds=seconds,
        warm_up_seconds=WARM_UP_SECONDS if opened.device else 0.0,
        synchronize=opened.synchronize,
        clock=clock.perf_counter,
    )
    return Throughput(images_per_second=found, **watch.stop())


def memory() -> Memory:
    """The maximum of this process's memory so far."""
    return Memory(peak_mb=host.peak_mb(), device_peak_mb=_opened[0].device_peak_mb() if _opened else None)


class _Watch:
    """Measures `Usage` from its making until `stop`."""

    def __init__(self, *, clock: Any, busy: Any) -> None:
        self._clock, self._busy = clock, busy
        self._before = busy(), clock.process_time(), clock.perf_counter()

    def stop(self) -> dict[str, float]:
        """The fields of `Usage`."""
        busy, own, begin = self._before
        seconds = self._clock.perf_counter() - begin
        return {"busy_seconds": self._busy() - busy, "own_seconds": self._clock.process_time() - own, "seconds": seconds}
