"""Atomic file writes, bounded reads, checksums and messages for failed file access."""

import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from encoders.errors import InputError, MissingExtra

FULL_BYTES = 2**20  # free on a disk that is called full
UNSIZED_BYTES = 2**16  # read of a file that states no size


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; it is synced and renamed to `path` when the block exits without an error.

    The name is this call's own, also among processes of the same number on several machines that share a folder.

    Raises:
        InputError: it cannot be written, see `write_errors`.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with write_errors(path):  # inside: what is free is measured while the temporary file is there
            yield temporary
            _fsync(temporary, os.O_RDWR)
            temporary.replace(path)
            _fsync(path.parent, os.O_RDONLY)
    finally:
        with suppress(OSError):  # a folder without permission has no such file either
            temporary.unlink(missing_ok=True)


def check_output(path: Path) -> None:
    """Check early that a file can be written at `path`; creates its folder.

    Raises:
        InputError: a folder is there, or its folder cannot be made or written to.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected the name of a file to write")
    check_output_folder(path.parent)


def check_output_folder(folder: Path) -> None:
    """Create a folder if necessary and check that it is writable.

    Raises:
        InputError: it cannot be made or written to; says why.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = _in_the_way(folder) or error.strerror or type(error).__name__
        raise InputError(f"{folder} cannot be made a folder ({reason}); choose another place to write to") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        reason, remedy = ("Read-only file system", "") if read_only else ("Permission denied", "change its permissions or ")
        raise InputError(f"{folder} cannot be written to ({reason}); {remedy}choose another place to write to")


def _in_the_way(folder: Path) -> str | None:
    """Return the non-folder that is in the place of a folder or one of its parents; None if there is none."""
    for place in (*reversed(folder.parents), folder):
        if os.path.lexists(place) and not os.path.isdir(place):
            return f"{place} is a {file_kind(place.stat().st_mode) if os.path.exists(place) else 'link that leads nowhere'}"
    return None


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_bounded(path: Path, *, max_bytes: int, name: str) -> bytes:
    """Read a regular file completely. Never blocks: pipes and other special files are rejected.

    Args:
        path: links are followed.
        max_bytes: a larger file is refused unread.
        name: what to call it in an error.

    Raises:
        InputError: it does not exist, is no regular file, is too large, or cannot be read.
    """
    with _opened_bounded(path, max_bytes=max_bytes, name=name) as (file, size):
        return file.read(size)  # read() makes room for so many bytes before it reads


def read_bounded_lines(path: Path, *, max_bytes: int, name: str) -> Iterator[bytes]:
    """Like `read_bounded`, but yield one line at a time, newline included, so that only a line is in memory."""
    with _opened_bounded(path, max_bytes=max_bytes, name=name) as (file, left):
        while left and (line := file.readline(left)):
            left -= len(line)
            yield line


@contextmanager
def _opened_bounded(path: Path, *, max_bytes: int, name: str) -> Iterator[tuple[IO[bytes], int]]:
    """Open a file for `read_bounded`; yields it and how many bytes to read at most."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, ValueError) as error:  # ValueError: a NUL in its name
        raise InputError(f"{name} does not exist; expected a file") from error
    except OSError as error:
        raise InputError(f"{name} cannot be opened ({error.strerror})") from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise InputError(f"{name} is a {file_kind(facts.st_mode)}; expected a file")
        if facts.st_size > max_bytes:
            raise InputError(f"{name} has {facts.st_size} bytes; at most {max_bytes} are read")
        with open(descriptor, "rb", closefd=False) as file:
            yield file, facts.st_size or min(max_bytes, UNSIZED_BYTES)  # files of /proc state no size
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror})") from error
    finally:
        os.close(descriptor)


def file_kind(mode: int) -> str:
    """Describe the kind of a file from its mode bits."""
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link", stat.S_IFIFO: "pipe"}
    return kinds.get(stat.S_IFMT(mode), "device or socket")


@contextmanager
def write_errors(target: Path) -> Iterator[None]:
    """Turn an OSError in the block, or any exception if the disk is full, into an InputError on writing `target`.

    Packages that write files by themselves report a full disk by exceptions of their own.

    Raises:
        InputError: with `target`, the reason and the free space.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (InputError, MissingExtra)):
            raise
        if not isinstance(error, OSError) and free_bytes(target) >= FULL_BYTES:
            raise
        raise InputError(write_failure(target, error)) from error


def write_failure(target: Path, error: Exception) -> str:
    """Message for a write to `target` that failed: the reason, the free space, what to do."""
    lines = str(getattr(error, "strerror", None) or error).splitlines()
    reason = lines[0] if lines else type(error).__name__
    return f"{target} cannot be written ({reason}, {free_bytes(target) / 2**20:.0f} MiB free); choose another place"


def remedy(error: OSError, *, otherwise: str) -> str:
    """Return advice on an unreadable file: to change its permissions if they are the reason, else `otherwise`."""
    return "change its permissions" if isinstance(error, PermissionError) else otherwise


def os_error_message(error: OSError) -> str:
    """Return a message for an otherwise unhandled OSError: the file, the reason and what to do."""
    reason = error.strerror or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        if error.filename is None:
            return f"the output cannot be written ({reason}); make room or choose another place"
        return write_failure(Path(os.fsdecode(error.filename)), error)
    name = "a file" if error.filename is None else os.fsdecode(error.filename)
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{name} cannot be used ({reason}); change its permissions or choose another place"
    return f"{name} cannot be used ({reason})"


def free_bytes(target: Path) -> int:
    """Return the free space in bytes on the disk of `target`, which need not exist."""
    absolute = Path(os.path.abspath(target))
    return shutil.disk_usage(next(place for place in (absolute, *absolute.parents) if os.path.isdir(place))).free
