"""A run folder belongs to one process at a time, and no process outlives the command that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distill.cli import main
from distill.launch import run_group
from distill.run_folder import only_process
from encoders.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def test_a_second_process_in_the_same_run_folder_is_refused(config_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["repvit-sam", "distill", "--config", str(config_file())])
    with only_process(tmp_path / "run"), pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert f"run is in use: process {os.getpid()} on " in capsys.readouterr().err


def test_a_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), only_process(tmp_path):
        raise RuntimeError
    with only_process(tmp_path), pytest.raises(InputError), only_process(tmp_path):
        pass


def test_exit_codes_come_through():
    assert run_group([sys.executable, "-c", "raise SystemExit(7)"], environment=os.environ) == 7


PARENT = """
import os, sys
sys.path.insert(0, {root!r})
from distill.launch import run_group
run_group([sys.executable, "-c", {child!r}], environment=os.environ)
"""
CHILD = """
import os, pathlib, time
pathlib.Path({file!r} + ".tmp").write_text(str(os.getpid()))
pathlib.Path({file!r} + ".tmp").rename({file!r})
time.sleep(60)
"""


def test_told_to_stop_it_stops_what_it_started(tmp_path):
    file = tmp_path / "pid"
    script = PARENT.format(root=str(ROOT), child=CHILD.format(file=str(file)))
    parent = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(timeout=30) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):  # it was waited for, so nothing of it is left
        os.kill(int(file.read_text()), 0)
