"""What an engine runs, and `run`, which chooses the engine.

Work is a list of numbered tasks: shards of a precompute, photos of an evaluation. A task publishes its own result in one
step and may be done twice, so an engine only hands tasks out: a worker that ends leaves nothing that anybody has to clear up.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

from distill.engines.stall import STALL_MINUTES
from distill.launching import slurm
from distill.launching.world import World, read_world
from encoders.errors import InputError, did_you_mean

EngineName = Literal["local", "slurm", "ray"]
ENGINES: tuple[str, ...] = get_args(EngineName)
MAX_SHARD_RETRY = 2


class Worker(Protocol):
    """A process's open teacher, models or source, ready for tasks.

    Attributes:
        facts: what the lead needs to know of it before the first task; can be pickled.
    """

    @property
    def facts(self) -> Any: ...

    def run(self, tasks: Iterator[int], /, *, batch_done: Callable[[], None] | None = None) -> Iterator[tuple[int, Any]]:
        """Do tasks and yield each one's number, once its result is published, with what the lead is told of it.

        Tasks are pulled lazily, a few ahead; the iterator ends when there is none at the moment, and `run` is called again.

        Args:
            batch_done: called in this thread after each part of a task that takes long; tells a slow worker from a stalled one.
        """
        ...


class Work(Protocol):
    """How a worker opens what it needs; can be pickled.

    Attributes:
        label: shown among the arguments of a worker's process.
    """

    @property
    def label(self) -> str: ...

    def open(self, world: World, /) -> AbstractContextManager[Worker]:
        """Open what a worker needs; `world` is its place among the workers.

        Raises:
            Gone: out of the block: another process or machine has finished the whole work.
        """
        ...


class Lead(Protocol):
    """The one process that knows what is left to do and counts what is done."""

    def begin(self, facts: Any, /) -> Sequence[int]:
        """Return the tasks to do; called once, with the facts of the first worker that is open."""
        ...

    def name(self, task: int, /) -> str:
        """Return what people call a task."""
        ...

    def done(self, task: int, result: Any, /) -> None:
        """Count a finished task. An exception ends the work."""
        ...

    def staffed(self, workers: int, /) -> None:
        """Note how many workers are at work; called after `begin`, and again when the number changes."""
        ...


@dataclass(frozen=True)
class Share:
    """A lead that keeps to a fixed share of the tasks: those whose number is `rank` modulo `world_size`."""

    lead: Lead
    world: World

    def begin(self, facts: Any, /) -> Sequence[int]:
        """Return this rank's tasks."""
        return [task for task in self.lead.begin(facts) if task % self.world.world_size == self.world.rank]

    def name(self, task: int, /) -> str:
        """Return what people call a task."""
        return self.lead.name(task)

    def done(self, task: int, result: Any, /) -> None:
        """Count a finished task."""
        self.lead.done(task, result)

    def staffed(self, workers: int, /) -> None:
        """Note how many workers are at work."""
        self.lead.staffed(workers)


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How the work is spread.

    Attributes:
        engine: "local", "slurm" (a fixed share for each rank) or "ray".
        processes: number of workers, on this machine or in Ray's cluster; None is 1, with Ray one for each GPU, or CPU.
        max_shard_retry: how often a task is handed out again after its worker failed.
        stall_seconds: how long a worker of "local" may finish no batch before it is replaced; None waits for ever.
        ray_address: of a running cluster; None starts one on this machine.
        world: this process among those that a launcher started; a single one unless `engine` is "slurm".
    """

    engine: EngineName = "local"
    processes: int | None = None
    max_shard_retry: int = MAX_SHARD_RETRY
    stall_seconds: float | None = 60 * STALL_MINUTES
    ray_address: str | None = None
    world: World = World()

    @property
    def alone(self) -> bool:
        """Whether the work is done in this process alone."""
        return self.engine != "ray" and (self.processes or 1) == 1


HERE = EngineOptions()  # in this process


def engine_options(
    engine: str | None,
    *,
    processes: int | None = None,
    max_shard_retry: int = MAX_SHARD_RETRY,
    ray_address: str | None = None,
    world: World | None = None,
    stall_minutes: float = STALL_MINUTES,
) -> EngineOptions:
    """Check the options of a command line and complete them by what a launcher says.

    Args:
        engine: None chooses "slurm" where a launcher (srun, torchrun) started several processes, else "local".
        stall_minutes: see `EngineOptions.stall_seconds`; 0 waits for ever.
        world: this process; None reads the launcher's variables.

    Raises:
        InputError: an unknown engine, or options that do not go together.
    """
    world = world or shared_world()
    name = engine or ("slurm" if world.world_size > 1 else "local")
    if name not in ENGINES:
        raise InputError(f"--engine {name}: expected {', '.join(ENGINES)}{did_you_mean(name, ENGINES)}")
    if (processes is not None and processes < 1) or max_shard_retry < 0:
        raise InputError(
            f"--num-processes {processes} and --max-shard-retry {max_shard_retry}: expected at least 1 process and 0 retries"
        )
    if not stall_minutes >= 0:
        raise InputError(f"--stall-minutes {stall_minutes}: expected minutes, or 0 to wait for ever")
    if ray_address is not None and name != "ray":
        raise InputError(f"--ray-address {ray_address} is of use with --engine ray only; add it, or leave the address out")
    chosen: Mapping[str, EngineName] = {"local": "local", "slurm": "slurm", "ray": "ray"}
    return EngineOptions(
        engine=chosen[name],
        processes=processes,
        max_shard_retry=max_shard_retry,
        ray_address=ray_address,
        stall_seconds=60 * stall_minutes or None,
        world=world if name == "slurm" else World(),
    )


def shared_world(environment: Mapping[str, str] = os.environ) -> World:
    """Return this process's place among all that do a fixed share: those of its launcher, in each job of a SLURM array."""
    world, (job, jobs) = read_world(environment), slurm.array_place(environment)
    return replace(world, rank=job * world.world_size + world.rank, world_size=jobs * world.world_size)


def run(work: Work, lead: Lead, *, options: EngineOptions) -> None:
    """Do all tasks that `lead` knows of; with the engine "slurm", this rank's share of them.

    Raises:
        InputError: a worker refused its input; or a task failed too often, which is named with the worker's last words.
        Gone: another process or machine has finished the work.
    """
    if options.engine == "ray":
        from distill.engines.ray_cluster import run_ray

        run_ray(work, lead, options=options)
        return
    ours = Share(lead, options.world) if options.world.world_size > 1 else lead
    if options.alone:
        run_here(work, ours, world=options.world if options.engine == "slurm" else World())
        return
    from distill.engines.local import run_local

    run_local(work, ours, options=options)


def run_here(work: Work, lead: Lead, *, world: World) -> None:
    """Do all tasks in this process."""
    with work.open(world) as worker:
        tasks = lead.begin(worker.facts)
        lead.staffed(1)
        for task, result in worker.run(iter(tasks)):
            lead.done(task, result)
