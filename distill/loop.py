"""The training loop, shared by all stages."""

import signal
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from itertools import chain, islice
from pathlib import Path
from typing import Any, NoReturn

import encoders
from distill.config.runs import Run
from distill.engine import join_world
from distill.launching.stopping import EndingSignals, signals_wait
from distill.launching.world import World
from distill.liveness import Liveness
from distill.monitoring.monitor import Monitor
from distill.probe.watch import ProbeWatch
from distill.ranks import StopVote, on_every_rank, on_first_rank
from distill.run_folder import check_run, only_process, write_run_json
from distill.schedule import set_lr
from distill.step import TrainingSteps
from distill.task import Task
from distill.training import Training, prepare


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
    training = prepare(config, world=world, before=before)
    if training is None:
        return config.folder
    with closing(training.task.batches(start_step=training.start * training.micro_batches)) as batches:
        steps, probe = take_steps(training, batches)
    if world.rank == 0:
        weights, found = probe.export()
        encoders.save_run_weights(training.task.sam(weights), config.folder)
        write_run_json(config.folder, run_facts(config, training.task, steps=steps) | found)
    return config.folder


def take_steps(training: Training, making: Generator[Any, None, None]) -> tuple[int, ProbeWatch]:
    """Train from `training.start` to the end; return the number of steps done and the probe, which knows the best weights.

    Args:
        making: this rank's batches, from the first one that is missing.

    Raises:
        NonFiniteLoss, SystemExit: see `distill`.
    """
    config, world, task, steps = training.config, training.world, training.task, training.steps

    def begin() -> tuple[Iterator[Any], Monitor]:
        return started(making) if training.start < steps else making, training.monitor()

    batches, monitor = on_every_rank(begin)
    training.engine.train()
    taking = TrainingSteps(training.engine, task, clip_grad_norm=config.optim.clip_grad_norm)
    vote = StopVote(world_size=world.world_size)
    probe = ProbeWatch(config, task, ema=training.ema, monitor=monitor, world=world, start=training.start, steps=steps)
    report = Report(taking, task, monitor=monitor)
    with EndingSignals() as signals, monitor:
        done = training.start if probe.begin() else steps
        for step in range(training.start, done):
            lr = set_lr(training.engine, config, step=step, steps=steps)
            taking.take(list(islice(batches, training.micro_batches)))
            training.ema.update()
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
                training.save(step + 1)
            if stop:
                end_at(step + 1, folder=config.folder, number=stop, world=world)
            if last:
                break
        vote.close()
    return done, probe


class Report:
    """Reads the losses of the steps since the last report from the device, and logs them; each warning is given once."""

    def __init__(self, taking: TrainingSteps, task: Task, *, monitor: Monitor) -> None:
        self._taking, self._task, self._monitor = taking, task, monitor
        self._remarks: set[str] = set()

    def __call__(self, step: int, *, lr: float) -> None:
        """Report on the steps up to `step`.

        Raises:
            NonFiniteLoss: one of them was not finite.
        """
        stats = self._taking.read()
        self._monitor.log(step, stats, lr=lr)
        if (remark := self._task.remark(stats.measured)) is not None and remark not in self._remarks:
            self._remarks.add(remark)
            self._monitor.say(remark)


def started(batches: Generator[Any, None, None]) -> Iterator[Any]:
    """Start the worker processes with signals blocked, so that they outlive a signal that ends the run; return the batches."""
    with signals_wait():
        first = next(batches)
    return chain([first], batches)


def end_at(step: int, *, folder: Path, number: int, world: World) -> NoReturn:
    """Report that a signal ended the run after a checkpoint, and exit with 128 + the signal's number."""
    name = signal.Signals(number).name
    world.say(f"{name}: {folder} ends after step {step}, in a checkpoint; run the same command again to go on")
    raise SystemExit(128 + number)


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
