"""Several processes of one command, through DeepSpeed's own launcher."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

import torch

from distill.engine import free_port
from distill.place import cuda_wanted
from distill.starter import STARTER
from encoders.errors import InputError


def launch(arguments: list[str], *, num_processes: int) -> int:
    """Run `repvit-sam ARGUMENTS` in `num_processes` processes on this machine; returns the exit code.

    All that they print goes to stderr.

    The same as `deepspeed --num_accelerators N --module distill ARGUMENTS`, with a free port, and the CPU where there
    is no GPU.
    """
    environment = _environment(num_processes)
    command = [sys.executable, "-m", "deepspeed.launcher.runner", "--num_accelerators", str(num_processes)]
    command += ["--master_port", free_port(), "--no_local_rank", "--module", "distill", *arguments]
    return run_group(command, environment=environment)


def launch_apart(arguments: list[str], *, num_processes: int) -> int:
    """The same for processes that need nothing of each other: the others go on when one ends, however it ends.

    Returns:
        0 where at least one of them did all there was to do, else the exit code of one.
    """
    environment = _environment(num_processes)
    processes = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        for rank in range(num_processes):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(num_processes), STARTER: str(os.getpid())}
            command = [sys.executable, "-m", "distill", *arguments]
            processes.append(subprocess.Popen(command, env=environment | place, stdout=sys.stderr))
        codes = [process.wait() for process in processes]
    finally:
        for process in processes:
            process.terminate()
            process.wait()
        signal.signal(signal.SIGTERM, before)
    if 0 not in codes:
        return max(1, *codes)
    for rank, code in enumerate(codes):
        if code:
            print(f"process {rank} of {num_processes} ended with {code}; others do what it left", file=sys.stderr)
    return 0


def _environment(num_processes: int) -> dict[str, str]:
    """Variables for the processes. Raises InputError where this machine cannot have so many."""
    if num_processes < 1:
        raise InputError(f"--num-processes {num_processes}: expected at least 1")
    cuda = cuda_wanted()
    if cuda and num_processes > torch.cuda.device_count():
        raise InputError(f"--num-processes {num_processes}, but this machine has {torch.cuda.device_count()} GPUs")
    environment = os.environ | {"DS_ACCELERATOR": "cuda" if cuda else "cpu"}
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_processes)))
    return environment


def run_group(command: list[str], *, environment: Mapping[str, str]) -> int:
    """Run a command, its output to stderr; if this process is told to stop (SIGTERM, Ctrl-C), all it started stops too."""
    process = subprocess.Popen(command, env=environment, stdout=sys.stderr, start_new_session=True)
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
        signal.signal(signal.SIGTERM, before)
