"""The process of a worker: `python -m distill.engines.worker PIPE LABEL`, started by `distill.engines.local`."""

import pickle
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from distill.engines.gone import Gone
from distill.launching.starter import end_with_starter
from encoders.errors import InputError, InputWarning, MissingExtra

if TYPE_CHECKING:
    from distill.engines.base import Work
    from distill.launching.world import World

# What a worker tells, the first of each tuple; BATCH: a part of its task is done; GONE: there is nothing left to do for anybody
OPEN, DONE, BATCH, NOTE, REFUSED, FAILED, GONE = "open", "done", "batch", "note", "refused", "failed", "gone"
BATCH_SECONDS = 0.1  # at least, between two such messages


def main() -> None:
    """Receive the work through the pipe and do the tasks that come after it."""
    end_with_starter()
    pipe = Connection(int(sys.argv[1]))
    sys.path[:] = pipe.recv()
    work, world = pickle.loads(pipe.recv_bytes())  # from the process that started this one
    warnings.showwarning = lambda message, category, *where, **more: _note(pipe, message, category)
    sys.exit(serve(work, world, pipe))


def serve(work: "Work", world: "World", pipe: Any) -> int:
    """Open what the work needs and do tasks until the lead closes the pipe; return the exit code."""
    batches = _Batches(pipe)
    try:
        with work.open(world) as worker:
            pipe.send((OPEN, worker.facts))
            while True:
                for task, result in worker.run(handed(pipe), batch_done=batches.batch_done):
                    pipe.send((DONE, task, result))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return 0  # the lead has no more tasks, or has ended
    except Gone as error:
        with suppress(OSError):  # the lead may have seen it before
            pipe.send((GONE, str(error)))
        return 0
    except (InputError, MissingExtra) as error:
        pipe.send((REFUSED, str(error)))
        return 2
    except Exception as error:
        traceback.print_exc()
        pipe.send((FAILED, "".join(traceback.format_exception_only(error)).strip()))
        return 1


class _Batches:
    """Tells the lead of finished batches, but not of more than ten a second."""

    def __init__(self, pipe: Any) -> None:
        self._pipe, self._told = pipe, float("-inf")

    def batch_done(self) -> None:
        """Note a finished batch."""
        now = time.monotonic()
        if now - self._told >= BATCH_SECONDS:
            self._told = now
            self._pipe.send((BATCH,))


def handed(pipe: Any) -> Iterator[int]:
    """Wait for a task, then yield it and those that have come meanwhile.

    It never waits for a second one: a worker that reads ahead would not hand over what it has finished until then.
    """
    yield pipe.recv()
    while pipe.poll():
        yield pipe.recv()


def _note(pipe: Any, message: Warning | str, category: type[Warning]) -> None:
    if issubclass(category, InputWarning) and threading.current_thread() is threading.main_thread():  # two would mix
        pipe.send((NOTE, str(message)))
    else:
        print(f"{category.__name__}: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
