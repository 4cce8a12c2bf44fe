"""Work of a few milliseconds a task: each writes a file; some misbehave as told."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.engines.gone import Gone
from distill.launching.world import World
from encoders.errors import InputError


@dataclass(frozen=True)
class TinyWork:
    """Task N writes N squared to the file N.

    Attributes:
        folder: of the files; "pids" in it has the numbers of all worker processes.
        kill_once: task in which the first worker kills itself.
        hang_once: task in which the first worker that comes to it waits for ever.
        gone: task at which the work turns out to be finished by somebody else.
        parts: number of batches of a task.
        workers: number of workers that must have begun before any of them does a task; on a busy machine one may be late.
        fails: task that always raises. dies: task that always kills its worker. refuses: task that is bad input.
    """

    folder: Path
    kill_once: int | None = None
    hang_once: int | None = None
    gone: int | None = None
    parts: int = 1
    workers: int = 1
    fails: int | None = None
    dies: int | None = None
    refuses: int | None = None
    seconds: float = 0.002

    @property
    def label(self) -> str:
        return str(self.folder)

    @contextmanager
    def open(self, world: World, /) -> Iterator["TinyWorker"]:
        (self.folder / f"pid-{os.getpid()}").write_text(str(world.local_rank))
        yield TinyWorker(self)


@dataclass(frozen=True)
class TinyWorker:
    work: TinyWork
    facts: Any = "facts"

    def run(self, tasks: Iterator[int], /, *, batch_done: Callable[[], None] | None = None) -> Iterator[tuple[int, int]]:
        ahead: list[int] = []
        for task in tasks:
            ahead.append(task)
            if len(ahead) == 2:  # as a maker, which pulls the next task before it yields one
                yield self._do(ahead.pop(0), batch_done)
        for task in ahead:
            yield self._do(task, batch_done)

    def _do(self, task: int, batch_done: Callable[[], None] | None) -> tuple[int, int]:
        work = self.work
        deadline = time.monotonic() + 60
        while len([*work.folder.glob("pid-*")]) < work.workers and time.monotonic() < deadline:
            time.sleep(0.01)
        for _ in range(work.parts):
            time.sleep(work.seconds)
            if batch_done is not None:
                batch_done()
        if task == work.gone:
            raise Gone("somebody else was faster")
        hung = work.folder / "hung"
        if task == work.hang_once and not hung.exists():
            hung.touch()
            print(f"waiting for ever in task {task}", flush=True)
            time.sleep(600)
        killed = work.folder / "killed"
        if task == work.dies or (task == work.kill_once and not killed.exists()):
            killed.touch()
            print(f"this is all that I did on task {task}", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if task == work.fails:
            raise RuntimeError(f"task {task} has a stone in it")
        if task == work.refuses:
            raise InputError(f"task {task} is no good; give another")
        (work.folder / str(task)).write_text(str(task**2))
        return task, os.getpid()


@dataclass
class TinyLead:
    """Counts tasks, less those whose file is there."""

    folder: Path
    tasks: Sequence[int]
    told: dict[int, int] = field(default_factory=dict)
    staff: list[int] = field(default_factory=list)

    def begin(self, facts: Any, /) -> list[int]:
        assert facts == "facts"
        return [task for task in self.tasks if not (self.folder / str(task)).exists()]

    def name(self, task: int, /) -> str:
        return f"stone {task}"

    def done(self, task: int, result: int, /) -> None:
        assert task not in self.told
        self.told[task] = result

    def staffed(self, workers: int, /) -> None:
        self.staff.append(workers)


def written(folder: Path) -> dict[int, str]:
    """What the tasks wrote."""
    return {int(path.name): path.read_text() for path in folder.iterdir() if path.name.isdigit()}


def workers(folder: Path) -> list[int]:
    """Numbers of the processes that were workers."""
    return [int(path.name.removeprefix("pid-")) for path in folder.glob("pid-*")]
