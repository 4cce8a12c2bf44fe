"""Several processes of one command, through DeepSpeed's own launcher."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from distill.engine import free_port
from encoders.errors import InputError


@dataclass(frozen=True)
class Place:
    """This process among those that a launcher started: DeepSpeed's, torchrun or SLURM's srun with their variables set.

    Attributes:
        rank, world_size: over all machines.
        local_rank: on this machine.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def device(self) -> torch.device:
        """A GPU of its own where there is one; DS_ACCELERATOR=cpu keeps to the CPU."""
        if not cuda_wanted():
            return torch.device("cpu")
        return torch.device("cuda", self.local_rank % torch.cuda.device_count())


def this_place(environment: Mapping[str, str] = os.environ) -> Place:
    """What the launcher says of this process; alone where there is none.

    Raises:
        InputError: RANK and WORLD_SIZE do not fit together.
    """
    try:
        rank, world_size = int(environment.get("RANK", 0)), int(environment.get("WORLD_SIZE", 1))
        local_rank = int(environment.get("LOCAL_RANK", 0))
    except ValueError as error:
        raise InputError(f"RANK, WORLD_SIZE and LOCAL_RANK must be whole numbers ({error}); start with a launcher") from error
    if not 0 <= rank < world_size:
        raise InputError(f"RANK={rank} does not lie below WORLD_SIZE={world_size}; unset both, or start with a launcher")
    return Place(rank, world_size, local_rank)


def cuda_wanted() -> bool:
    """Whether to use CUDA: there is a GPU, and DS_ACCELERATOR does not say otherwise."""
    return torch.cuda.is_available() and os.environ.get("DS_ACCELERATOR", "cuda") == "cuda"


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
    return subprocess.run(command, env=environment, check=False, stdout=sys.stderr).returncode
