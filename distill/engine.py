"""Setting up DeepSpeed, with or without a GPU."""

import atexit
import contextlib
import logging
import os
import sys
from typing import Any

import torch

from distill.activation_checkpointing import checkpoint_blocks
from distill.config.deepspeed import DeepSpeedSettings
from distill.config.runs import RunConfig
from distill.launching.world import World, cuda_wanted, meeting_variables, read_world
from distill.sync_batchnorm import synchronize_batchnorm
from distill.task import Task
from encoders.errors import InputError


def join_world() -> World:
    """Initialise the process group of the launcher, or run alone. Uses NCCL if each process has a GPU, else gloo on the CPU.

    Set DS_ACCELERATOR=cpu to use the CPU on a machine with GPUs.

    Sets RANK, MASTER_PORT and the like in the environment for DeepSpeed, which otherwise looks for MPI.

    Raises:
        InputError: the launcher's variables are inconsistent, or there is no GPU for this process.
    """
    cuda, world = cuda_wanted(), read_world()
    device = world.device
    os.environ |= meeting_variables(world) | {"DS_ACCELERATOR": "cuda" if cuda else "cpu"}
    atexit.register(leave_world)
    deepspeed = import_deepspeed()
    with contextlib.redirect_stdout(sys.stderr):  # keep stdout for results
        deepspeed.init_distributed(dist_backend="nccl" if cuda else "gloo", auto_mpi_discovery=False, verbose=False)
    if cuda:
        torch.cuda.set_device(device)
    return world


def leave_world() -> None:
    """Destroy the process group before exit, as gloo's threads may otherwise abort. DeepSpeed cannot be initialised again."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def import_deepspeed() -> Any:
    """Import DeepSpeed with its logging silenced; not done at module level, as it takes seconds and probes the machine."""
    for name in ("DeepSpeed", "deepspeed", "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # its log handler keeps the stream that is current at import
            import deepspeed
    except ImportError as error:
        raise InputError(f"deepspeed cannot be imported ({error}); reinstall it with: pip install deepspeed") from error
    deepspeed.utils.logger.setLevel(logging.ERROR)
    # Skips compiling (half a minute) an inference-only CPU all-reduce that training never calls.
    getattr(deepspeed.ops, "__compatible_ops__", {})["deepspeed_shm_comm"] = False
    return deepspeed


def initialize(task: Task, config: RunConfig, *, world: World, settings: DeepSpeedSettings) -> Any:
    """Create the engine that trains `task.module`, with AdamW, no scheduler (the loop sets the learning rate) and no clipping.

    `distill.step` clips, as it needs the norm of the gradients anyway and DeepSpeed would compute another one. AdamW is
    fused, which takes few kernels and can skip an update by a flag on the device.
    """
    module = task.module.to(world.device)
    if world.world_size > 1 and task.batchnorm_learns and config.compute.sync_batchnorm:
        module = synchronize_batchnorm(module, device_type=world.device.type)
    if world.device.type == "cuda":
        module.to(memory_format=torch.channels_last)  # as the images, so that no convolution has to convert its weights
        torch.backends.cudnn.benchmark = True  # all batches have one shape
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = config.compute.tf32
    if config.compute.activation_checkpointing:
        checkpoint_blocks(task.image_encoder)
    if config.compute.compile:
        task.image_encoder.compile()
    optimizer = torch.optim.AdamW(
        decay_groups(task.parameter_groups(), config=config), betas=config.optim.betas, fused=True
    )
    content = settings.content | {
        "train_micro_batch_size_per_gpu": micro_batch(config, world=world, settings=settings),
        "gradient_clipping": 0.0,
        "timers": {"throughput": {"enabled": False}},  # would wait for the device at every step
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
    deepspeed = import_deepspeed()
    with contextlib.redirect_stdout(sys.stderr):
        engine, *_ = deepspeed.initialize(model=module, optimizer=optimizer, config=content)
    return engine


def decay_groups(groups: list[dict[str, Any]], *, config: RunConfig) -> list[dict[str, Any]]:
    """Split each group by weight decay: matrices and kernels decay; biases, norms and other vectors do not."""
    split = []
    for group in groups:
        for decays in (True, False):
            parameters = [p for p in group["params"] if (p.ndim > 1) == decays]
            if parameters:
                decay = config.optim.weight_decay if decays else 0.0
                lr = config.optim.lr * group["lr_factor"]
                split.append({"params": parameters, "weight_decay": decay, "lr": lr, "lr_factor": group["lr_factor"]})
    return split


def micro_batch(config: RunConfig, *, world: World, settings: DeepSpeedSettings) -> int:
    """Return the samples per micro-batch of one process.

    Raises:
        InputError: the global batch size is not divisible by processes times micro-batches.
    """
    micro_batches = settings.gradient_accumulation_steps
    if config.global_batch % (world.world_size * micro_batches):
        raise InputError(
            f"global_batch {config.global_batch} does not divide among {world.world_size} processes with {micro_batches} "
            "micro-batches each; give a multiple of their product"
        )
    return config.global_batch // (world.world_size * micro_batches)
