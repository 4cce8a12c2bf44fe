"""The rank, the number of processes and the device of this process, as its launcher gives them."""

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distill.launching import slurm
from encoders.errors import InputError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class World:
    """This process's rank, the number of processes, and its device.

    Attributes:
        rank, world_size: over all machines.
        local_rank: the rank among the processes of this machine.
        own_gpu: whether the launcher gives each process a GPU that is invisible to the others.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    own_gpu: bool = False

    @property
    def gpu(self) -> int:
        """Index of this process's GPU among those visible to it."""
        import torch  # here and below, as a worker of small tasks starts ten times as fast without

        return 0 if self.own_gpu and torch.cuda.device_count() == 1 else self.local_rank

    @property
    def device(self) -> "torch.device":
        """This process's GPU, or the CPU if there is none or DS_ACCELERATOR=cpu is set.

        Raises:
            InputError: this machine has fewer GPUs than processes.
        """
        import torch

        if not cuda_wanted():
            return torch.device("cpu")
        gpus = torch.cuda.device_count()
        if self.gpu >= gpus:
            raise InputError(
                f"process {self.local_rank} of this machine (LOCAL_RANK, from 0) has no GPU of its own: it sees {gpus}; start "
                "one process a GPU, with srun --gpus-per-task=1, or on the CPU with DS_ACCELERATOR=cpu"
            )
        return torch.device("cuda", self.gpu)

    def say(self, text: str) -> None:
        """Print a line to stderr on the first rank."""
        if self.rank == 0:
            print(text, file=sys.stderr, flush=True)


def read_world(environment: Mapping[str, str] = os.environ) -> World:
    """Read the variables of the launcher (ours, DeepSpeed's, torchrun or SLURM's srun); a single process if there are none.

    RANK, WORLD_SIZE and LOCAL_RANK, which torchrun and DeepSpeed set, come before srun's variables.

    Raises:
        InputError: the numbers do not fit together.
    """
    in_slurm = "RANK" not in environment and "WORLD_SIZE" not in environment and slurm.in_task(environment)
    names = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID") if in_slurm else ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    given = slurm.task_variables(environment) if in_slurm else environment
    try:
        rank, world_size = int(given.get("RANK", 0)), int(given.get("WORLD_SIZE", 1))
        local_rank = int(given.get("LOCAL_RANK", 0))
    except ValueError as error:
        raise InputError(f"{', '.join(names)} must be whole numbers ({error}); start with a launcher") from error
    if not 0 <= rank < world_size:
        raise InputError(f"{names[0]}={rank} does not lie below {names[1]}={world_size}; unset both, or start with a launcher")
    if local_rank < 0:
        raise InputError(f"{names[2]}={local_rank} is negative; unset it, or start with a launcher")
    # torchrun, which counts the processes that it starts, may be the one that srun started
    own_gpu = slurm.in_task(environment) and slurm.binds_gpu(environment) and "LOCAL_WORLD_SIZE" not in environment
    return World(rank, world_size, local_rank, own_gpu)


def meeting_variables(world: World, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, with which the processes rendezvous.

    LOCAL_RANK is the number of this process's GPU among those that it sees, as DeepSpeed understands it.

    Raises:
        InputError: there are several, and nothing says where they meet.
    """
    found = {name: environment[name] for name in ("MASTER_ADDR", "MASTER_PORT") if environment.get(name)}
    if world.world_size == 1:
        found = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()} | found
    elif len(found) < 2 and slurm.in_task(environment):
        found = slurm.meeting_point(environment) | found
    elif len(found) < 2:
        raise InputError(
            f"{world.world_size} processes (WORLD_SIZE), but MASTER_ADDR and MASTER_PORT do not say where they meet; start "
            "with --num-processes, deepspeed, torchrun or srun"
        )
    numbers = {"RANK": world.rank, "WORLD_SIZE": world.world_size, "LOCAL_RANK": world.gpu}
    return found | {name: str(number) for name, number in numbers.items()}


def free_port() -> str:
    """Return an unused TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def cuda_wanted() -> bool:
    """Return whether to use CUDA: a GPU is available and DS_ACCELERATOR does not select another device."""
    import torch

    return torch.cuda.is_available() and os.environ.get("DS_ACCELERATOR", "cuda") == "cuda"
