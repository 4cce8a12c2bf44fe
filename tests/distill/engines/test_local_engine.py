"""Workers of one machine: replaced when they die, named when a task always fails, gone at the end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from distill.engines.base import EngineOptions, engine_options, run
from distill.engines.gone import Gone
from distill.engines.schedule import Schedule
from distill.launching.world import World
from encoders.errors import InputError
from tests.distill.engines.tiny_work import TinyLead, TinyWork, workers, written

ROOT = Path(__file__).resolve().parents[3]
TWO = EngineOptions(processes=2)


def all_squares(count: int) -> dict[int, str]:
    return {task: str(task**2) for task in range(count)}


def test_one_process_works_here(tmp_path):
    lead = TinyLead(tmp_path, range(5))
    run(TinyWork(tmp_path), lead, options=EngineOptions())
    assert written(tmp_path) == all_squares(5) and set(lead.told.values()) == {os.getpid()}


def test_two_processes_share_and_are_gone_afterwards(tmp_path):
    lead = TinyLead(tmp_path, range(20))
    run(TinyWork(tmp_path, seconds=0.02, workers=2), lead, options=TWO)
    assert written(tmp_path) == all_squares(20) and sorted(lead.told) == list(range(20))
    assert len(set(lead.told.values())) == 2 and os.getpid() not in lead.told.values()
    assert not any(map(psutil.pid_exists, workers(tmp_path)))


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_missing(tmp_path, capfd):
    lead = TinyLead(tmp_path, range(12))
    run(TinyWork(tmp_path, kill_once=5), lead, options=TWO)
    assert written(tmp_path) == all_squares(12) and sorted(lead.told) == list(range(12))
    said = capfd.readouterr().err
    assert "was ended by signal 9 (SIGKILL); its last words: this is all that I did on task 5" in said
    assert sorted({(tmp_path / f"pid-{pid}").read_text() for pid in workers(tmp_path)}) == ["0", "1"]  # the same GPU again


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ({"fails": 3}, r"stone 3 failed 3 times, .* ended with 1; its last words: RuntimeError: task 3 has a stone in it"),
        ({"dies": 3}, r"stone 3 failed 3 times, .* ended by signal 9 \(SIGKILL\); its last words: .* all that I did on task 3"),
        ({"refuses": 3}, r"^task 3 is no good; give another$"),
    ],
)
def test_a_task_that_always_fails_is_named_with_the_last_words(tmp_path, trouble, words):
    with pytest.raises(InputError, match=words):
        run(TinyWork(tmp_path, **trouble), TinyLead(tmp_path, range(8)), options=TWO)
    assert not any(map(psutil.pid_exists, workers(tmp_path)))


def test_a_worker_that_cannot_open_says_why(tmp_path):
    with pytest.raises(InputError, match="not ready yet ended with 1; its last words: FileNotFoundError"):
        run(TinyWork(tmp_path / "none"), TinyLead(tmp_path, range(8)), options=TWO)


def test_a_static_split_with_one_rank_killed_is_finished_by_the_same_command(tmp_path):
    def rank(number: int) -> dict[int, int]:
        lead = TinyLead(tmp_path, range(11))
        run(TinyWork(tmp_path), lead, options=engine_options(None, world=World(number, 4, 0)))
        return lead.told

    shares = [sorted(rank(number)) for number in (0, 1, 3)]  # rank 2 was killed before its second task
    (tmp_path / "2").write_text("4")
    assert shares == [[0, 4, 8], [1, 5, 9], [3, 7]]
    assert [sorted(rank(number)) for number in range(4)] == [[], [], [6, 10], []]
    assert written(tmp_path) == all_squares(11)


def test_a_rank_may_have_processes_of_its_own(tmp_path):
    lead = TinyLead(tmp_path, range(12))
    run(TinyWork(tmp_path), lead, options=EngineOptions(engine="slurm", processes=2, world=World(1, 3, 0)))
    assert sorted(lead.told) == [1, 4, 7, 10]


LEADER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.path.insert(0, {root!r})
from pathlib import Path
from distill.engines.base import EngineOptions, run
from tests.distill.engines.tiny_work import TinyLead, TinyWork
folder = Path({folder!r})
run(TinyWork(folder, seconds=1), TinyLead(folder, range(90)), options=EngineOptions(processes=2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_the_process_that_leads_them(tmp_path, number):
    script = LEADER.format(root=str(ROOT), folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.DEVNULL) as leader:
        deadline = time.monotonic() + 60
        while len(workers(tmp_path)) < 2:
            assert time.monotonic() < deadline and leader.poll() is None
            time.sleep(0.02)
        leader.send_signal(number)
        assert leader.wait(30) != 0
    while any(map(psutil.pid_exists, workers(tmp_path))):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_task_that_failed_is_handed_out_alone_and_the_end_is_spread():
    schedule = Schedule(range(6), max_retry=1, name=str)
    assert [schedule.take("a", workers=2) for _ in range(3)] == [0, 1, None]
    schedule.lost("a", words="died")
    assert [schedule.take("b", workers=2) for _ in range(2)] == [0, None]
    assert [schedule.take("c", workers=2) for _ in range(3)] == [1, 2, None]
    assert schedule.done("b", 0) and not schedule.done("b", 0)
    assert [schedule.take("b", workers=2) for _ in range(2)] == [3, None]
    assert schedule.take("c", workers=2) is None and schedule.take("d", workers=3) == 4
    schedule.lost("d", words="died")
    assert schedule.take("e", workers=3) == 4
    with pytest.raises(InputError, match="^4 failed 2 times, the last time its worker died again"):
        schedule.lost("e", words="died again")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"engine": "sparc"}, "--engine sparc: expected local, slurm, ray"),
        ({"engine": "local", "ray_address": "auto"}, "--ray-address auto is of use with --engine ray only"),
        ({"engine": None, "processes": 0}, "expected at least 1 process"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        engine_options(**options)


def test_what_a_launcher_says_chooses_the_engine():
    assert engine_options(None, world=World(1, 2, 0)).engine == "slurm"
    alone = engine_options(None, world=World())
    assert alone.engine == "local" and alone.alone
    assert engine_options("local", world=World(1, 2, 0)).world == World()


def test_work_that_somebody_else_has_finished_ends_quietly(tmp_path, capfd):
    with pytest.raises(Gone, match="^somebody else was faster$"):
        run(TinyWork(tmp_path, gone=3), TinyLead(tmp_path, range(8)), options=TWO)
    assert not any(map(psutil.pid_exists, workers(tmp_path)))
    said = capfd.readouterr().err
    assert "Traceback" not in said and "another one does what it left" not in said


def test_a_worker_that_hangs_is_replaced(tmp_path, capfd):
    lead = TinyLead(tmp_path, range(6))
    run(TinyWork(tmp_path, hang_once=2), lead, options=EngineOptions(processes=2, stall_seconds=0.3))
    assert written(tmp_path) == all_squares(6) and sorted(lead.told) == list(range(6)) and lead.staff == [2]
    said = capfd.readouterr().err
    assert said.count("had finished no batch for") == 1 and "its last words: waiting for ever in task 2" in said
    assert not any(map(psutil.pid_exists, workers(tmp_path)))


def test_a_slow_worker_that_finishes_batches_is_not_replaced(tmp_path, capfd):
    """A task takes longer than the limit."""
    work = TinyWork(tmp_path, parts=8, seconds=0.1)
    run(work, TinyLead(tmp_path, range(2)), options=EngineOptions(processes=2, stall_seconds=0.5))
    assert written(tmp_path) == all_squares(2) and len(workers(tmp_path)) == 2 and not capfd.readouterr().err
