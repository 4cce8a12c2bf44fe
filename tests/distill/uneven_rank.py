"""A rank of `test_uneven_gradients`, in a module of its own so that a process can import it without the tests."""

import os
from multiprocessing.connection import Connection
from types import SimpleNamespace

import torch
from torch import nn

import encoders
from distill.activation_checkpointing import checkpoint_blocks
from distill.step import TrainingSteps
from distill.sync_batchnorm import synchronize_batchnorm


def join(number: int, port: str) -> None:
    """Join the other rank."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, RANK=str(number), WORLD_SIZE="2")
    torch.distributed.init_process_group("gloo")


def uneven(number: int, port: str, said: Connection) -> None:
    """Take a step in which each rank's loss reaches another parameter; send the gradients."""
    join(number, port)
    module = nn.ParameterList([nn.Parameter(torch.ones(size)) for size in (1, 2, 3)])
    engine = SimpleNamespace(
        module=module, optimizer=SimpleNamespace(), backward=lambda total: total.backward(), step=lambda: None
    )
    task = SimpleNamespace(
        loss_names=("sum",),
        measured_names=(),
        losses=lambda engine, batch: {"sum": 3 * module[0].sum() + 4 * module[1 + number].sum()},
    )
    training = TrainingSteps(engine, task, clip_grad_norm=0.0)
    training.take([SimpleNamespace(keys=["photo"])])
    said.send([parameter.grad.tolist() for parameter in module])
    torch.distributed.destroy_process_group()


def checkpointed(number: int, port: str, said: Connection) -> None:
    """Train one step with checkpoints and BatchNorm over ranks; send how many batches the first norm has counted."""
    join(number, port)
    torch.manual_seed(0)
    encoder = synchronize_batchnorm(encoders.build_image_encoder("repvit_m0_6", image_size=64), device_type="cpu")
    checkpoint_blocks(encoder)
    encoder.train()(torch.randn(1, 3, 64, 64)).square().mean().backward()
    counts = {int(value) for name, value in encoder.state_dict().items() if name.endswith("num_batches_tracked")}
    said.send([sorted(counts), all(parameter.grad is not None for parameter in encoder.parameters())])
    torch.distributed.destroy_process_group()
