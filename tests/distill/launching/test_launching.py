"""Processes that a command starts: how they end together, by failure, by a signal, and by kill -9 of the command."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from distill.launching.process_group import run_group
from distill.launching.stopping import REPEAT_SECONDS

ROOT = Path(__file__).resolve().parents[3]
LAUNCHER = """
import os, sys
sys.path.insert(0, {root!r})
from distill.launching.process_group import run_group
sys.exit(run_group([sys.executable, "-c", {child!r}], environments=[os.environ | {{"RANK": str(r)}} for r in (0, 1)]))
"""
# Says that it runs by a file with its number, and ends as told by the file "ending" once the signal has come.
CHILD = """
import os, pathlib, signal, sys, time
folder, rank = pathlib.Path({folder!r}), os.environ["RANK"]
def end(number, frame):
    (folder / ("told" + rank)).touch()
    while not (folder / "ending").exists():
        time.sleep(0.02)
    sys.exit(128 + number)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, end)
(folder / ("new" + rank)).write_text(str(os.getpid()))
(folder / ("new" + rank)).rename(folder / ("pid" + rank))
time.sleep(100)
"""


def wait_for(condition: Callable[[], object], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(number: int) -> bool:
    """Whether a process is there and no zombie that nobody waited for."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A launcher with two processes that run."""
    script = LAUNCHER.format(root=str(ROOT), child=CHILD.format(folder=str(tmp_path)))
    process = subprocess.Popen([sys.executable, "-c", script])
    wait_for(lambda: (tmp_path / "pid0").exists() and (tmp_path / "pid1").exists())
    yield process
    process.kill()
    process.wait()


def children(folder: Path) -> list[int]:
    return [int((folder / name).read_text()) for name in ("pid0", "pid1")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_all_and_the_launcher_waits_until_they_have_ended(launcher, tmp_path, number):
    launcher.send_signal(number)
    wait_for(lambda: (tmp_path / "told0").exists() and (tmp_path / "told1").exists())
    assert launcher.poll() is None
    (tmp_path / "ending").touch()
    assert launcher.wait(timeout=60) == 128 + number
    assert not any(map(is_running, children(tmp_path)))


def test_a_second_signal_ends_them_at_once(launcher, tmp_path):
    launcher.send_signal(signal.SIGINT)
    wait_for(lambda: (tmp_path / "told0").exists())
    launcher.send_signal(signal.SIGTERM)  # the same wish, handed on by another launcher
    time.sleep(REPEAT_SECONDS + 0.5)
    assert all(map(is_running, children(tmp_path)))
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(timeout=60) == 128 + signal.SIGINT
    assert not any(map(is_running, children(tmp_path)))


TRAINS = """
import pathlib, sys, time
sys.path.insert(0, {root!r})
from distill.launching.stopping import EndingSignals
with EndingSignals() as signals:
    pathlib.Path({file!r}).touch()
    while not signals.first:
        time.sleep(0.02)
    time.sleep(1)  # the rest of a step, and a checkpoint
    print("saved")
"""


def test_a_signal_that_comes_twice_at_once_still_ends_in_a_checkpoint(tmp_path):
    """torchrun and deepspeed hand on what a terminal or SLURM has sent to all already."""
    code = TRAINS.format(root=str(ROOT), file=str(tmp_path / "runs"))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        wait_for((tmp_path / "runs").exists)
        for number in (signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
            time.sleep(0.2)
        assert process.communicate(timeout=60)[0] == b"saved\n" and process.returncode == 0


def test_exit_codes_come_through_and_one_that_fails_ends_the_others():
    code = "import os, time; time.sleep(100) if os.environ['RANK'] == '0' else exit(7)"
    environments = [os.environ | {"RANK": rank} for rank in ("0", "1")]
    assert run_group([sys.executable, "-c", code], environments=environments) == 7
    assert run_group([sys.executable, "-c", "pass"], environments=environments) == 0


STARTED = """
import os, sys
sys.path.insert(0, {root!r})
from distill.launching.process_group import run_group
environment = os.environ | {{"PYTHONPATH": {stubs!r} + ":" + {root!r}}}
run_group([sys.executable, "-m", "distill", "doctor"], environments=[environment])
"""
SLOW_IMPORT = """
import os, pathlib, time
pathlib.Path({file!r} + ".new").write_text(str(os.getpid()))
pathlib.Path({file!r} + ".new").rename({file!r})
time.sleep(100)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")
def test_a_killed_launcher_takes_along_processes_that_still_import(tmp_path):
    """typer is imported before anything of ours that is heavy; here it takes 100 seconds."""
    (tmp_path / "typer").mkdir()
    (tmp_path / "typer" / "__init__.py").write_text(SLOW_IMPORT.format(file=str(tmp_path / "pid")))
    script = STARTED.format(root=str(ROOT), stubs=str(tmp_path))
    parent = subprocess.Popen([sys.executable, "-c", script])
    wait_for((tmp_path / "pid").exists)
    child = int((tmp_path / "pid").read_text())
    try:
        parent.kill()
        parent.wait()
        wait_for(lambda: not is_running(child), seconds=20)
    finally:
        if is_running(child):
            os.kill(child, signal.SIGKILL)
