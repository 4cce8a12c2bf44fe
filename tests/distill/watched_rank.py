"""A rank of `test_liveness`, in a module of its own so that a process can import it without the tests."""

import os
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event

import torch

from distill.launching.world import World
from distill.liveness import Liveness


def rank(number: int, port: str, said: Connection, leaves: Event) -> None:
    """Join the other rank, watch it, and say so; wait until this rank may leave."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, RANK=str(number), WORLD_SIZE="2")
    torch.distributed.init_process_group("gloo")

    def end(message: str) -> None:
        said.send(message)
        os._exit(1)

    world = World(rank=number, world_size=2, local_rank=number)
    with Liveness(world, end=end, silent_seconds=1.0, beat_seconds=0.1):
        said.send("watching")
        leaves.wait()
    torch.distributed.destroy_process_group()
