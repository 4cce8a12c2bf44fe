"""Exit behaviour of the command line: broken pipes, Ctrl-C and unencodable output."""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

READER_GONE, INTERRUPTED = 128 + 13, 128 + signal.SIGINT  # exit codes of a process that SIGPIPE or SIGINT ends


@contextmanager
def ends_quietly() -> Iterator[None]:
    """Exit silently when the reader of stdout or stderr has gone (141) or at Ctrl-C (130).

    Raises:
        RuntimeError: another pipe broke, to a process or a server: that is a failure.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError as error:
        gone = [reader_gone(stream) for stream in (sys.stdout, sys.stderr)]
        if not any(gone):
            raise RuntimeError(f"what a process or connection was sent could not be delivered: {error}") from error
        sys.exit(READER_GONE)


def flush_output() -> None:
    """Flush stdout.

    If that fails, exit with 141 (its reader has gone) or with 2 and a message (the disk is full).
    """
    if sys.stdout is None:  # closed before Python started
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop(sys.stdout)
        sys.exit(READER_GONE)
    except OSError as error:
        print(f"error: standard output cannot be written ({error.strerror}); choose another place for it", file=sys.stderr)
        drop(sys.stdout)
        sys.exit(2)


def reader_gone(stream: TextIO | None) -> bool:
    """Return whether a stream is a pipe without a reader; if so, discard all further output to it."""
    try:
        descriptor = -1 if stream is None else stream.fileno()
    except OSError:  # no file, as where a test listens
        return False
    if stream is None or descriptor < 0:
        return False
    poll = select.poll()
    poll.register(descriptor, 0)  # no event requested: errors are always reported
    gone = any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
    if gone:
        drop(stream)
    return gone


def drop(stream: TextIO) -> None:
    """Redirect a stream to devnull, because Python would otherwise report its unflushed data at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def print_anything() -> None:
    """Make stdout and stderr print characters missing in their encoding as escapes like `\\u65e5`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
