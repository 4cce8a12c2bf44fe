"""Which task is with which worker, and how often each has failed."""

from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence

from encoders.errors import InputError
from encoders.messages.words import counted

AHEAD = 2  # most tasks that a worker holds besides the one it works on


class Schedule:
    """Hands out tasks, and again what a worker that failed has left.

    A worker holds a few tasks ahead, so that it can read photos of the next while it works on one. Towards the end it holds
    fewer, so that no worker waits for another. A failed task is handed out alone, so that the next failure can be blamed.

    Args:
        tasks: their numbers, in the order of handing out.
        max_retry: how often a task is handed out again after a failure.
        name: what people call a task.
    """

    def __init__(self, tasks: Sequence[int], *, max_retry: int, name: Callable[[int], str]) -> None:
        self._waiting = deque(tasks)
        self._left = set(tasks)
        self._held: dict[Hashable, list[int]] = {}
        self._failures: Counter[int] = Counter()
        self._failed_openings = 0
        self._max_retry = max_retry
        self._name = name

    @property
    def unfinished(self) -> int:
        """Number of tasks that are not done."""
        return len(self._left)

    def take(self, worker: Hashable, *, workers: int) -> int | None:
        """Return the next task for a worker; None if it should hold no more at the moment.

        Args:
            workers: number of workers that share the tasks.
        """
        held = self._held.setdefault(worker, [])
        if not self._waiting or len(held) > min(AHEAD, (len(self._waiting) - 1) // workers):
            return None
        if held and (self._waiting[0] in self._failures or held[-1] in self._failures):
            return None
        held.append(self._waiting.popleft())
        return held[-1]

    def done(self, worker: Hashable, task: int) -> bool:
        """Note a finished task; return False if another worker had finished it before."""
        self._failed_openings = 0
        if task in self._held.get(worker, []):
            self._held[worker].remove(task)
        first = task in self._left
        self._left.discard(task)
        return first

    def holds(self, worker: Hashable) -> bool:
        """Return whether a worker has a task."""
        return bool(self._held.get(worker))

    def lost(self, worker: Hashable, *, words: str) -> None:
        """Take back what a failed worker holds. The task that it worked on is blamed.

        Args:
            words: how the worker ended, and the last that it wrote.

        Raises:
            InputError: that task has failed too often, or workers end before they are ready for a task.
        """
        held = [task for task in self._held.pop(worker, []) if task in self._left]
        if not held:
            self._failed_openings += 1
            if self._failed_openings > self._max_retry:
                raise InputError(f"{counted(self._failed_openings, 'worker')} in a row ended without work; the last {words}")
            return
        blamed = held[0]
        self._failures[blamed] += 1
        if self._failures[blamed] > self._max_retry:
            raise InputError(
                f"{self._name(blamed)} failed {counted(self._failures[blamed], 'time')}, the last time its worker {words}."
                " Finished work is kept: when the cause is mended, run the same command again"
            )
        self._waiting.extendleft(reversed(held))

    def given_back(self, worker: Hashable) -> None:
        """Take back what a worker holds that nobody is to blame for, such as on a machine that has gone."""
        self._waiting.extendleft(task for task in reversed(self._held.pop(worker, [])) if task in self._left)
