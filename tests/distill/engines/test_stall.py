"""Who counts as stalled: by finished batches, and never sooner than the machine has shown that it may take."""

from distill.engines.base import engine_options
from distill.engines.stall import PATIENCE, StallWatch


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_only_a_busy_worker_stalls_and_a_finished_batch_starts_its_time_again():
    clock = Clock()
    watch = StallWatch(10.0, clock=clock)
    assert watch.seconds_left() is None
    watch.busy(0)
    clock.now = 9.0
    watch.busy(0)  # one more task is no progress
    watch.busy(1)
    clock.now = 11.0
    assert watch.stalled() == [0] and watch.seconds_left() < 0.1
    watch.idle(0)
    assert watch.stalled() == [] and 7 < watch.seconds_left() < 9
    watch.idle(1)
    clock.now = 1000.0
    assert watch.stalled() == []


def test_a_slow_machine_raises_the_limit():
    clock = Clock()
    watch = StallWatch(10.0, clock=clock)
    watch.busy(0)
    watch.busy(1)
    clock.now = 5.0
    watch.progress(0)
    assert watch.limit_seconds == PATIENCE * 5
    clock.now = 54.0
    assert watch.stalled() == [1]


def test_nobody_stalls_without_a_limit():
    watch = StallWatch(engine_options("local", stall_minutes=0).stall_seconds)
    watch.busy(0)
    assert watch.stalled() == [] and watch.seconds_left() is None
    assert engine_options("local").stall_seconds == 3600
