"""Several processes of one command, through DeepSpeed's own launcher."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

import torch

from distill.engine import free_port
from distill.place import cuda_wanted
from encoders.errors import InputError


def launch(arguments: list[str], *, num_processes: int) -> int:
    """Run `repvit-sam ARGUMENTS` in `num_processes` processes on this machine; returns the exit code.

    All that they print goes to stderr.

    The same as `deepspeed --num_accelerators N --module distill ARGUMENTS`, with a free port, and the CPU where there
    is no GPU.
    """
    if num_processes < 1:
        raise InputError(f"--num-processes {num_processes}: expected at least 1")
    cuda = cuda_wanted()
    if cuda and num_processes > torch.cuda.device_count():
        raise InputError(f"--num-processes {num_processes}, but this machine has {torch.cuda.device_count()} GPUs")
    environment = os.environ | {"DS_ACCELERATOR": "cuda" if cuda else "cpu"}
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_processes)))
    command = [sys.executable, "-m", "deepspeed.launcher.runner", "--num_accelerators", str(num_processes)]
    command += ["--master_port", free_port(), "--no_local_rank", "--module", "distill", *arguments]
    return run_group(command, environment=environment)


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
