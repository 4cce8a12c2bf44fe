"""Running one of our commands in several processes on this machine."""

import os
import sys

import torch

from distill.launching.process_group import run_group
from distill.launching.world import cuda_wanted, free_port
from encoders.errors import InputError


def launch(arguments: list[str], *, num_processes: int) -> int:
    """Run `repvit-sam ARGUMENTS` in a group of `num_processes` cooperating processes; return the exit code.

    All that they print goes to stderr. Where there is no GPU they meet on the CPU.
    """
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    environments = [environment | meeting for environment in process_environments(num_processes)]
    return run_group([sys.executable, "-m", "distill", *arguments], environments=environments)


def process_environments(num_processes: int) -> list[dict[str, str]]:
    """Return the environment variables of each process of a group on this machine.

    Raises:
        InputError: this machine cannot run that many.
    """
    if num_processes < 1:
        raise InputError(f"--num-processes {num_processes}: expected at least 1")
    cuda = cuda_wanted()
    if cuda and num_processes > torch.cuda.device_count():
        raise InputError(f"--num-processes {num_processes}, but this machine has {torch.cuda.device_count()} GPUs")
    shared = os.environ | {"DS_ACCELERATOR": "cuda" if cuda else "cpu"}
    shared |= {"WORLD_SIZE": str(num_processes), "LOCAL_WORLD_SIZE": str(num_processes)}
    shared.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_processes)))
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(num_processes)]
