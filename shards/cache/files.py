"""Atomic file writes for local and shared file systems: write to a temporary name, fsync, then rename or link.

File locks are not used because some shared file systems do not honour them across machines. Creating, renaming and linking
are atomic everywhere; appending is not, so only one process at a time may append to a file.
"""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from encoders.errors import InputError
from encoders.files import atomic_path, write_errors
from encoders.untrusted import json_kind, parse_json, whole_lines

TEMPORARY_SUFFIX = ".tmp"
MAX_READ_BYTES = 2**28  # most bytes read from a growing file per call; the rest is read by the next call


def to_line(value: Any) -> bytes:
    """Serialise a JSON value as one line of canonical JSON (sorted keys, ASCII), with its newline."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Write `path` atomically: the file gets its final name, synced to disk, when the block exits without an error.

    Raises:
        FileNotFoundError: its folder, or what was written so far, was removed meanwhile.
        InputError: it cannot be written, see `encoders.files.write_errors`.
    """
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            yield file
    except InputError as error:
        cause = error.__cause__
        if isinstance(cause, FileNotFoundError) and Path(cause.filename or "").parent in (path.parent, path.parent.parent):
            raise cause from None  # another process finished the cache; callers handle this class separately
        raise


def write_if_other(path: Path, content: bytes) -> None:
    """Atomically write `content` to `path`, unless the file already has that content."""
    if not path.is_file() or path.read_bytes() != content:
        with atomic_writer(path) as file:
            file.write(content)


def create(path: Path, content: bytes) -> bool:
    """Create `path` with `content` unless it exists; return True in exactly one of several competing processes.

    Raises:
        FileNotFoundError: its folder does not exist.
        InputError: it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    try:
        with _our_errors(path), temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return temporary.stat().st_nlink > 1  # NFS repeats requests whose reply was lost: the link may be ours
        except OSError:  # a file system without links
            return _create_by_name(path, content)
        return True
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_lines(path: Path, *, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Read JSON lines from byte `start` of a file that may still grow; return the objects and the next start offset.

    A last line without a newline is incomplete (still being written, or cut off by a kill) and is left for the next call.

    Raises:
        InputError: a line is not a JSON object.
    """
    lines, end = new_lines(path, start=start)
    return [parse_object(line, name=f"a line of {path}") for line in lines], end


def new_lines(path: Path, *, start: int) -> tuple[list[bytes], int]:
    """Return the complete lines of a growing file from byte `start`, without newlines, and the next start offset."""
    with path.open("rb") as file:
        file.seek(start)
        content = file.read(MAX_READ_BYTES)
    lines, rest = whole_lines(content)
    return lines, start + len(content) - len(rest)


def parse_object(content: bytes, *, name: str) -> dict[str, Any]:
    """Parse a JSON object. Raises InputError for invalid JSON (see `parse_json`) and for any other JSON value."""
    value = parse_json(content, name=name)
    if not isinstance(value, dict):
        raise InputError(f"{name} is {json_kind(value)}; expected a JSON object, so it may be damaged")
    return value


def append_line(path: Path, value: Any) -> None:
    """Append one JSON line and fsync; an incomplete last line, left by a killed process, is removed first.

    No other process may append to the file at the same time.

    Raises:
        FileNotFoundError: its folder does not exist.
        InputError: it cannot be written; names path and free space.
    """
    with _our_errors(path), path.open("a+b") as file:
        file.seek(0)
        content = file.read() if not _ends_whole(file) else b""
        if content:
            file.truncate(content.rfind(b"\n") + 1)
        file.write(to_line(value))
        file.flush()
        os.fsync(file.fileno())


def _create_by_name(path: Path, content: bytes) -> bool:
    try:
        file = path.open("xb")
    except FileExistsError:
        return False
    try:
        with _our_errors(path), file:
            file.write(content)
    except InputError:  # e.g. the disk is full; remove the half-written file
        path.unlink(missing_ok=True)
        raise
    return True


@contextmanager
def _our_errors(path: Path) -> Iterator[None]:
    """Like `write_errors`, but let FileNotFoundError through: a missing folder means that the cache was finished."""
    gone: FileNotFoundError | None = None
    with write_errors(path):
        try:
            yield
        except FileNotFoundError as error:
            gone = error
    if gone is not None:
        raise gone


def _ends_whole(file: IO[bytes]) -> bool:
    """Return whether the last byte is a newline; leaves the file at its start."""
    size = file.seek(0, os.SEEK_END)
    whole = True
    if size:
        file.seek(-1, os.SEEK_END)
        whole = file.read(1) == b"\n"
    file.seek(0)
    return whole
