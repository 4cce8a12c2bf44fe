"""What else the machine is doing, and what a process takes of it, as the operating system says."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from encoders.errors import InputError

LOADED = 0.15  # processors that others may keep busy; more makes times of this machine untrustworthy
LOOK_SECONDS = 1.0
SHORT_SECONDS = 0.5  # the operating system counts in steps of 10 ms: over less time the others' share is mostly error


def busy_seconds() -> float:
    """Processor seconds since start-up that somebody used, on all processors together; another guest of the host included."""
    times = psutil.cpu_times()
    names = ("user", "nice", "system", "irq", "softirq", "steal")
    return float(sum(getattr(times, name, 0.0) for name in names))


def other_cpu(*, busy: float, own: float, seconds: float) -> float | None:
    """Processors that others kept busy.

    Args:
        busy: seconds that all processors were busy meanwhile; own: those of the subject's own process; seconds: wall clock.

    Returns:
        None where too little time went by to tell.
    """
    return None if seconds < SHORT_SECONDS else max(0.0, busy - own) / seconds


def is_loaded(others: float | None) -> bool:
    """Whether others take too much for a time to be trusted."""
    return others is not None and others > LOADED


def load_average() -> float | None:
    """Of the last minute; None where the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def check_idle(*, allow_loaded: bool, sleep: Callable[[float], None] = time.sleep) -> float:
    """Look for a second at what the machine does before anything is measured.

    Returns:
        Processors that are busy.

    Raises:
        InputError: more than `LOADED`, unless that is allowed.
    """
    busy, own, begin = busy_seconds(), time.process_time(), time.perf_counter()
    sleep(LOOK_SECONDS)
    seconds = time.perf_counter() - begin
    others = max(0.0, busy_seconds() - busy - (time.process_time() - own)) / max(seconds, LOOK_SECONDS)
    if is_loaded(others) and not allow_loaded:
        raise InputError(
            f"other programs keep {others:.2f} processors of this machine busy (load average {load_average() or 0:.2f}), and "
            f"above {LOADED} times are not to be trusted; wait until they are done, or say --allow-loaded: each row then tells"
        )
    return others


def available_mb() -> float:
    """Memory that can be had without swapping."""
    return float(psutil.virtual_memory().available) / 2**20


def resident_mb() -> float:
    """Resident memory of this process now."""
    return float(psutil.Process().memory_info().rss) / 2**20


def peak_mb() -> float | None:
    """The most resident memory that this process ever had, as the operating system kept it; None where it does not say.

    Linux's `ru_maxrss` is that of the program that started this one where it was larger, so `VmHWM` is read there.
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
