"""Files that are whole or absent: temporary name, fsync, rename; and lines that are appended whole."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from encoders.files import atomic_path

TEMPORARY_SUFFIX = ".tmp"


def to_line(value: Any) -> bytes:
    """Any JSON value -> one line of canonical JSON (keys sorted, ASCII), newline included."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Write `path` under a temporary name; it appears, complete and on disk, when the block ends without an error."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        yield file


def append_line(path: Path, value: Any) -> None:
    """Append one JSON line and bring it to disk; a line torn by an earlier kill is cut off first.

    Processes that append to the same file at the same time take turns (an advisory lock).
    """
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        content = file.read() if not _ends_whole(file) else b""
        if content:
            file.truncate(content.rfind(b"\n") + 1)
        file.write(to_line(value))
        file.flush()
        os.fsync(file.fileno())


def _ends_whole(file: IO[bytes]) -> bool:
    """Whether the last byte is a newline; leaves the file at its start."""
    size = file.seek(0, os.SEEK_END)
    whole = True
    if size:
        file.seek(-1, os.SEEK_END)
        whole = file.read(1) == b"\n"
    file.seek(0)
    return whole
