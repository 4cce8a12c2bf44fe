"""The training loop: one for every stage."""

import random
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from distill.checkpoint import load_checkpoint, save_checkpoint
from distill.config import DistillConfig
from distill.ema import Ema
from distill.engine import World, accumulation, initialize, join_world, micro_batch
from distill.monitor import Monitor
from distill.run_folder import is_finished, only_process, open_run, write_run_json
from distill.schedule import lr_factor
from distill.step import train_step
from distill.task import Task
from shards.plan import ORDER_VERSION


def distill(config: DistillConfig) -> Path:
    """Run or continue the run of `config` to its end; returns the run folder, which `encoders.load` reads.

    Every rank calls it. The order of samples follows from the global step alone, so a run that was killed goes on from
    its last checkpoint as if nothing had happened.

    Raises:
        InputError: the config, its data or an earlier run in the folder does not fit.
        NonFiniteLoss: training diverged; the last checkpoint is untouched.
    """
    world = join_world()
    if world.rank != 0:
        return train(config, world=world)
    with only_process(config.folder):
        open_run(config)
        return train(config, world=world)


def train(config: DistillConfig, *, world: World) -> Path:
    """This rank's part of a run whose folder is open; see `distill`."""
    batch_size, micro_batches = micro_batch(config, world=world), accumulation(config)
    seed_everything(config.seed)
    task = build_task(config, world=world, batch_size=batch_size)
    steps = config.schedule.steps or (config.schedule.epochs or 0) * -(-task.steps_per_epoch // micro_batches)
    if is_finished(config.folder, steps=steps):
        say(f"{config.folder} is finished: {steps} of {steps} steps are done", world=world)
        return config.folder
    engine = initialize(task, config, world=world)
    ema = Ema(engine.module, decay=config.ema.decay)
    checkpoints = config.folder / "checkpoints"
    data_id = data_identity(task)
    start = load_checkpoint(checkpoints, engine=engine, ema=ema, data_id=data_id)
    if start:
        say(f"{config.folder} goes on: {start} of {steps} steps are done", world=world)
    batches = task.batches(start_step=start * micro_batches) if start < steps else iter(())
    monitor = Monitor(
        config.folder,
        start_step=start,
        steps=steps,
        samples_per_step=config.global_batch,
        every_steps=config.log.every_steps,
        enabled=world.rank == 0,
    )
    engine.train()
    with monitor:
        for step in range(start, steps):
            lr = set_lr(engine, config, step=step, steps=steps)
            stats = train_step(engine, task, list(islice(batches, micro_batches)))
            ema.update(engine.module)
            monitor.log(step + 1, losses=stats.losses, total=stats.total, lr=lr, grad_norm=stats.grad_norm)
            if (step + 1) % config.checkpoint.every_steps == 0 or step + 1 == steps:
                save_checkpoint(
                    checkpoints,
                    step=step + 1,
                    engine=engine,
                    ema=ema,
                    data_id=data_id,
                    keep=config.checkpoint.keep,
                    rank=world.rank,
                )
    if world.rank == 0:
        task.export(config.folder, state_dict=ema.shadow)
        write_run_json(config.folder, run_facts(config, task, steps=steps))
    return config.folder


def say(text: str, *, world: World) -> None:
    """A line on stderr, from the first rank."""
    if world.rank == 0:
        print(text, file=sys.stderr, flush=True)


def build_task(config: DistillConfig, *, world: World, batch_size: int) -> Task:
    """The task of the config's stage, for this rank, `batch_size` samples at a time."""
    if config.stage == "mask":
        from distill.mask_task import MaskTask

        return MaskTask(config, batch_size=batch_size, rank=world.rank, world_size=world.size)
    from distill.embedding_task import EmbeddingTask

    return EmbeddingTask(config, batch_size=batch_size, rank=world.rank, world_size=world.size)


def data_identity(task: Task) -> str | None:
    """sha256 of the cache's manifest and version of the order of its samples, None where a task reads no cache."""
    return None if task.manifest is None else f"{task.manifest.sha256} in order {ORDER_VERSION}"


def set_lr(engine: object, config: DistillConfig, *, step: int, steps: int) -> float:
    """Set every group's rate for update `step` (from 0); returns the base rate."""
    schedule = config.schedule
    factor = lr_factor(step, steps=steps, warmup_steps=schedule.warmup_steps, min_ratio=schedule.min_lr_ratio)
    lr = config.optim.lr * factor
    for group in engine.optimizer.param_groups:  # type: ignore[attr-defined]
        group["lr"] = lr * group["lr_factor"]
    return lr


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def run_facts(config: DistillConfig, task: Task, *, steps: int) -> dict[str, object]:
    """What run.json says of a run."""
    facts: dict[str, object] = {
        "name": config.name,
        "stage": config.stage,
        "arch": config.model.arch,
        "image_size": config.model.image_size,
        "init": config.model.init,
        "steps": steps,
        "seed": config.seed,
        "licences": config.licences,
    }
    manifest = task.manifest
    if manifest is not None:
        facts |= {
            "teacher": manifest.identity.teacher,
            "teacher_sha256": manifest.identity.teacher_sha256,
            "source": manifest.identity.source,
            "codec": manifest.identity.codec,
            "manifest_sha256": manifest.sha256,
        }
    return facts
