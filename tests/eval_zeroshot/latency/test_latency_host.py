"""Load by other programs, on a simulated machine."""

import pytest

from encoders.errors import InputError
from eval_zeroshot.latency import host


@pytest.fixture
def machine(monkeypatch):
    """Other programs use `busy` processors during a sleep."""

    def make(busy: float):
        now = {"busy": 1000.0, "clock": 50.0}
        monkeypatch.setattr(host, "busy_seconds", lambda: now["busy"])
        monkeypatch.setattr(host.time, "perf_counter", lambda: now["clock"])
        monkeypatch.setattr(host.time, "process_time", lambda: 7.0)

        def sleep(seconds: float) -> None:
            now["busy"] += busy * seconds
            now["clock"] += seconds

        return sleep

    return make


def test_a_busy_machine_is_refused_unless_that_is_allowed(machine):
    with pytest.raises(InputError, match="keep 1.30 processors of this machine busy.*--allow-loaded"):
        host.check_idle(allow_loaded=False, sleep=machine(1.3))
    assert host.check_idle(allow_loaded=True, sleep=machine(1.3)) == pytest.approx(1.3)


def test_an_idle_machine_is_fine(machine):
    assert host.check_idle(allow_loaded=False, sleep=machine(0.05)) == pytest.approx(0.05)


def test_our_own_processor_time_is_not_that_of_others():
    assert host.other_cpu(busy=5.0, own=4.0, seconds=2.0) == pytest.approx(0.5)
    assert host.other_cpu(busy=3.9, own=4.0, seconds=2.0) == 0.0  # the system counts in steps
    assert host.other_cpu(busy=5.0, own=4.0, seconds=0.1) is None


def test_memory_is_what_the_system_says():
    assert 10 < host.resident_mb() <= host.peak_mb() * 1.01
    assert host.available_mb() > 0
