"""Workers on this machine: each a process of its own, which is replaced when it dies."""

import os
import pickle
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from distill.engines.base import EngineOptions, Lead, Work
from distill.engines.ending import ended_by_sigterm
from distill.engines.gone import Gone
from distill.engines.last_words import LastWords
from distill.engines.schedule import Schedule
from distill.engines.stall import StallWatch
from distill.engines.worker import DONE, FAILED, GONE, NOTE, OPEN, REFUSED
from distill.launching.launch import process_environments
from distill.launching.starter import STARTER
from distill.launching.world import World
from encoders.errors import InputError, InputWarning
from encoders.messages.eta import duration

GRACE_SECONDS = 10.0  # for a worker without tasks to end by itself


def run_local(work: Work, lead: Lead, *, options: EngineOptions) -> None:
    """Do all tasks in `options.processes` processes of this machine.

    The first worker opens alone, so that a refused input is told once, and what it prepares is there for the others.

    Raises:
        InputError: a worker refused its input, or a task failed too often, see `Schedule`.
        Gone: another process or machine has finished the work.
    """
    with ended_by_sigterm(), _Crew(work, options=options) as crew:
        crew.start(0)
        while (facts := crew.opened()) is None:
            pass
        schedule = Schedule(lead.begin(facts.content), max_retry=options.max_shard_retry, name=lead.name)
        for slot in range(1, min(crew.size, schedule.unfinished)):
            crew.start(slot)
        lead.staffed(len(crew.workers))
        watch = StallWatch(options.stall_seconds)

        def replace(slot: int, words: str) -> None:
            watch.idle(slot)
            schedule.lost(slot, words=words)
            print(f"worker {slot} of {crew.size} {words}; another one does what it left", file=sys.stderr)
            crew.start(slot)

        while schedule.unfinished:
            for slot, worker in crew.workers.items():
                while worker.is_open and (task := schedule.take(slot, workers=len(crew.workers))) is not None:
                    worker.send(task)
                    watch.busy(slot)
            for slot, message in crew.messages(timeout=watch.seconds_left()):
                if message is None:
                    replace(slot, crew.workers[slot].end())
                    continue
                watch.progress(slot)
                if message[0] == DONE and schedule.done(slot, message[1]):
                    lead.done(message[1], message[2])
                if not schedule.holds(slot):
                    watch.idle(slot)
            for slot in watch.stalled():
                replace(slot, crew.workers[slot].stop(watch.limit_seconds))


@dataclass(frozen=True)
class _Facts:
    content: Any


@dataclass
class _Worker:
    """A worker's process, seen from the lead."""

    process: "subprocess.Popen[bytes]"
    pipe: Connection
    words: LastWords
    is_open: bool = False
    failure: str = ""

    def send(self, task: int) -> None:
        """Hand out a task; a worker that has just died is noticed by its silent pipe."""
        with suppress(OSError):
            self.pipe.send(task)

    def end(self) -> str:
        """Close everything that belongs to a dead worker; return how it ended and what it wrote last."""
        self.pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_SECONDS)
        self.kill()
        code = self.process.returncode
        if code is None:
            how = "cannot be ended"
        else:
            how = f"was ended by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"ended with {code}"
        last = self.failure or self.words.last()
        return f"{how}; its last words: {last}" if last else f"{how} without a word"

    def stop(self, seconds: float) -> str:
        """End a worker that has finished nothing for so many seconds; return how it ended and what it wrote last."""
        self.kill()
        self.pipe.close()
        last = f"; its last words: {words}" if (words := self.words.last()) else ""
        return f"had finished no batch for {duration(seconds)} and was killed (--stall-minutes){last}"

    def kill(self) -> None:
        """End the process and its children at once."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # one that waits for a file system that is gone cannot even be killed
            self.process.wait(GRACE_SECONDS)
        self.words.close()


@dataclass
class _Crew:
    """The workers by slot; a slot keeps its GPU when its worker is replaced."""

    work: Work
    options: EngineOptions
    workers: dict[int, _Worker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.size = self.options.processes or 1
        self._environments = process_environments(self.size)

    def start(self, slot: int) -> None:
        """Start the worker of a slot."""
        outer = self.options.world
        world = World(outer.rank * self.size + slot, outer.world_size * self.size, slot)
        ours, theirs = Pipe()
        command = [sys.executable, "-m", "distill.engines.worker", str(theirs.fileno()), self.work.label]
        with theirs:
            process = subprocess.Popen(
                command,
                env={**self._environments[slot], STARTER: str(os.getpid())},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self.workers[slot] = _Worker(process, ours, LastWords(process.stdout))
        with suppress(OSError):
            ours.send(sys.path)
            ours.send_bytes(pickle.dumps((self.work, world)))

    def messages(self, *, timeout: float | None = None) -> Iterator[tuple[int, tuple[Any, ...] | None]]:
        """Wait, at most `timeout` seconds, then yield what workers have told since; None from a worker that has ended.

        Raises:
            InputError: a worker refused its input.
            Gone: a worker found the work finished.
        """
        slots = {worker.pipe: slot for slot, worker in self.workers.items()}
        for pipe in wait(list(slots), timeout):
            slot = slots[pipe]  # type: ignore[index]
            worker = self.workers[slot]
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):
                yield slot, None
                continue
            if message[0] == REFUSED:
                raise InputError(message[1])
            if message[0] == GONE:
                raise Gone(message[1])
            if message[0] == NOTE:
                warnings.warn(message[1], InputWarning, stacklevel=2)
            elif message[0] == FAILED:
                worker.failure = message[1]
            else:
                worker.is_open = worker.is_open or message[0] == OPEN
                yield slot, message

    def opened(self) -> _Facts | None:
        """Wait for the next news of workers that open; return the facts of one that is ready, None without one.

        Raises:
            InputError: one ended before it was ready, which the next would do too.
        """
        for slot, message in self.messages():
            if message is None:
                raise InputError(f"a worker that was not ready yet {self.workers[slot].end()}")
            if message[0] == OPEN:
                return _Facts(message[1])
        return None

    def __enter__(self) -> "_Crew":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for worker in self.workers.values():
            worker.pipe.close()
        for worker in self.workers.values():
            if kind is None:
                with suppress(subprocess.TimeoutExpired):
                    worker.process.wait(GRACE_SECONDS)
            worker.kill()
