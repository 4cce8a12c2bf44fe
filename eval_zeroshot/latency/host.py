"""Load of the machine and memory of a process, as the operating system reports them."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from encoders.errors import InputError

LOADED = 0.15  # processors that other programs may keep busy before timings are called unreliable
LOOK_SECONDS = 1.0
SHORT_SECONDS = 0.5  # the operating system counts in steps of 10 ms, so over shorter times the others' share is mostly error


def busy_seconds() -> float:
    """Busy processor seconds since start-up, over all processors and programs, other guests of the host included."""
    times = psutil.cpu_times()
    names = ("user", "nice", "system", "irq", "softirq", "steal")
    return float(sum(getattr(times, name, 0.0) for name in names))


def other_cpu(*, busy: float, own: float, seconds: float) -> float | None:
    """Number of processors that other programs kept busy.

    Args:
        busy: processor seconds of all programs; own: those of the subject's process; seconds: wall clock.

    Returns:
        None if the time was too short to measure it.
    """
    return None if seconds < SHORT_SECONDS else max(0.0, busy - own) / seconds


def is_loaded(others: float | None) -> bool:
    """Whether other programs keep too many processors busy for a timing to be trusted."""
    return others is not None and others > LOADED


def load_average() -> float | None:
    """The load average of the last minute; None if the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def check_idle(*, allow_loaded: bool, sleep: Callable[[float], None] = time.sleep) -> float:
    """Watch the machine for a second before anything is measured.

    Returns:
        Number of processors that other programs keep busy.

    Raises:
        InputError: it is more than `LOADED`, and that is not allowed.
    """
    busy, own, begin = busy_seconds(), time.process_time(), time.perf_counter()
    sleep(LOOK_SECONDS)
    seconds = time.perf_counter() - begin
    others = max(0.0, busy_seconds() - busy - (time.process_time() - own)) / max(seconds, LOOK_SECONDS)
    if is_loaded(others) and not allow_loaded:
        raise InputError(
            f"other programs keep {others:.2f} processors of this machine busy (load average {load_average() or 0:.2f}); "
            f"timings are unreliable above {LOADED}; wait, or pass --allow-loaded, which marks the affected rows"
        )
    return others


def available_mb() -> float:
    """Memory that is available without swapping."""
    return float(psutil.virtual_memory().available) / 2**20


def resident_mb() -> float:
    """Current resident memory of this process."""
    return float(psutil.Process().memory_info().rss) / 2**20


def peak_mb() -> float | None:
    """Maximum of this process's resident memory so far; None if the operating system does not report it.

    On Linux `ru_maxrss` can be that of the parent program, if that was larger, so `VmHWM` is read instead.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 2**10
    if sys.platform == "darwin":
        import resource

        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 2**20
    return None
