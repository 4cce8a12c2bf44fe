"""Passes on what a process prints, and remembers the end of it."""

import sys
from collections import deque
from threading import Thread
from typing import IO

LINES = 5


class LastWords:
    """Copies a process's output to stderr, line by line, in a thread.

    Args:
        stream: the output; None has nothing to say.
    """

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._stream = stream
        self._lines: deque[str] = deque(maxlen=LINES)
        self._thread = Thread(target=self._copy, daemon=True)
        self._thread.start()

    def last(self) -> str:
        """Return the last lines, joined; call it when the process has ended."""
        self._thread.join(1.0)
        return " | ".join(line for line in self._lines if line)

    def close(self) -> None:
        """Wait until everything is copied; the process must have ended."""
        self._thread.join(1.0)

    def _copy(self) -> None:
        if self._stream is None:
            return
        with self._stream:
            for raw in self._stream:
                line = raw.decode(errors="replace").rstrip()
                self._lines.append(line.strip())
                print(line, file=sys.stderr, flush=True)
