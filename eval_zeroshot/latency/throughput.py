"""Images a second, as the original's `speed_gpu.py` measures them.

Source: THU-MIG/RepViT, `speed_gpu.py`: the fused model, 5 seconds to warm up, 10 seconds timed, synchronised at both ends. Here
the timed seconds are an argument, and CUDA events time single calls where there is a GPU. No GPU was at hand: that way is
tested with a pretended device only.
"""

import time
from collections.abc import Callable
from typing import Any

WARM_UP_SECONDS, TIMED_SECONDS = 5.0, 10.0  # of the original, for a GPU


def images_per_second(
    call: Callable[[], object],
    *,
    batch: int,
    seconds: float = TIMED_SECONDS,
    warm_up_seconds: float = 0.0,
    synchronize: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Call until the time is over, and count.

    Args:
        call: B images through the model; may return before a device has finished.
        seconds: timed at least, one call at least.
        warm_up_seconds: called for so long before, at least once.
        synchronize: waits for the device.
    """
    _call_for(call, seconds=warm_up_seconds, synchronize=synchronize, clock=clock)
    calls, elapsed = _call_for(call, seconds=seconds, synchronize=synchronize, clock=clock)
    return batch * calls / elapsed


def _call_for(
    call: Callable[[], object], *, seconds: float, synchronize: Callable[[], None], clock: Callable[[], float]
) -> tuple[int, float]:
    """Calls made, and the seconds until the device had finished them all."""
    synchronize()
    begin, calls = clock(), 0
    while not calls or clock() - begin < seconds:
        call()
        calls += 1
    synchronize()
    return calls, clock() - begin


def device_milliseconds(call: Callable[[], object], *, events: Callable[[], Any]) -> float:
    """Milliseconds of one call between two events of the device itself, e.g. `torch.cuda.Event(enable_timing=True)`.

    Args:
        events: makes an event with `record`, `synchronize` and `elapsed_time`.
    """
    before, after = events(), events()
    before.record()
    call()
    after.record()
    after.synchronize()
    return float(before.elapsed_time(after))
