"""Files that are whole or absent, on one machine or shared by several: temporary name, fsync, rename or link.

No file locks: they do not hold between machines on every shared file system. Creating, renaming and linking are atomic
on all of them; an append is not, so a file that lines are appended to belongs to one process at a time.
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
MAX_READ_BYTES = 2**28  # of a growing file at once; what follows is left for the next call


def to_line(value: Any) -> bytes:
    """Any JSON value -> one line of canonical JSON (keys sorted, ASCII), newline included."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Write `path` under a temporary name; it appears, complete and on disk, when the block ends without an error.

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
            raise cause from None  # another process finished the cache: no error, and told apart by its class
        raise


def write_if_other(path: Path, content: bytes) -> None:
    """Write `path`, whole, unless it holds these bytes already."""
    if not path.is_file() or path.read_bytes() != content:
        with atomic_writer(path) as file:
            file.write(content)


def create(path: Path, content: bytes) -> bool:
    """Make `path` with this content if nothing is there. Of several processes, on any machines, one is told True.

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
            return temporary.stat().st_nlink > 1  # NFS asks again when an answer was lost: then the link is ours
        except OSError:  # a file system without links
            return _create_by_name(path, content)
        return True
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_lines(path: Path, *, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The JSON objects, a line each, of a file that may still grow, from a byte on, and the byte where the next one will begin.

    A last line without its newline is what a kill leaves, or not yet whole: it is left for the next call.

    Raises:
        InputError: a line is no JSON object.
    """
    lines, end = new_lines(path, start=start)
    return [parse_object(line, name=f"a line of {path}") for line in lines], end


def new_lines(path: Path, *, start: int) -> tuple[list[bytes], int]:
    """The whole lines of a growing file from a byte on, without their newlines, and the byte where the next one will begin."""
    with path.open("rb") as file:
        file.seek(start)
        content = file.read(MAX_READ_BYTES)
    lines, rest = whole_lines(content)
    return lines, start + len(content) - len(rest)


def parse_object(content: bytes, *, name: str) -> dict[str, Any]:
    """A JSON object. Raises InputError, see `parse_json`, also where it is another value."""
    value = parse_json(content, name=name)
    if not isinstance(value, dict):
        raise InputError(f"{name} is {json_kind(value)}; expected a JSON object, so it may be damaged")
    return value


def append_line(path: Path, value: Any) -> None:
    """Append one JSON line and bring it to disk; a line torn by an earlier kill is cut off first.

    For a file that no other process appends to at the same time.

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
    except InputError:  # a full disk: nobody is to find it half written
        path.unlink(missing_ok=True)
        raise
    return True


@contextmanager
def _our_errors(path: Path) -> Iterator[None]:
    """`write_errors` for everything but a folder that is gone, by which processes see that the cache was finished."""
    gone: FileNotFoundError | None = None
    with write_errors(path):
        try:
            yield
        except FileNotFoundError as error:
            gone = error
    if gone is not None:
        raise gone


def _ends_whole(file: IO[bytes]) -> bool:
    """Whether the last byte is a newline; leaves the file at its start."""
    size = file.seek(0, os.SEEK_END)
    whole = True
    if size:
        file.seek(-1, os.SEEK_END)
        whole = file.read(1) == b"\n"
    file.seek(0)
    return whole
