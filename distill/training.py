"""A run that is ready for its next step: task, engine and averaged weights, at its last checkpoint."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from distill.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from distill.config.deepspeed import read_deepspeed_config
from distill.config.runs import MaskRun, PromptRun, Run
from distill.ema import Ema
from distill.engine import initialize, micro_batch
from distill.launching.world import World
from distill.monitoring.loggers import open_loggers
from distill.monitoring.monitor import Monitor
from distill.ranks import gather_over_ranks, on_every_rank, on_first_rank
from distill.run_folder import CHECKPOINTS, claim_run, steps_done
from distill.schedule import length, new_length_note, short_run_note
from distill.task import Task
from encoders.errors import InputError
from shards.loading.sample_order import ORDER_VERSION


@dataclass(frozen=True, kw_only=True)
class Training:
    """A run that is ready for its next step on this rank.

    Attributes:
        engine: DeepSpeed's, with the weights of step `start`, as has `ema`.
        data_id: of the cache, see `data_identity`.
        micro_batches: of this rank in each step.
        start: number of global steps that are done.
        steps: number of global steps of the whole run.
    """

    config: Run
    world: World
    task: Task
    engine: Any
    ema: Ema
    data_id: str | None
    micro_batches: int
    start: int
    steps: int

    def save(self, step: int) -> None:
        """Write a checkpoint after `step` steps."""
        folder, keep = self.config.folder / CHECKPOINTS, self.config.checkpoint.keep
        save_checkpoint(folder, step=step, engine=self.engine, ema=self.ema, data_id=self.data_id, keep=keep)

    def monitor(self) -> Monitor:
        """Open the run's metrics."""
        config, first = self.config, self.world.rank == 0
        return Monitor(
            config.folder,
            start_step=self.start,
            steps=self.steps,
            samples_per_step=config.global_batch,
            every_steps=config.log.every_steps,
            enabled=first,
            loggers=open_loggers(config) if first else (),
        )


def prepare(config: Run, *, world: World, before: dict[str, Any] | None) -> Training | None:
    """Build what the run needs on this rank and load its last checkpoint; return None if the run is finished.

    Raises:
        InputError: see `distill`.
    """
    settings = read_deepspeed_config(config.deepspeed)
    micro_batches, batch_size = settings.gradient_accumulation_steps, micro_batch(config, world=world, settings=settings)
    seed_everything(config.seed)
    task = on_every_rank(lambda: build_task(config, world=world, batch_size=batch_size))
    data_id = data_identity(task)
    data_ids = gather_over_ranks(data_id)
    on_first_rank(lambda: check_same_data(data_ids))
    steps_per_epoch = -(-task.steps_per_epoch // micro_batches)
    steps = length(config.schedule.model_dump(), steps_per_epoch=steps_per_epoch)
    patience = None if config.probe is None else config.probe.patience
    if (done := on_first_rank(lambda: steps_done(config.folder, steps=steps, patience=patience))) is not None:
        world.say(f"{config.folder} is finished: {done} of {steps} steps are done")
        return None
    engine = initialize(task, config, world=world, settings=settings)
    ema = Ema(engine.module, decay=config.ema.decay)
    start = load_checkpoint(config.folder / CHECKPOINTS, engine=engine, ema=ema, data_id=data_id)
    if start > steps:
        raise InputError(f"{config.folder} has done {start} steps, more than the {steps} of schedule; give at least {start}")
    if start:
        world.say(f"{config.folder} goes on: {start} of {steps} steps are done")
        earlier = length(before["schedule"], steps_per_epoch=steps_per_epoch) if before else steps
        if earlier != steps:
            world.say(new_length_note(config, step=start, earlier=earlier, steps=steps))
    if start < steps <= config.schedule.warmup_steps:
        world.say(short_run_note(config, steps=steps))
    on_first_rank(lambda: claim_run(config))
    return Training(
        config=config,
        world=world,
        task=task,
        engine=engine,
        ema=ema,
        data_id=data_id,
        micro_batches=micro_batches,
        start=start,
        steps=steps,
    )


def build_task(config: Run, *, world: World, batch_size: int) -> Task:
    """Build the task of the config's stage for this rank, with `batch_size` samples per step."""
    if isinstance(config, MaskRun):
        from distill.mask_stage.task import MaskTask

        return MaskTask(config, batch_size=batch_size, rank=world.rank, world_size=world.world_size)
    if isinstance(config, PromptRun):
        from distill.prompt_stage.task import PromptTask

        return PromptTask(config, batch_size=batch_size, rank=world.rank, world_size=world.world_size)
    from distill.embedding_task import EmbeddingTask

    return EmbeddingTask(config, batch_size=batch_size, rank=world.rank, world_size=world.world_size)


def data_identity(task: Task) -> str | None:
    """Return the sha256 of the cache's manifest with the version of its sample order; None if the task reads no cache."""
    return None if task.manifest is None else f"{task.manifest.sha256} in order {ORDER_VERSION}"


def check_same_data(data_ids: Sequence[str | None]) -> None:
    """Check that all ranks read the same cache, since only the first has compared its cache with the teacher.

    Args:
        data_ids: `data_identity` on each rank.

    Raises:
        InputError: a rank reads another cache; names the rank.
    """
    for rank, data_id in enumerate(data_ids):
        if data_id != data_ids[0]:
            raise InputError(
                f"the cache of rank {rank} is another than that of rank 0: the sha256 of its manifest is {data_id}, there "
                f"it is {data_ids[0]}; give all machines the same cache"
            )


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
