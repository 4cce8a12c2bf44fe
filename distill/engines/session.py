"""A worker in a thread, for engines that hand out tasks by calls."""

from collections.abc import Iterator
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

from distill.engines.base import Work
from distill.launching.world import World


class Session:
    """Opens a worker in a thread of its own, and does the tasks that other threads ask for.

    Args:
        work, world: see `distill.engines.base`.
    """

    def __init__(self, work: Work, world: World) -> None:
        self._facts: Future[Any] = Future()
        self._tasks: SimpleQueue[int] = SimpleQueue()
        self._results: dict[int, Future[Any]] = {}
        self._lock = Lock()
        self._failure: BaseException | None = None
        Thread(target=self._serve, args=(work, world), daemon=True).start()

    def facts(self) -> Any:
        """Wait until the worker is open and return its facts; raises what kept it from opening."""
        return self._facts.result()

    def do(self, task: int) -> Any:
        """Do a task and return what the lead is told of it; raises what ended the worker."""
        future: Future[Any] = Future()
        with self._lock:
            if self._failure is not None:
                raise self._failure
            self._results[task] = future
        self._tasks.put(task)
        return future.result()

    def _serve(self, work: Work, world: World) -> None:
        try:
            with work.open(world) as worker:
                self._facts.set_result(worker.facts)
                while True:
                    for task, result in worker.run(self._handed()):
                        self._results.pop(task).set_result(result)
        except BaseException as error:  # whoever waits gets it, whatever it is
            with self._lock:
                self._failure = error
            for future in (self._facts, *self._results.values()):
                if not future.done():
                    future.set_exception(error)

    def _handed(self) -> Iterator[int]:
        """Wait for a task, then yield it and those that have come meanwhile."""
        yield self._tasks.get()
        while True:
            try:
                yield self._tasks.get_nowait()
            except Empty:
                return
