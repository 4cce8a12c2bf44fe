"""Files that are whole or absent, on one machine or shared by several: temporary name, fsync, rename or link.

No file locks: they do not hold between machines on every shared file system. Creating, renaming and linking are atomic
on all of them; an append is not, so a file that lines are appended to belongs to one process at a time.
"""

import json
import os
import secrets
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


def write_if_other(path: Path, content: bytes) -> None:
    """Write `path`, whole, unless it holds these bytes already."""
    if not path.is_file() or path.read_bytes() != content:
        with atomic_writer(path) as file:
            file.write(content)


def create(path: Path, content: bytes) -> bool:
    """Make `path` with this content if nothing is there. Of several processes, on any machines, one is told True.

    Raises:
        FileNotFoundError: its folder does not exist.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
        return True
    except FileExistsError:
        return temporary.stat().st_nlink > 1  # NFS asks again when an answer was lost: then the link is ours
    except OSError:  # a file system without links
        return _create_by_name(path, content)
    finally:
        temporary.unlink(missing_ok=True)


def read_lines(path: Path, *, start: int = 0) -> tuple[list[Any], int]:
    """The JSON lines of a file that may still grow, from a byte on, and the byte where the next one will begin.

    A last line without its newline is what a kill leaves, or not yet whole: it is left for the next call.

    Raises:
        ValueError: a line is no JSON.
    """
    with path.open("rb") as file:
        file.seek(start)
        whole, newline, _ = file.read().rpartition(b"\n")
    return [json.loads(line) for line in whole.split(b"\n")] if newline else [], start + len(whole) + len(newline)


def append_line(path: Path, value: Any) -> None:
    """Append one JSON line and bring it to disk; a line torn by an earlier kill is cut off first.

    For a file that no other process appends to at the same time.
    """
    with path.open("a+b") as file:
        file.seek(0)
        content = file.read() if not _ends_whole(file) else b""
        if content:
            file.truncate(content.rfind(b"\n") + 1)
        file.write(to_line(value))
        file.flush()
        os.fsync(file.fileno())


def _create_by_name(path: Path, content: bytes) -> bool:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def _ends_whole(file: IO[bytes]) -> bool:
    """Whether the last byte is a newline; leaves the file at its start."""
    size = file.seek(0, os.SEEK_END)
    whole = True
    if size:
        file.seek(-1, os.SEEK_END)
        whole = file.read(1) == b"\n"
    file.seek(0)
    return whole
