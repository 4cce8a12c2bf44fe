"""Images per second, measured as the original's `speed_gpu.py` does.

Source: THU-MIG/RepViT, `speed_gpu.py`: the fused model, 5 seconds to warm up, 10 seconds timed, synchronised at both ends. Here
the timed seconds are an argument, and single calls on a GPU are timed by CUDA events. No GPU was available for this: it is
tested with a simulated device only.
"""

import time
from collections.abc import Callable
from typing import Any

WARM_UP_SECONDS, TIMED_SECONDS = 5.0, 10.0  # in the original, for a GPU


def images_per_second(
    call: Callable[[], object],
    *,
    batch: int,
    seconds: float = TIMED_SECONDS,
    warm_up_seconds: float = 0.0,
    synchronize: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Call the model until the time is over, and count the images.

    Args:
        call: passes B images through the model; may return before a device has finished.
        seconds: timed duration, at least one call.
        warm_up_seconds: duration of the calls before that, at least one call.
        synchronize: waits for the device.
    """
    _call_for(call, seconds=warm_up_seconds, synchronize=synchronize, clock=clock)
    calls, elapsed = _call_for(call, seconds=seconds, synchronize=synchronize, clock=clock)
    return batch * calls / elapsed


def _call_for(
    call: Callable[[], object], *, seconds: float, synchronize: Callable[[], None], clock: Callable[[], float]
) -> tuple[int, float]:
    """Number of calls, and the seconds until the device had finished all of them."""
    synchronize()
    begin, calls = clock(), 0
    while not calls or clock() - begin < seconds:
        call()
        calls += 1
    synchronize()
    return calls, clock() - begin


def device_milliseconds(call: Callable[[], object], *, events: Callable[[], Any]) -> float:
    """Milliseconds of one call between two events recorded by the device, e.g. `torch.cuda.Event(enable_timing=True)`.

    Args:
        events: makes an event, which has `record`, `synchronize` and `elapsed_time`.
    """
    before, after = events(), events()
    before.record()
    call()
    after.record()
    after.synchronize()
    return float(before.elapsed_time(after))
