"""Running a command in several processes that start and end together. Imports nothing heavy."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from distill.launching.starter import STARTER
from distill.launching.stopping import Signals

GRACE_SECONDS = 10.0  # for the processes of a group in which one failed, to end by themselves
LOOK_SECONDS = 0.1


def run_group(command: list[str], *, environments: Sequence[Mapping[str, str]]) -> int:
    """Run a command in one process per environment, with output to stderr, and wait for all.

    Each is in a session of its own, so that Ctrl-C reaches it once, through this process, which hands on the first SIGTERM or
    SIGINT and then waits: the processes end in a checkpoint. A second signal, seconds later, kills them. When one fails the
    others are ended. On Linux they also end when this process is killed.

    Returns:
        0, or the exit code of the first that failed: 128 + N where signal N ended it.
    """
    processes: list[subprocess.Popen[bytes]] = []
    failed, deadline, handed_on = 0, 0.0, 0
    with Signals() as signals:
        try:
            for environment in environments:
                processes.append(_start(command, environment=environment))
            while any(process.poll() is None for process in processes):
                if signals.first and not handed_on:
                    handed_on = signals.first
                    _send(processes, handed_on)
                if not failed and (failed := _failure(processes)) and not handed_on:
                    _send(processes, signal.SIGTERM)
                if failed and not deadline:
                    deadline = time.monotonic() + GRACE_SECONDS
                if signals.count > 1 or (deadline and time.monotonic() > deadline):
                    _send(processes, signal.SIGKILL)
                time.sleep(LOOK_SECONDS)
        finally:
            _send(processes, signal.SIGKILL)
            for process in processes:
                process.wait()
    code = failed or _failure(processes)
    return 128 + handed_on if code and handed_on else code


def _failure(processes: Sequence["subprocess.Popen[bytes]"]) -> int:
    """Return the first non-zero exit code, or 0; a process ended by a signal counts as 128 + its number."""
    codes = [process.poll() or 0 for process in processes]
    return next((128 - code if code < 0 else code for code in codes if code), 0)


def _send(processes: Sequence["subprocess.Popen[bytes]"], number: int) -> None:
    """Send a signal to the running processes; SIGKILL is also sent to their children."""
    for process in processes:
        if process.poll() is None:
            (os.killpg if number == signal.SIGKILL else os.kill)(process.pid, number)


def _start(command: list[str], *, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start one process in a session of its own."""
    variables = {**environment, STARTER: str(os.getpid())}
    return subprocess.Popen(command, env=variables, stdout=sys.stderr, start_new_session=True)
