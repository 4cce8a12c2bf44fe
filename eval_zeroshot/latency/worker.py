"""Inside the process of a subject: opened, called, its memory told. Only plain values come back from here."""

import time
from dataclasses import dataclass
from typing import Any

from encoders.errors import InputError, MissingExtra
from eval_zeroshot.latency import host
from eval_zeroshot.latency.opening import NotRunHere, Opened, limit_threads, open_subject
from eval_zeroshot.latency.rows import Placement
from eval_zeroshot.latency.subjects import Spec


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


@dataclass(frozen=True)
class Reason:
    """Why something could not be done, in words that can travel; not_here: it can elsewhere."""

    text: str
    not_here: bool = False


_opened: list[Opened] = []


def guarded(function: Any, *arguments: Any) -> Any:
    """What the function gives, or a reason in words: exceptions of runtimes often cannot travel between processes."""
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
    )


def call(times: int) -> Timing:
    """Call the subject that this process holds a few times in a row."""
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


def throughput(batch: int, seconds: float) -> float | None:
    """Images a second in batches of B; None where the subject takes one image at a time."""
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
