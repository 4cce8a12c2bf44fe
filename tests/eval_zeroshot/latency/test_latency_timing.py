"""Calls and throughput by a simulated clock, and a simulated GPU that works on after a call has returned."""

import pytest

from eval_zeroshot.latency.subjects.opening import Opened
from eval_zeroshot.latency.subjects.throughput import device_milliseconds, images_per_second
from eval_zeroshot.latency.timing.worker import time_batches, time_calls


class Clock:
    """Wall and processor time that only advance with work."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def perf_counter(self) -> float:
        return self.wall

    def process_time(self) -> float:
        return self.cpu

    def work(self, seconds: float, *, threads: int = 1) -> None:
        self.wall += seconds
        self.cpu += seconds * threads


class Device:
    """A GPU: calls return at once, and their work is done in `synchronize`."""

    def __init__(self, clock: Clock, *, seconds: float) -> None:
        self.clock = clock
        self.seconds = seconds
        self.pending = 0
        self.waits = 0
        self.calls = 0
        self.now = 0.0

    def call(self) -> None:
        self.calls += 1
        self.pending += 1
        self.clock.wall += 0.001
        self.now += self.seconds

    def synchronize(self) -> None:
        self.waits += 1
        self.clock.wall += self.pending * self.seconds
        self.pending = 0


def opened(call, **changes):
    return Opened(call=call, name="x", precision="fp32", threads=1, **changes)


def test_each_call_has_its_wall_and_processor_time():
    clock = Clock()
    one = opened(lambda: clock.work(0.2, threads=2))
    timing = time_calls(one, times=3, clock=clock, busy=lambda: clock.cpu + 1.5 * clock.wall)
    assert timing.wall_ms == pytest.approx([200.0] * 3) and timing.cpu_ms == pytest.approx([400.0] * 3)
    assert timing.seconds == pytest.approx(0.6) and timing.own_seconds == pytest.approx(1.2)
    assert timing.busy_seconds == pytest.approx(1.2 + 0.9)


def test_a_runtime_that_times_itself_is_believed():
    clock = Clock()

    def call() -> float:
        clock.work(0.5)
        return 48.9

    assert time_calls(opened(call), times=2, clock=clock, busy=lambda: 0.0).wall_ms == [48.9, 48.9]


def test_a_device_is_waited_for_before_the_clock_stops():
    clock = Clock()
    device = Device(clock, seconds=0.25)
    timing = time_calls(opened(device.call, synchronize=device.synchronize), times=2, clock=clock, busy=lambda: 0.0)
    assert timing.wall_ms == pytest.approx([251.0, 251.0])


def test_throughput_counts_what_the_device_has_finished_and_not_the_warm_up():
    clock = Clock()
    device = Device(clock, seconds=0.1)
    found = images_per_second(
        device.call, batch=8, seconds=10.0, warm_up_seconds=5.0, synchronize=device.synchronize, clock=clock.perf_counter
    )
    calls = 10_000  # of a millisecond each in ten seconds, all waited for at the end
    assert device.calls == pytest.approx(5_000 + calls, abs=2) and device.waits == 4
    assert found == pytest.approx(8 * calls / (10.0 + calls * 0.1), rel=1e-3)


def test_throughput_comes_with_what_all_programs_did_meanwhile():
    clock = Clock()
    device = Device(clock, seconds=0.0)
    batches: list[int] = []

    def batched(size: int):
        batches.append(size)
        return lambda: clock.work(0.5, threads=2)

    one = opened(device.call, batched=batched, synchronize=device.synchronize)
    found = time_batches(one, batch=4, seconds=2.0, clock=clock, busy=lambda: clock.cpu + 0.75 * clock.wall)
    assert batches == [4] and found.images_per_second == pytest.approx(8.0)
    assert found.seconds == pytest.approx(2.5) and found.own_seconds == pytest.approx(5.0)  # a call to warm up, four timed
    assert found.busy_seconds - found.own_seconds == pytest.approx(0.75 * 2.5)
    assert time_batches(opened(device.call), batch=4, seconds=2.0) is None


def test_throughput_of_a_call_longer_than_the_time_is_that_of_one_call():
    clock = Clock()
    assert images_per_second(lambda: clock.work(4.0), batch=2, seconds=1.0, clock=clock.perf_counter) == pytest.approx(0.5)


def test_a_call_on_a_device_is_timed_between_its_own_events():
    clock = Clock()
    device = Device(clock, seconds=0.0125)

    class Event:
        def record(self) -> None:
            self.at = device.now

        def synchronize(self) -> None:
            device.synchronize()

        def elapsed_time(self, other: "Event") -> float:
            return (other.at - self.at) * 1000

    assert device_milliseconds(device.call, events=Event) == pytest.approx(12.5)
    assert device.pending == 0
