"""The training loop, shared by all stages."""

import random
import signal
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import chain, islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

import encoders
from distill.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from distill.config.deepspeed import read_deepspeed_config
from distill.config.runs import MaskRun, PromptRun, Run
from distill.ema import Ema
from distill.engine import initialize, join_world, micro_batch
from distill.launching.stopping import EndingSignals, signals_wait
from distill.launching.world import World
from distill.liveness import Liveness
from distill.loggers import open_loggers
from distill.monitor import Monitor
from distill.probe.watch import ProbeWatch
from distill.ranks import StopVote, gather_over_ranks, on_every_rank, on_first_rank
from distill.run_folder import CHECKPOINTS, check_run, claim_run, only_process, steps_done, write_run_json
from distill.schedule import length, new_length_note, set_lr, short_run_note
from distill.step import TrainingSteps
from distill.task import Task
from encoders.errors import InputError
from shards.loading.sample_order import ORDER_VERSION


def distill(config: Run) -> Path:
    """Start or resume the run of `config` and train to its end; return the run folder, which `encoders.load` reads.

    Every rank must call it. The order of samples depends on the global step alone, so a killed run resumes exactly from
    its last checkpoint.

    Raises:
        InputError: the config does not match its data or an earlier run in the folder, or a file cannot be written.
        NonFiniteLoss: training diverged; the last checkpoint is untouched.
        SystemExit: stopped by SIGTERM or SIGINT after writing a checkpoint; the code is 128 + the signal's number.
    """
    folder = config.folder
    world = join_world()
    with ExitStack() as held:
        held.enter_context(Liveness(world))

        def hold() -> dict[str, Any] | None:
            held.enter_context(only_process(folder))
            return check_run(config)

        return train(config, world=world, before=on_first_rank(hold))


def train(config: Run, *, world: World, before: dict[str, Any] | None) -> Path:
    """Train on this rank; the run folder is locked. See `distill`.

    Args:
        before: settings with which the run in the folder was begun; None for a new run.
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
        say(f"{config.folder} is finished: {done} of {steps} steps are done", world=world)
        return config.folder
    engine = initialize(task, config, world=world, settings=settings)
    ema = Ema(engine.module, decay=config.ema.decay)
    checkpoints = config.folder / CHECKPOINTS
    start = load_checkpoint(checkpoints, engine=engine, ema=ema, data_id=data_id)
    if start > steps:
        raise InputError(f"{config.folder} has done {start} steps, more than the {steps} of schedule; give at least {start}")
    if start:
        say(f"{config.folder} goes on: {start} of {steps} steps are done", world=world)
        earlier = length(before["schedule"], steps_per_epoch=steps_per_epoch) if before else steps
        if earlier != steps:
            say(new_length_note(config, step=start, earlier=earlier, steps=steps), world=world)
    if start < steps <= config.schedule.warmup_steps:
        say(short_run_note(config, steps=steps), world=world)
    on_first_rank(lambda: claim_run(config))

    def save(step: int) -> None:
        keep = config.checkpoint.keep
        save_checkpoint(checkpoints, step=step, engine=engine, ema=ema, data_id=data_id, keep=keep)

    with closing(task.batches(start_step=start * micro_batches)) as making:

        def begin() -> tuple[Iterator[Any], Monitor]:
            batches = started(making) if start < steps else making
            monitor = Monitor(
                config.folder,
                start_step=start,
                steps=steps,
                samples_per_step=config.global_batch,
                every_steps=config.log.every_steps,
                enabled=world.rank == 0,
                loggers=open_loggers(config) if world.rank == 0 else (),
            )
            return batches, monitor

        batches, monitor = on_every_rank(begin)
        engine.train()
        training = TrainingSteps(engine, task, clip_grad_norm=config.optim.clip_grad_norm)
        vote = StopVote(world_size=world.world_size)
        probe = ProbeWatch(config, task, ema=ema, monitor=monitor, world=world, start=start, steps=steps)

        remarks: set[str] = set()

        def report(step: int, *, lr: float) -> None:
            stats = training.read()
            monitor.log(step, stats, lr=lr)
            if (remark := task.remark(stats.measured)) is not None and remark not in remarks:
                remarks.add(remark)
                monitor.say(remark)

        with EndingSignals() as signals, monitor:
            done = start if probe.begin() else steps
            for step in range(start, done):
                lr = set_lr(engine, config, step=step, steps=steps)
                training.take(list(islice(batches, micro_batches)))
                ema.update()
                last = step + 1 == steps
                if probe.look(step + 1, last=last):
                    last, done = True, step + 1
                    monitor.end_at(done)
                if reported := last or (step + 1) % config.log.every_steps == 0:
                    report(step + 1, lr=lr)
                stop = 0 if last else vote.cast(signals.first)
                kept = bool(stop) or last or (step + 1) % config.checkpoint.every_steps == 0
                if kept and not reported:
                    report(step + 1, lr=lr)
                if kept:
                    save(step + 1)
                if stop:
                    end_at(step + 1, folder=config.folder, number=stop, world=world)
                if last:
                    break
            vote.close()
    if world.rank == 0:
        weights, found = probe.export()
        encoders.save_run_weights(task.sam(weights), config.folder)
        write_run_json(config.folder, run_facts(config, task, steps=done) | found)
    return config.folder


def started(batches: Generator[Any, None, None]) -> Iterator[Any]:
    """Start the worker processes with signals blocked, so that they outlive a signal that ends the run; return the batches."""
    with signals_wait():
        first = next(batches)
    return chain([first], batches)


def end_at(step: int, *, folder: Path, number: int, world: World) -> NoReturn:
    """Report that a signal ended the run after a checkpoint, and exit with 128 + the signal's number."""
    name = signal.Signals(number).name
    say(f"{name}: {folder} ends after step {step}, in a checkpoint; run the same command again to go on", world=world)
    raise SystemExit(128 + number)


def say(text: str, *, world: World) -> None:
    """Print a line to stderr on the first rank."""
    if world.rank == 0:
        print(text, file=sys.stderr, flush=True)


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


def run_facts(config: Run, task: Task, *, steps: int) -> dict[str, object]:
    """Return a run's facts for run.json."""
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
    return facts | task.facts
