"""Where this process stands among those that a launcher started."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch

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
