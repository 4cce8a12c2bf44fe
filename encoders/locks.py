"""File locks between the processes of one machine; the system releases them when a process ends in any way."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from encoders.errors import InputError
from encoders.files import check_output_folder, write_errors

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

HOLDER_BYTES = 100  # read of the line by which a lock's holder names itself


def lock(file: int | BinaryIO, *, shared: bool = False, wait: bool = True, required: bool = True) -> bool:
    """Lock an open file until it is closed; return False if another process has it locked and `wait` is False.

    Args:
        shared: other processes may hold it too, if theirs is shared as well. Replaces an exclusive lock without releasing it.
        required: False means that the caller does without, where the system or the file system has no locks.

    Raises:
        OSError: there are no locks, and one is required.
    """
    try:
        if fcntl is None:
            raise OSError("this system has no file locks")
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        if required:
            raise
    return True


@contextmanager
def held(path: Path, *, use: str) -> Iterator[None]:
    """Hold a lock file in the block, without waiting; the file names this process. Does without where there are no locks.

    Args:
        path: made if absent, with its folder, which is what the lock stands for.
        use: what a process does in the folder, for the message: "trains".

    Raises:
        InputError: another process holds it (named, as it may have lost its terminal), or it cannot be written.
    """
    check_output_folder(path.parent)
    with write_errors(path):
        file = path.open("a+b", buffering=0)
    with file:
        with write_errors(path):
            if not lock(file, wait=False, required=False):
                file.seek(0)
                holder = file.read(HOLDER_BYTES).decode(errors="replace").strip()
                raise InputError(f"{path.parent} is in use: process {holder} {use} there; wait for it, or end it")
            file.truncate(0)
            os.write(file.fileno(), f"{os.getpid()} on {platform.node()}\n".encode())
        yield
